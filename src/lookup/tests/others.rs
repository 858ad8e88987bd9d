//! What other workers do, or did before: looks, refreshes, replaced zones.

use super::*;

#[test]
fn an_old_worker_leaves_looks_to_the_others() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let pushed = test.push(&["a.test"]);
    let file = test.write(&["a.test"]);
    test.workers[1].configuration = test.store.next_configuration();
    test.store.clear();
    let old = |test: &mut Test| {
        let served = test.workers[0].resolve(Some(b"a.test"), None, &test.host).unwrap();
        served.parsed.info.members[0].fingerprint
    };
    assert_eq!(old(&mut test), pushed);
    assert_eq!(test.workers[0].seen_files(&name("a.test")), tag::UNKNOWN);
    assert!(test.workers[1].resolve(Some(b"a.test"), None, &test.host).is_some());
    assert_eq!(old(&mut test), file);
}

#[test]
fn in_a_zone_that_was_replaced_a_worker_looks_for_itself() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let pushed = test.push(&["a.test"]);
    test.store.set_superseded(store::Superseded::Left);
    assert_eq!(test.served("a.test"), Some(pushed));
    let file = test.write(&["a.test"]);
    assert_eq!(test.served("a.test"), Some(file));
    assert_eq!(test.entry().source, Source::Pushed, "nothing is written");
}

#[test]
fn a_refresh_looks_at_the_files_of_what_serves() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    test.push(&["a.test", "b.test"]);
    let refresh = |test: &mut Test, of: &str| test.workers[0].refresh(&name(of), &test.host);
    assert!(!refresh(&mut test, "b.test").unwrap_or_else(|_| panic!()).changed);
    let file = test.write(&["a.test", "b.test"]);
    let refreshed = refresh(&mut test, "b.test").unwrap_or_else(|_| panic!());
    assert!(refreshed.changed);
    assert_eq!(refreshed.parsed.info.members[0].fingerprint, file);
    assert_eq!(test.served("b.test"), Some(file));
    test.put("key", b"nothing");
    assert!(matches!(refresh(&mut test, "b.test"), Err(RefreshError::Files(_))));
    assert_eq!(test.served("b.test"), Some(file));
    assert_eq!(test.entry().source, Source::Startup);
}

/// A worker that read other files before the answer of a clear publishes them after it.
#[test]
fn what_was_read_before_a_refresh_is_stale_after_it() {
    for is_locked in [false, true] {
        let mut test = Test::new();
        let file = test.write(&["a.test"]);
        assert_eq!(test.served("a.test"), Some(file));
        let early = test.store.next_ticket();
        test.host.is_locked.store(is_locked, Ordering::Relaxed);
        let refreshed = test.workers[0].refresh(&name("a.test"), &test.host).ok().unwrap();
        assert!(!refreshed.changed);
        test.host.is_locked.store(false, Ordering::Relaxed);

        let (cert, key) = pair(&p256(), &Leaf::default());
        let body = [cert, key].concat();
        let set = CertificateSet::from_bundle(&body, &mut Parser::new()).unwrap();
        let record = set.to_record(Source::Lazy, [9; 16]).unwrap();
        let publication = Publication {
            name: "a.test",
            record: &record,
            served: &[],
            ticket: early,
            now_msec: test.host.msec.get(),
            stat: 0,
            generation: early,
            seen: 0,
            previous: Previous::Drop,
            expects: Expects::Any,
            leaves_room: false,
        };
        let _ = test.store.write(&test.host).unwrap().publish(&publication);
        assert_eq!(test.served("a.test"), Some(file), "{is_locked}");
    }
}

/// Whoever clears a name whose set was pushed makes nobody read other files.
#[test]
fn a_refresh_of_a_pushed_set_clears_nothing_else() {
    let mut test = Test::new();
    test.write(&["a.test"]);
    let pushed = test.push(&["a.test"]);
    assert!(test.workers[0].refresh(&name("a.test"), &test.host).is_ok());
    for is_locked in [false, true] {
        let before = test.store.stats().clear_epoch;
        let ticket = test.store.next_ticket();
        test.host.is_locked.store(is_locked, Ordering::Relaxed);
        let refreshed = test.workers[0].refresh(&name("a.test"), &test.host).ok().unwrap();
        test.host.is_locked.store(false, Ordering::Relaxed);
        assert!(!refreshed.changed);
        // What cannot be noted has to be made known in another way.
        let is_cleared = test.store.stats().clear_epoch != before;
        assert_eq!(is_cleared, is_locked);
        assert!(is_cleared || test.entry().ticket > ticket);
    }
    assert_eq!(test.served("a.test"), Some(pushed));
}
