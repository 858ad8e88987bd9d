//! What each call does, one process alone.

use super::*;

#[test]
fn publish_read_replace_remove() {
    let (_, store) = new_store(SMALL);
    assert_eq!(store.find("a.test"), Lookup::Absent);
    assert_eq!(store.read("a.test"), Lookup::Absent);
    let empty = store.stats();

    let first = store.test_publish("a.test", &record(1, &[7])).unwrap();
    assert_eq!(store.test_read("a.test"), Some(record(1, &[7])));
    assert_eq!(store.test_entry("a.test"), entry_of(first, 1, 1));
    check(&store);

    let second = store.test_publish("a.test", &double(2)).unwrap();
    assert_ne!(first, second);
    assert_eq!(store.test_read("a.test"), Some(double(2)));
    assert_eq!(store.find("b.test"), Lookup::Absent);
    assert_eq!((store.stats().sets, store.stats().lazy_sets), (1, 1));
    check(&store);

    assert!(store.test_remove("a.test"));
    assert!(!store.test_remove("a.test"));
    assert_eq!(store.test_read("a.test"), None);
    assert_eq!(store.stats(), Stats { changes: 3, ..empty });
    check(&store);
}

#[test]
fn odd_records() {
    let (_, store) = new_store(SMALL);
    let mut none = record(1, &[]);
    none.members.clear();
    let mut empty = sized(2, 0, 0, &[]);
    empty.members[0].chain = vec![Vec::new(), b"i".to_vec(), Vec::new()];
    for (i, odd) in
        [none, empty, sized(3, 1, 7, &[1, 1, 1]), sized(4, 9, 8, &[])].iter().enumerate()
    {
        let name = "n".repeat(1 + 63 * i);
        store.test_publish(&name, odd).unwrap();
        assert_eq!(store.test_read(&name).as_ref(), Some(odd));
        check(&store);
    }
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let (_, store) = new_store(SMALL);
    let before = store.stats();
    let mut many = record(1, &[]);
    many.members = vec![many.members[0].clone(); KeyType::COUNT + 1];
    let mut long = record(1, &[]);
    long.members[0].chain = vec![vec![1]; 256];
    let full = |result| matches!(result, Err(PublishError::Full { .. }));
    assert!(full(store.test_publish("a.test", &many)));
    assert!(full(store.test_publish("a.test", &long)));
    assert!(full(store.test_publish(&"n".repeat(256), &record(1, &[]))));
    assert_eq!(store.stats(), before);
}

#[test]
fn tickets() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    let (early, late) = (store.next_ticket(), store.next_ticket());
    assert!(early < late);

    let mut writer = store.write(&lock).unwrap();
    let id = writer.test_publish("a.test", &record(2, &[]), late, 0).unwrap();
    let refused = writer.test_publish("a.test", &record(1, &[]), early, 0);
    assert_eq!(refused, Err(PublishError::Overtaken));
    assert_eq!(store.test_read("a.test"), Some(record(2, &[])));

    let again = store.next_ticket();
    writer.set_last_good("a.test", true);
    assert_eq!(store.test_entry("a.test"), Entry { last_good: true, ..entry_of(id, late, 0) });
    assert!(writer.restamp("a.test", id, again, again + 1000, 5));
    assert_eq!(store.test_entry("a.test"), entry_of(id, again, 5));
    assert!(writer.restamp("a.test", id, late, 7, 7), "as fresh as that already");
    assert_eq!(store.test_entry("a.test"), entry_of(id, again, 5));

    let new = writer.test_publish("a.test", &record(2, &[]), again, 0).unwrap();
    assert!(!writer.restamp("a.test", id, again + 1, 7, 7));
    assert!(!writer.restamp("b.test", new, again + 1, 7, 7));
    writer.set_last_good("b.test", true);
    drop(writer);
    check(&store);
}

#[test]
fn clear_is_between_tickets() {
    let (_, store) = new_store(SMALL);
    let before = store.next_ticket();
    let changes = store.changes();
    let epoch = store.clear();
    assert!(before < epoch && epoch < store.next_ticket());
    assert_eq!(store.clear_epoch(), epoch);
    assert_eq!(store.changes(), changes + 1);
}

#[test]
fn stamps_tell_of_publishes_and_removes() {
    let (_, store) = new_store(SMALL);
    let fresh = || store.stamp("a.test");
    let stamp = fresh();
    assert!(store.is_current(&stamp));
    let id = store.test_publish("a.test", &record(1, &[])).unwrap();
    assert!(!store.is_current(&stamp));

    let stamp = fresh();
    store.clear();
    store.touch("a.test", 5);
    let lock = TestLock::new();
    assert!(store.write(&lock).unwrap().restamp("a.test", id, 100, 7, 7));
    assert!(store.is_current(&stamp), "the set is the same");
    store.test_remove("a.test");
    assert!(!store.is_current(&stamp));
}

#[test]
fn one_writer_at_a_time() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    let writer = store.write(&lock).unwrap();
    assert!(store.write(&lock).is_none());
    drop(writer);
    assert!(store.write(&lock).is_some());
}

#[test]
fn reported_once() {
    let (_, store) = new_store(SMALL);
    for hash in [0, 1 << 40, u64::MAX] {
        assert!(store.report_once(hash));
        assert!(!store.report_once(hash));
    }
    assert!(store.report_once(1 << 40 | 1 << 41), "the slot has room for one");
}

#[test]
fn attached_as_it_was_left() {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &double(1)).unwrap();
    let other = Store::attach(region).unwrap();
    assert_eq!(other.test_read("a.test"), Some(double(1)));

    assert_eq!(Store::format(Region::on_heap(16 * 1024)).err(), Some(StoreError::TooSmall));
    let attach = |region| Store::attach(region).err();
    assert_eq!(attach(Region::on_heap(0)), Some(StoreError::TooSmall));
    assert_eq!(attach(Region::on_heap(SMALL)), Some(StoreError::NotAStore));
    let other = Region::on_heap(SMALL + 1024);
    let mut image = region.image();
    image.resize(other.words(), 0);
    other.restore(&image);
    assert_eq!(attach(other), Some(StoreError::OtherSize));
    region.store(VERSION, LAYOUT + 1, Ordering::Relaxed);
    assert_eq!(attach(region), Some(StoreError::OtherLayout));
}

#[test]
fn many_names() {
    const NAMES: u32 = 3000;
    let (_, store) = new_store(4 << 20);
    let name = |i: u32| format!("www{i}.example.test");
    for i in 0..NAMES {
        store.test_publish(&name(i), &record(i, &[7, 8])).unwrap();
    }
    for i in 0..NAMES {
        assert_eq!(store.test_read(&name(i)), Some(record(i, &[7, 8])));
    }
    check(&store);

    for i in (0..NAMES).step_by(2) {
        assert!(store.test_remove(&name(i)));
    }
    for i in 0..NAMES {
        assert_eq!(store.test_read(&name(i)), (i % 2 == 1).then(|| record(i, &[7, 8])));
    }
    check(&store);
}
