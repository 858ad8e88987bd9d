//! A writer that is killed at every single store that it does (P12, P13).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::layout::BUSY;
use super::*;

const NAMES: [&str; 4] = ["a.test", "b.test", "c.test", "d.test"];

type Operation = fn(&mut Writer<'_>);

const OPERATIONS: [(&str, Operation); 7] = [
    ("insert", |writer| {
        writer.publish("d.test", &double(20), 100, 9).unwrap();
    }),
    ("replace", |writer| {
        writer.publish("a.test", &double(20), 100, 9).unwrap();
    }),
    ("replace, blobs freed", |writer| {
        writer.publish("b.test", &record(20, &[]), 100, 9).unwrap();
    }),
    ("insert, evict", |writer| {
        writer.publish("d.test", &sized(20, 7_000, 300, &[7, 20]), 100, 9).unwrap();
    }),
    ("refused after evictions", |writer| {
        let big = sized(20, 9_500, 300, &[7, 20]);
        let _ = writer.publish("a.test", &big, 100, 9);
    }),
    ("remove", |writer| assert!(writer.remove("b.test"))),
    ("restamp", |writer| {
        writer.set_last_good("c.test", true);
        let Lookup::Found(entry) = (Store { zone: writer.test_zone() }).find("c.test") else {
            panic!("c.test is there");
        };
        assert!(writer.restamp("c.test", entry.id, 100));
    }),
];

fn world() -> (Region, Store) {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &record(1, &[7])).unwrap();
    store.test_publish("gone.test", &record(9, &[])).unwrap();
    store.test_publish("b.test", &double(2)).unwrap();
    store.test_publish("c.test", &record(3, &[7, 3])).unwrap();
    store.test_remove("gone.test");
    (region, store)
}

fn contents(store: &Store) -> [Option<Record>; 4] {
    NAMES.map(|name| store.test_read(name))
}

/// Each name has its old set or its new one.
fn assert_old_or_new(store: &Store, old: &[Option<Record>; 4], new: &[Option<Record>; 4]) {
    for (name, (old, new)) in NAMES.iter().zip(old.iter().zip(new)) {
        let now = store.test_read(name);
        assert!(now == *old || now == *new, "{name} has neither set");
    }
}

/// The zone works: all of it can be used again, and nothing is left of what was in it.
fn assert_works(region: &Region, store: &Store, empty: u64) {
    let stamp = store.stamp("a.test");
    store.test_publish("d.test", &record(30, &[7])).unwrap();
    drop(store.write(&TestLock::new()));
    assert!(store.is_current(&stamp) || store.stats().repairs > 0);
    check(store);
    assert_eq!(store.test_read("d.test"), Some(record(30, &[7])));
    for name in NAMES {
        store.test_remove(name);
    }
    check(store);
    assert_eq!(store.stats().free_bytes, empty);
    for generation in [1, 2, 3, 20, 30] {
        assert!(!region.contains(&part(generation, b'K', 16)));
    }
}

/// Runs it with a store too many; false when it was through before that.
fn killed_after(region: &Region, stores: u64, operation: impl FnOnce()) -> bool {
    region.kill_after(stores);
    let killed = catch_unwind(AssertUnwindSafe(operation)).is_err();
    region.revive();
    killed
}

fn walk(operation: Operation, mut then: impl FnMut(&Region, &Store, u64)) {
    let (region, store) = world();
    let image = region.image();
    let old = contents(&store);
    let write = || operation(&mut store.write(&TestLock::new()).unwrap());
    write();
    check(&store);
    let new = contents(&store);

    for stores in 0.. {
        region.restore(&image);
        if !killed_after(&region, stores, write) {
            assert!(stores > 2, "the walk went nowhere");
            return;
        }
        // Also what a writer leaves that is stopped there for ever.
        assert_old_or_new(&store, &old, &new);
        then(&region, &store, stores);
        drop(store.write(&TestLock::new()).unwrap());
        assert_old_or_new(&store, &old, &new);
        check(&store);
    }
}

#[test]
fn at_every_store_of_a_write() {
    let empty = new_store(SMALL).1.stats().free_bytes;
    for (name, operation) in OPERATIONS {
        println!("{name}");
        walk(operation, |region, store, _| {
            let image = region.image();
            let busy = region.load(BUSY, Ordering::Relaxed);
            let stamps = NAMES.map(|name| store.stamp(name));
            drop(store.write(&TestLock::new()).unwrap());
            check(store);
            if busy != 0 {
                assert!(!stamps.iter().any(|stamp| store.is_current(stamp)));
                assert_eq!((store.stats().repairs, store.stats().resets), (1, 0));
            }
            assert_works(region, store, empty);
            region.restore(&image);
        });
    }
}

#[test]
fn inside_the_repair_too() {
    let empty = new_store(SMALL).1.stats().free_bytes;
    for (name, operation) in OPERATIONS {
        println!("{name}");
        walk(operation, |region, store, stores| {
            // Not each with each: that is for a machine with more time.
            if stores % 41 != 1 {
                return;
            }
            let image = region.image();
            for stores in (0..).step_by(23) {
                region.restore(&image);
                let before = contents(store);
                if !killed_after(region, stores, || drop(store.write(&TestLock::new()))) {
                    break;
                }
                assert_old_or_new(store, &before, &before);
                drop(store.write(&TestLock::new()).unwrap());
                assert_eq!(store.stats().resets, 0);
                assert_old_or_new(store, &before, &before);
                check(store);
                assert_works(region, store, empty);
            }
            region.restore(&image);
        });
    }
}
