//! The words that stand for themselves.

use super::super::layout::{CLEAR_EPOCH, CLOCK};
use super::*;

#[test]
fn nobody_writes_to_what_is_superseded() {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &record(1, &[])).unwrap();
    let lock = TestLock::new();
    store.set_superseded(Superseded::Left);
    assert!(store.is_superseded());
    let image = region.image();
    assert!(store.write(&lock).is_none());
    assert!(region.image() == image, "nothing is written, not even who writes");
    assert!(lock.try_lock(), "the lock is free again");
    lock.unlock();
    assert_eq!(store.test_read("a.test"), Some(record(1, &[])));

    store.zone.set(layout::BUSY, 1);
    assert!(store.write(&lock).is_none(), "nor repairs");
    store.set_superseded(Superseded::No);
    drop(store.write(&lock).unwrap());
    check(&store);
}

#[test]
fn goes_on_where_another_is() {
    let (_, old) = new_store(SMALL);
    for _ in 0..3 {
        old.next_configuration();
    }
    let before = old.next_ticket();
    old.clear();
    let after = old.next_ticket();
    old.zone.set(layout::EVICTIONS, 5);
    old.zone.set(layout::REPAIRS, 6);
    old.zone.set(layout::RESETS, 7);

    let (_, new) = new_store(2 * SMALL);
    new.continue_from(&old);
    let stats = new.stats();
    assert_eq!((stats.evictions, stats.repairs, stats.resets), (5, 6, 7));
    assert_eq!((new.clear_epoch(), new.configuration()), (old.clear_epoch(), 3));
    assert!(before < new.clear_epoch() && new.clear_epoch() < after);
    assert!(new.next_ticket() > after);

    // Once more, after the old one was written to and the new one too.
    let late = (0..9).map(|_| old.next_ticket()).max().unwrap();
    let epoch = old.clear();
    new.continue_from(&old);
    assert_eq!(new.clear_epoch(), epoch);
    assert!(new.next_ticket() > late);
    assert!(new.zone.get(CLOCK) > new.zone.get(CLEAR_EPOCH));
    check(&new);
}

#[test]
fn directories_are_noted() {
    let (_, store) = new_store(SMALL);
    for index in [0, 15] {
        assert_eq!(store.directory(index), 0);
        store.set_directory(index, u64::MAX);
        assert_eq!(store.directory(index), u64::MAX);
    }
    store.set_directory(16, 1);
    assert_eq!(store.directory(16), 0);
}

#[test]
fn one_look_for_all() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    let mut writer = store.write(&lock).unwrap();
    let old = writer.test_publish("a.test", &record(1, &[]), 5, 10).unwrap();
    assert_eq!(store.test_entry("a.test"), entry_of(old, 5, 10));

    assert!(writer.claim_look("a.test", old, 10, 20));
    assert!(!writer.claim_look("a.test", old, 10, 21), "another was first");
    assert!(writer.claim_look("a.test", old, 20, 30));
    assert_eq!(store.test_entry("a.test"), entry_of(old, 5, 30));
    assert!(writer.note_stat("a.test", old, 77, 40));
    let noted = Entry { stat: 77, ..entry_of(old, 5, 40) };
    assert_eq!(store.test_entry("a.test"), noted);

    let new = writer.test_publish("a.test", &record(1, &[]), 5, 40).unwrap();
    assert!(!writer.claim_look("a.test", old, 40, 50), "of a set that is gone");
    assert!(!writer.note_stat("a.test", old, 78, 50));
    assert!(!writer.claim_look("b.test", new, 40, 50));
    assert!(!writer.note_stat("b.test", new, 78, 50));
    assert_eq!(store.test_entry("a.test"), entry_of(new, 5, 40));

    let changes = store.changes();
    let stamp = store.stamp("a.test");
    assert!(writer.claim_look("a.test", new, 40, 50) && writer.note_stat("a.test", new, 1, 50));
    assert!(store.is_current(&stamp) && store.changes() == changes, "the set is the same");
}

#[test]
fn counters_count() {
    let (_, old) = new_store(SMALL);
    let handshakes = (0..HANDSHAKE_COUNTERS).map(Counter::Handshakes);
    let failures = (0..FAILURE_COUNTERS).map(Counter::LoadFailures);
    let all: Vec<Counter> =
        handshakes.chain(failures).chain([Counter::NoRoom, Counter::StateErrors]).collect();
    let format = new_store(SMALL).0.image();
    for (i, counter) in all.iter().enumerate() {
        old.add(*counter, 1);
        old.add(*counter, i as u64);
    }
    let changed = old.zone.region.image().iter().zip(&format).filter(|(a, b)| a != b).count();
    assert_eq!(changed, all.len(), "a word each, and no other");

    let (_, new) = new_store(2 * SMALL);
    new.continue_from(&old);
    for (i, counter) in all.iter().enumerate() {
        assert_eq!(new.counter(*counter), 1 + i as u64);
    }
    let beyond = [Counter::Handshakes(8), Counter::LoadFailures(24), Counter::Handshakes(255)];
    for counter in beyond {
        new.add(counter, 1);
        assert_eq!(new.counter(counter), 0);
    }
}

#[test]
fn the_clock_goes_on() {
    let (_, store) = new_store(SMALL);
    store.start_clock(1_000);
    assert_eq!(store.next_ticket(), 1_001);
    store.start_clock(7);
    assert_eq!(store.next_ticket(), 1_002);
}
