//! Readers that are stopped between any two loads, while a writer gets to any of its stores (P1,
//! P13): what threads do by chance, step by step.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

type Operation = fn(&Store);

/// Replacing frees what a stopped reader is reading; what follows takes the same place.
const OPERATIONS: [(&str, Operation); 5] = [
    ("replace", |store| {
        store.test_publish("a.test", &new()).unwrap();
    }),
    ("replace and use the space for another name's set", |store| {
        store.test_publish("a.test", &new()).unwrap();
        store.test_publish("b.test", &small(record(5, &[50, 7]))).unwrap();
    }),
    ("replace twice, the second time in the first place", |store| {
        store.test_publish("a.test", &small(record(5, &[50, 7]))).unwrap();
        store.test_publish("a.test", &new()).unwrap();
    }),
    ("remove, and put others in all places", |store| {
        store.test_remove("a.test");
        store.test_publish("b.test", &small(record(5, &[50, 7]))).unwrap();
        store.test_publish("c.test", &small(record(6, &[60, 7]))).unwrap();
    }),
    ("repair", |store| {
        store.zone.set(layout::BUSY, 1);
        drop(store.write(&TestLock::new()));
    }),
];

fn old() -> Record {
    small(record(1, &[10, 7]))
}

fn new() -> Record {
    small(record(2, &[20, 7]))
}

/// Whether it is one of the sets that the name ever has, with a ticket that came no later.
fn assert_whole(found: &Lookup<(Entry, Record)>, removed: bool) {
    match found {
        Lookup::Found((entry, found)) => {
            let between = small(record(5, &[50, 7]));
            assert!(*found == old() || *found == new() || *found == between, "a mix: {found:?}");
            assert!(entry.ticket <= 1 || *found != old(), "a ticket ahead of its set");
        }
        Lookup::Absent => assert!(removed, "absent"),
        Lookup::Contended => panic!("contended"),
    }
}

#[test]
fn any_load_and_any_store() {
    for (what, operation) in OPERATIONS {
        println!("{what}");
        let (region, store) = new_store(SMALL);
        store.test_publish("a.test", &old()).unwrap();
        let image = region.image();
        operation(&store);
        let removed = store.find("a.test") == Lookup::Absent;

        // A prime step, moved on by each load: over the loads every store has its turn.
        for (loads, first) in (0..).zip((0..23).cycle()) {
            for stores in (first..).step_by(23) {
                region.restore(&image);
                let killed = std::sync::Arc::new(AtomicBool::new(false));
                let flag = killed.clone();
                region.after_loads(loads, move || {
                    region.kill_after(stores);
                    let done = catch_unwind(AssertUnwindSafe(|| operation(&store)));
                    region.revive();
                    flag.store(done.is_err(), Ordering::Relaxed);
                });
                let found = store.read("a.test");
                if !region.was_done() {
                    assert!(loads > 20, "the walk went nowhere");
                    break;
                }
                assert_whole(&found, removed);
                assert_whole(&store.read("a.test"), removed);
                if !killed.load(Ordering::Relaxed) {
                    break;
                }
            }
            region.after_loads(loads, || {});
            let _ = store.read("a.test");
            if !region.was_done() {
                break;
            }
        }
    }
}
