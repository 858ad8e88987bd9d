//! A writer that is killed at every single store that it does (P12, P13).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

const NAMES: [&str; 4] = ["a.test", "b.test", "c.test", "d.test"];

type Operation = fn(&mut Writer<'_>);

/// With the step from one store to the next that kills: the larger ones have many alike.
const OPERATIONS: [(&str, usize, Operation); 7] = [
    ("insert", 1, |writer| {
        writer.test_publish("d.test", &small(double(20)), 100, 9).unwrap();
    }),
    ("replace", 1, |writer| {
        writer.test_publish("a.test", &small(double(20)), 100, 9).unwrap();
    }),
    ("replace, blobs freed", 1, |writer| {
        writer.test_publish("b.test", &small(record(20, &[])), 100, 9).unwrap();
    }),
    ("insert, evict", 7, |writer| {
        writer.test_publish("d.test", &sized(20, 12_000, 300, &[7, 20]), 100, 9).unwrap();
    }),
    ("refused after evictions", 7, |writer| {
        let big = sized(20, 14_000, 40, &[]);
        let _ = writer.test_publish("a.test", &big, 100, 9);
    }),
    ("remove", 1, |writer| assert!(writer.remove("b.test"))),
    ("restamp", 1, |writer| {
        writer.set_last_good("c.test", true);
        let Lookup::Found(entry) = (Store { zone: writer.zone }).find("c.test") else {
            panic!("c.test is there");
        };
        assert!(writer.restamp("c.test", entry.id, 100, 7, 7));
    }),
];

fn world() -> (Region, Store) {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &small(record(1, &[7]))).unwrap();
    store.test_publish("gone.test", &small(record(9, &[]))).unwrap();
    store.test_publish("b.test", &small(double(2))).unwrap();
    store.test_publish("c.test", &small(record(3, &[7, 3]))).unwrap();
    store.test_remove("gone.test");
    (region, store)
}

/// What all words of a key are but the last.
fn key_word(generation: u32) -> u64 {
    u64::from_ne_bytes(part(generation, b'K', 8).try_into().unwrap())
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
    let lock = TestLock::new();
    store.write(&lock).unwrap().test_publish("e.test", &record(30, &[7]), 200, 9).unwrap();
    check(store);
    assert_eq!(store.test_read("e.test"), Some(record(30, &[7])));
    for name in NAMES.iter().chain(&["e.test"]) {
        store.test_remove(name);
    }
    check(store);
    assert_eq!(store.stats().free_bytes, empty);
    let image = region.image();
    for generation in [1, 2, 3, 20, 30] {
        assert!(!image.contains(&key_word(generation)), "a key is left");
    }
}

/// Runs it with a store too many; false when it was through before that.
fn killed_after(region: &Region, stores: u64, operation: impl FnOnce()) -> bool {
    region.kill_after(stores);
    let killed = catch_unwind(AssertUnwindSafe(operation)).is_err();
    region.revive();
    killed
}

/// Does it, killed at every `step`th of its stores; `then` gets the contents of
/// before and after.
fn walk(
    operation: Operation,
    step: usize,
    mut then: impl FnMut(&Region, &Store, [&[Option<Record>; 4]; 2]),
) {
    let (region, store) = world();
    let image = region.image();
    assert!([1, 2, 3].iter().all(|i| image.contains(&key_word(*i))));
    let old = contents(&store);
    let write = || operation(&mut store.write(&TestLock::new()).unwrap());
    write();
    check(&store);
    let new = contents(&store);

    for stores in (1..).step_by(step) {
        region.restore(&image);
        if !killed_after(&region, stores, write) {
            assert!(stores > 2, "the walk went nowhere");
            return;
        }
        // Also what a writer leaves that is stopped there for ever.
        assert_old_or_new(&store, &old, &new);
        then(&region, &store, [&old, &new]);
    }
}

#[test]
fn at_every_store_of_a_write() {
    let empty = new_store(SMALL).1.stats().free_bytes;
    for (name, step, operation) in OPERATIONS {
        println!("{name}");
        let mut walked = 0;
        walk(operation, step, |region, store, [old, new]| {
            let stamps = NAMES.map(|name| store.stamp(name));
            drop(store.write(&TestLock::new()).unwrap());
            assert_eq!((store.stats().repairs, store.stats().resets), (1, 0));
            assert!(!stamps.iter().any(|stamp| store.is_current(stamp)));
            assert_old_or_new(store, old, new);
            check(store);
            walked += 1;
            if walked % 4 == 0 {
                assert_works(region, store, empty);
            }
        });
    }
}

#[test]
fn inside_the_repair_too() {
    let empty = new_store(SMALL).1.stats().free_bytes;
    for (name, step, operation) in OPERATIONS {
        println!("{name}");
        // Not each with each: that takes an hour.
        walk(operation, 24 * step, |region, store, _| {
            let image = region.image();
            let before = contents(store);
            for stores in (0..).step_by(67) {
                region.restore(&image);
                if !killed_after(region, stores, || drop(store.write(&TestLock::new()))) {
                    break;
                }
                assert_old_or_new(store, &before, &before);
                drop(store.write(&TestLock::new()).unwrap());
                assert_eq!(store.stats().resets, 0);
                assert_old_or_new(store, &before, &before);
                check(store);
                if stores % 2 == 0 {
                    assert_works(region, store, empty);
                }
            }
        });
    }
}
