//! A worker's lookups without NGINX: a zone in memory, files in a directory, a clock of the test's own.

mod others;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::certificate::Passwords;
use crate::certificate::test_support::{Leaf, p256, pair};
use crate::failure::{Failure, Reason};
use crate::ffi::region::Region;
use crate::files::{Pair, PathTemplate};
use crate::record::Source;
use crate::store::{Counter, Expects, Publication, ZoneLock};

#[derive(Default)]
struct TestHost {
    msec: Cell<u64>,
    is_locked: AtomicBool,
    notices: Cell<usize>,
    warnings: Cell<usize>,
}

impl ZoneLock for TestHost {
    fn try_lock(&self) -> bool {
        !self.is_locked.swap(true, Ordering::Acquire)
    }

    fn unlock(&self) {
        self.is_locked.store(false, Ordering::Release);
    }
}

impl Host for TestHost {
    fn monotonic_msec(&self) -> u64 {
        self.msec.get()
    }

    fn update_clock(&self) {}

    fn unix_seconds(&self) -> i64 {
        // Files that were written a moment ago are old enough to be told by their stat.
        crate::certificate::test_support::now() + 10
    }

    fn lock(&self) -> &dyn ZoneLock {
        self
    }

    fn accepts(&self, _set: &CertificateSet) -> Result<(), String> {
        Ok(())
    }

    fn accepts_by(&self) -> u64 {
        0
    }

    fn notice(&self, _text: fmt::Arguments<'_>) {
        self.notices.set(self.notices.get() + 1);
    }

    fn warn(&self, _text: fmt::Arguments<'_>) {
        self.warnings.set(self.warnings.get() + 1);
    }

    fn error(&self, _text: fmt::Arguments<'_>) {}

    fn alert(&self, text: fmt::Arguments<'_>) {
        panic!("{text}");
    }
}

const VALID_MSEC: u64 = 10_000;

struct Test {
    dir: tempfile::TempDir,
    host: TestHost,
    store: Store,
    workers: [Resolver; 2],
}

impl Test {
    fn new() -> Test {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::format(Region::on_heap(256 * 1024)).unwrap();
        let template = |file: &str| {
            let path = format!("{}/$ssl_server_name.{file}", dir.path().display());
            PathTemplate::parse(&path).unwrap()
        };
        let settings = || {
            let pairs = vec![Pair { cert: template("cert"), key: template("key") }];
            Rc::new(Settings {
                load: Load::Lazy,
                files: Files::new(pairs, Passwords::default()),
                valid_msec: Some(VALID_MSEC),
                worker_cache: 100,
                keeps_previous: Cell::new(true),
            })
        };
        let configuration = store.next_configuration();
        let worker = || Resolver::new(store, configuration, settings());
        let workers = [worker(), worker()];
        let host = TestHost::default();
        host.msec.set(1_000_000);
        Test { dir, host, store, workers }
    }

    /// Writes the files of `a.test`; the fingerprint of their certificate.
    fn write(&self, sans: &[&str]) -> [u8; 32] {
        let leaf = Leaf { sans, ..Leaf::default() };
        let key = p256();
        let (cert, key) = pair(&key, &leaf);
        self.put("cert", &cert);
        self.put("key", &key);
        fingerprint(&cert)
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(format!("a.test.{file}")), bytes).unwrap();
    }

    fn remove(&self) {
        for file in ["cert", "key"] {
            std::fs::remove_file(self.dir.path().join(format!("a.test.{file}"))).unwrap();
        }
    }

    /// Pushes a set for `a.test`.
    fn push(&mut self, sans: &[&str]) -> [u8; 32] {
        let seen = self.workers[0].seen_files(&name("a.test"));
        let key = p256();
        let (cert, key) = pair(&key, &Leaf { sans, ..Leaf::default() });
        let mut body = cert.clone();
        body.extend(&key);
        self.publish(&body, Source::Pushed, seen);
        fingerprint(&cert)
    }

    fn publish(&mut self, body: &[u8], source: Source, seen: u64) {
        let set = CertificateSet::from_bundle(body, &mut Parser::new()).unwrap();
        let record = set.to_record(source, [9; 16]).unwrap();
        let served: Vec<&str> = set.names().collect();
        let ticket = self.store.next_ticket();
        let publication = Publication {
            name: "a.test",
            record: &record,
            served: &served,
            ticket,
            now_msec: self.host.msec.get(),
            stat: 0,
            generation: ticket,
            seen,
            previous: Previous::Keep,
            expects: Expects::Any,
            leaves_room: false,
        };
        self.store.write(&self.host).unwrap().publish(&publication).unwrap();
    }

    fn pass(&self, msec: u64) {
        self.host.msec.set(self.host.msec.get() + msec);
    }

    /// What both workers serve, the first of them first.
    fn served(&mut self, name: &str) -> Option<[u8; 32]> {
        let [first, second] = &mut self.workers;
        let served = |worker: &mut Resolver| {
            let served = worker.resolve(Some(name.as_bytes()), None, &self.host)?;
            Some(served.parsed.info.members[0].fingerprint)
        };
        let first = served(first);
        assert_eq!(served(second), first, "{name}");
        first
    }

    fn entry(&self) -> store::Entry {
        let Lookup::Found(entry) = self.store.find("a.test") else { panic!("no set") };
        entry
    }

    fn reason(&self) -> Option<Reason> {
        Failure::from_word(self.entry().failure).map(|failure| failure.reason)
    }
}

fn name(text: &str) -> ServerName {
    ServerName::from_operator(text.as_bytes()).unwrap()
}

fn fingerprint(pem: &[u8]) -> [u8; 32] {
    let leaf = openssl::x509::X509::from_pem(pem).unwrap();
    openssl::sha::sha256(&leaf.to_der().unwrap())
}

#[test]
fn a_pushed_set_serves_all_its_names_before_files() {
    let mut test = Test::new();
    let file = test.write(&["a.test"]);
    assert_eq!(test.served("a.test"), Some(file));
    let pushed = test.push(&["a.test", "b.test", "*.c.test"]);
    for name in ["a.test", "b.test", "x.c.test"] {
        assert_eq!(test.served(name), Some(pushed), "{name}");
    }
    assert_eq!(test.served("c.test"), None);
    test.store.write(&test.host).unwrap().remove("a.test");
    assert_eq!(test.served("a.test"), Some(file));
    assert_eq!(test.served("b.test"), None);
}

/// P8.
#[test]
fn a_sweep_drops_what_was_replaced_and_its_set() {
    let mut test = Test::new();
    let sweep = |test: &mut Test| {
        let [worker, _] = &mut test.workers;
        worker.begin_sweep();
        while worker.sweep() {}
        (worker.cache.len(), worker.cache.sets())
    };
    for round in 0..3 {
        let pushed = test.push(&["a.test", "b.test"]);
        assert_eq!(sweep(&mut test), (0, 0), "round {round}");
        for name in ["a.test", "b.test"] {
            assert_eq!(test.served(name), Some(pushed));
        }
        assert_eq!(sweep(&mut test), (2, 1), "round {round}");
    }
    // P18: what the zone still has is not parsed again, whatever else has changed.
    test.store.clear();
    assert_eq!(sweep(&mut test), (2, 1), "a clear");
    test.store.write(&test.host).unwrap().remove("a.test");
    assert_eq!(sweep(&mut test), (0, 0));
    assert_eq!(test.served("a.test"), None);
}

#[test]
fn files_of_a_name_that_its_set_does_not_cover_replace_nothing() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let pushed = test.push(&["b.test"]);
    assert_eq!(test.served("a.test"), None);
    assert_eq!(test.served("b.test"), Some(pushed));
    assert_eq!(test.entry().source, Source::Pushed);
}

#[test]
fn files_that_did_not_change_replace_nothing() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let pushed = test.push(&["a.test"]);
    let id = test.entry().id;
    for _ in 0..3 {
        test.pass(VALID_MSEC + 2_000);
        assert_eq!(test.served("a.test"), Some(pushed));
        assert_eq!(test.entry().looked_at, test.host.msec.get());
    }
    test.store.clear();
    assert_eq!(test.served("a.test"), Some(pushed));
    assert!(test.entry().ticket > test.store.clear_epoch(), "looked at since the clear");
    assert_eq!(test.entry().id, id);
}

#[test]
fn renewed_files_serve_after_valid_or_a_clear() {
    for is_cleared in [false, true] {
        let mut test = Test::new();
        test.write(&["a.test"]);
        let pushed = test.push(&["a.test", "b.test"]);
        assert_eq!(test.served("b.test"), Some(pushed));
        let file = test.write(&["a.test", "b.test", "c.test"]);
        assert_eq!(test.served("b.test"), Some(pushed), "not yet");
        if is_cleared {
            test.store.clear();
        } else {
            test.pass(VALID_MSEC + 1_000);
        }
        for name in ["b.test", "a.test", "c.test"] {
            assert_eq!(test.served(name), Some(file), "{name}");
        }
        assert_eq!(test.entry().source, Source::Startup);
        assert_eq!(test.host.notices.get(), 1);
        let Lookup::Found(details) = test.store.details("a.test") else { panic!("no set") };
        assert!(details.previous.is_some(), "kept to roll back to");
    }
}

#[test]
fn a_timer_looks_for_names_in_use() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let pushed = test.push(&["a.test"]);
    assert_eq!(test.served("a.test"), Some(pushed));
    test.pass(VALID_MSEC / 2);
    assert_eq!(test.served("a.test"), Some(pushed), "in use");
    let file = test.write(&["a.test"]);
    test.pass(VALID_MSEC / 2);
    let [first, _] = &mut test.workers;
    assert!(first.look_around(&test.host).is_some());
    assert_eq!(test.entry().source, Source::Startup);
    assert_eq!(test.served("a.test"), Some(file));
}

#[test]
fn the_same_set_in_the_files_is_only_noted() {
    let mut test = Test::new();
    let (cert, key) = pair(&p256(), &Leaf::default());
    test.publish(&[cert.clone(), key.clone()].concat(), Source::Pushed, tag::NONE);
    test.put("cert", &cert);
    test.put("key", &key);
    test.store.clear();
    assert_eq!(test.served("a.test"), Some(fingerprint(&cert)));
    assert_eq!(test.entry().source, Source::Pushed);
    assert_eq!(test.entry().seen, test.workers[0].seen_files(&name("a.test")));
}

#[test]
fn unknown_files_are_only_noted() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    std::fs::remove_file(test.dir.path().join("a.test.key")).unwrap();
    let pushed = test.push(&["a.test"]);
    assert_eq!(test.entry().seen, tag::UNKNOWN);
    test.write(&["a.test"]);
    test.store.clear();
    assert_eq!(test.served("a.test"), Some(pushed));
    assert!(test.entry().seen > tag::NONE);
    let file = test.write(&["a.test"]);
    test.store.clear();
    assert_eq!(test.served("a.test"), Some(file));
}

#[test]
fn bad_files_are_told_once_and_looked_at_each_second() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let good = ["cert", "key"].map(|f| std::fs::read(test.dir.path().join(format!("a.test.{f}"))));
    let [cert, key] = good.map(Result::unwrap);
    let pushed = test.push(&["a.test"]);
    test.put("key", b"nothing");
    test.store.clear();
    assert_eq!(test.served("a.test"), Some(pushed));
    assert_eq!(test.reason(), Some(Reason::NotPem));
    assert!(!test.entry().last_good);
    let counter = Counter::LoadFailures(Reason::NotPem.number());
    for _ in 0..3 {
        let looked_at = test.entry().looked_at;
        test.pass(500);
        assert_eq!(test.served("a.test"), Some(pushed));
        assert_eq!(test.entry().looked_at, looked_at, "not twice in a second");
        test.pass(1_500);
        assert_eq!(test.served("a.test"), Some(pushed));
        assert!(test.entry().looked_at > looked_at);
    }
    assert_eq!((test.store.counter(counter), test.host.warnings.get()), (1, 1));

    // As they were before: nothing changed.
    test.put("cert", &cert);
    test.put("key", &key);
    test.pass(2_000);
    assert_eq!(test.served("a.test"), Some(pushed));
    assert_eq!((test.reason(), test.entry().source), (None, Source::Pushed));
}

#[test]
fn bad_lazy_files_are_noted_and_mended() {
    let mut test = Test::new();
    let first = test.write(&["a.test"]);
    assert_eq!(test.served("a.test"), Some(first));
    test.put("key", b"nothing");
    test.store.clear();
    assert_eq!(test.served("a.test"), Some(first), "the last good");
    assert_eq!(test.reason(), Some(Reason::NotPem));
    assert!(test.entry().last_good);
    let second = test.write(&["a.test"]);
    test.pass(2_000);
    assert_eq!(test.served("a.test"), Some(second));
    assert_eq!(test.reason(), None);
    assert!(test.workers[0].seen_files(&name("a.test")) == test.entry().seen);
}

#[test]
fn names_without_files_are_not_counted() {
    let mut test = Test::new();
    for name in ["a.test", "x.test", "y.x.test"] {
        assert_eq!(test.served(name), None);
    }
    let counted = |reason: Reason| test.store.counter(Counter::LoadFailures(reason.number()));
    assert_eq!(Reason::ALL.map(counted), [0; Reason::ALL.len()]);
}

#[test]
fn without_files_a_push_stays_and_what_was_read_ends() {
    for source in [Source::Pushed, Source::Startup] {
        let mut test = Test::new();
        let other = test.dir.path().join("other.cert");
        std::fs::write(other, "").unwrap();
        test.write(&["a.test"]);
        let (cert, key) = pair(&p256(), &Leaf::default());
        let seen = test.workers[0].seen_files(&name("a.test"));
        test.publish(&[cert, key].concat(), source, seen);
        let served = test.served("a.test");
        assert!(served.is_some());
        test.remove();
        test.store.clear();
        assert_eq!(test.served("a.test"), served, "not at the first look");
        test.pass(2_500);
        let is_pushed = source == Source::Pushed;
        assert_eq!(test.served("a.test"), served.filter(|_| is_pushed), "{source:?}");
        if is_pushed {
            assert_eq!(test.entry().seen, tag::NONE);
        }
    }
}

/// P18. Names share stripes, and a clear is for all of them: what is asked again has one answer.
#[test]
fn a_change_of_other_names_takes_none_off_the_hit_path() {
    let mut test = Test::new();
    test.push(&["a.test", "b.test"]);
    let status = |test: &mut Test, name: &str| {
        let served = test.workers[0].resolve(Some(name.as_bytes()), None, &test.host);
        served.map(|served| served.status)
    };
    assert_eq!(status(&mut test, "a.test"), Some(Status::Zone));
    assert_eq!(status(&mut test, "a.test"), Some(Status::Hit));
    test.store.clear();
    assert_eq!(status(&mut test, "a.test"), Some(Status::Hit));
    // Another set for it is another matter.
    test.push(&["a.test", "b.test"]);
    assert_eq!(status(&mut test, "a.test"), Some(Status::Zone));
    assert_eq!(status(&mut test, "a.test"), Some(Status::Hit));
}
