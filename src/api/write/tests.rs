//! Changes that meet in a zone, in steps: what each is answered.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::certificate::Passwords;
use crate::certificate::test_support::{Leaf, now, p256, pair};
use crate::ffi::region::Region;
use crate::files::Files;
use crate::host::Host;
use crate::lookup::{Resolver, Settings};
use crate::store::{Store, ZoneLock};

type Then = Box<dyn FnOnce()>;

const NO_DIRECTORY: OnDisk<'_> = OnDisk { is_kept: false, entry: None };

/// A worker that logs nothing.
#[derive(Default)]
struct TestHost {
    is_locked: AtomicBool,
    /// Done once, when a change is told to the log.
    then: RefCell<Option<Then>>,
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
        1
    }

    fn update_clock(&self) {}

    fn unix_seconds(&self) -> i64 {
        now()
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
        if let Some(then) = self.then.take() {
            then();
        }
    }

    fn warn(&self, _text: fmt::Arguments<'_>) {}

    fn error(&self, _text: fmt::Arguments<'_>) {}

    fn alert(&self, text: fmt::Arguments<'_>) {
        panic!("{text}");
    }
}

struct Worker {
    store: Store,
    settings: Rc<Settings>,
    resolver: Resolver,
    host: TestHost,
}

impl Worker {
    fn new(store: Store) -> Worker {
        let settings = Rc::new(Settings {
            load: Load::Off,
            files: Files::new(Vec::new(), Passwords::default()),
            valid_msec: None,
            worker_cache: 10,
            keeps_previous: Cell::new(true),
        });
        // All of one configuration.
        let configuration = match store.configuration() {
            0 => store.next_configuration(),
            present => present,
        };
        let resolver = Resolver::new(store, configuration, Rc::clone(&settings));
        Worker { store, settings, resolver, host: TestHost::default() }
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let Worker { store, settings, resolver, host } = self;
        call(&mut Context { zone: "certs", store: *store, settings, resolver, host })
    }

    /// A push of a new set for `a.test`.
    fn put(&mut self, if_match: Option<u64>) -> Change {
        let if_match = if_match.map(|generation| format!("\"{generation}\""));
        let condition = Precondition::parse(if_match.as_deref().map(str::as_bytes), None).unwrap();
        let (cert, key) = pair(&p256(), &Leaf::default());
        let body = [cert, key].concat();
        let name = ServerName::from_operator(b"a.test").unwrap();
        let options = PutOptions::default();
        self.with(|context| Change::put(name, condition, options, &body, context)).unwrap()
    }

    fn prepare(&mut self, change: &Change) -> Prepared {
        self.with(|context| change.prepare(NO_DIRECTORY, context)).ok().unwrap()
    }

    fn commit(&mut self, prepared: &Prepared) -> Result<Reply, Refused> {
        self.with(|context| prepared.commit(context))
    }

    /// Pushes; its generation.
    fn push(&mut self, if_match: Option<u64>) -> u64 {
        let change = self.put(if_match);
        let prepared = self.prepare(&change);
        generation(&self.commit(&prepared).ok().unwrap())
    }

    fn present(&self) -> u64 {
        let Lookup::Found(details) = self.store.details("a.test") else { panic!("no set") };
        details.generation
    }
}

fn generation(reply: &Reply) -> u64 {
    let (_, tag) = reply.headers.iter().find(|(name, _)| *name == "ETag").unwrap();
    tag.trim_matches('"').parse().unwrap()
}

fn workers() -> [Worker; 2] {
    let store = Store::format(Region::on_heap(256 * 1024)).unwrap();
    [Worker::new(store), Worker::new(store)]
}

#[test]
fn a_push_that_was_overtaken_is_not_lost() {
    let [mut one, mut other] = workers();
    let first = one.push(None);
    let change = one.put(None);
    let prepared = one.prepare(&change);
    // It knows nothing of the push that is under way.
    let second = other.push(Some(first));
    assert!(matches!(one.commit(&prepared), Err(Refused::Changed)));
    let prepared = one.prepare(&change);
    let third = generation(&one.commit(&prepared).ok().unwrap());
    assert!(third > second);
    assert_eq!(one.present(), third);
}

#[test]
fn an_answer_tells_of_the_push_itself() {
    let [mut one, mut other] = workers();
    let first = one.push(None);
    let later = Rc::new(Cell::new(0));
    let then = Rc::clone(&later);
    one.host.then.replace(Some(Box::new(move || then.set(other.push(None)))));
    let second = one.push(Some(first));
    assert!(first < second && second < later.get());
    assert_eq!(one.present(), later.get());

    let change = one.put(Some(second));
    let refused = one.with(|context| change.prepare(NO_DIRECTORY, context)).err();
    assert!(matches!(refused, Some(Refused::With(reply)) if reply.status == 412));
}

#[test]
fn a_previous_set_is_dropped_on_its_condition() {
    let [mut one, mut other] = workers();
    one.push(None);
    let second = one.push(None);
    let name = ServerName::from_operator(b"a.test").unwrap();
    let tag = format!("\"{second}\"");
    let condition = Precondition::parse(Some(tag.as_bytes()), None).unwrap();
    let change = Change::drop_previous(name, condition);
    let prepared = one.prepare(&change);
    // Now the second one is what would be dropped.
    other.push(None);
    let refused = one.commit(&prepared).err();
    assert!(matches!(refused, Some(Refused::With(reply)) if reply.status == 412));
    assert_eq!(one.store.stats().previous_sets, 1);
}

#[test]
fn a_worker_of_an_earlier_configuration_changes_nothing() {
    let [mut old, _] = workers();
    let (first, second) = (old.put(None), old.put(None));
    let prepared = old.prepare(&first);
    old.store.next_configuration();
    let status = |refused| match refused {
        Some(Refused::With(reply)) => reply.status,
        _ => 0,
    };
    assert_eq!(status(old.commit(&prepared).err()), 503);
    let refused = old.with(|context| second.prepare(NO_DIRECTORY, context)).err();
    assert_eq!(status(refused), 503);
    assert!(matches!(old.store.find("a.test"), Lookup::Absent));
    Worker::new(old.store).push(None);
}

/// A set that is there may not be known to all workers yet, while its writer is at it, or died in it.
#[test]
fn unchanged_is_what_nobody_is_writing() {
    let [mut one, mut other] = workers();
    let change = one.put(None);
    let prepared = one.prepare(&change);
    one.commit(&prepared).ok().unwrap();
    other.host.is_locked.store(true, Ordering::Relaxed);
    let refused = other.with(|context| change.prepare(NO_DIRECTORY, context)).err();
    assert!(matches!(refused, Some(Refused::Busy)));
    other.host.is_locked.store(false, Ordering::Relaxed);
    let answered = other.with(|context| change.prepare(NO_DIRECTORY, context)).err();
    assert!(matches!(answered, Some(Refused::With(reply)) if reply.status == 200));
}
