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
        let removed = is_removed(&region, &store, operation);
        let look = |store: &Store| store.read("a.test");
        step_by_step(&region, store, operation, 20, look, |found| assert_whole(found, removed));
    }
}

/// What is done to a set that serves "both.test", as another one does all the time.
const SERVED_OPERATIONS: [(&str, Operation); 7] = [
    ("replace, the same aliases", |store| {
        store.test_serve("a.test", new(), &["both.test", "a1.test"]).unwrap();
    }),
    ("replace, other aliases", |store| {
        store.test_serve("a.test", new(), &["both.test", "a2.test"]).unwrap();
    }),
    ("replace twice, the alias goes and comes back", |store| {
        store.test_serve("a.test", new(), &["a2.test"]).unwrap();
        store.test_serve("a.test", new(), &["both.test"]).unwrap();
    }),
    ("lazy now, and others in all places", |store| {
        store.test_publish("a.test", &new()).unwrap();
        store.test_serve("c.test", new(), &["both.test"]).unwrap();
    }),
    ("remove, and put others in all places", |store| {
        store.test_remove("a.test");
        store.test_serve("c.test", new(), &["c1.test", "both.test"]).unwrap();
        store.test_publish("d.test", &small(record(6, &[60, 7]))).unwrap();
    }),
    ("remove, and publish again", |store| {
        store.test_remove("a.test");
        store.test_serve("a.test", new(), &["a1.test", "both.test"]).unwrap();
    }),
    ("repair", |store| {
        store.zone.set(layout::BUSY, 1);
        drop(store.write(&TestLock::new()));
    }),
];

#[test]
fn any_load_and_any_store_by_another_name() {
    for (what, operation) in SERVED_OPERATIONS {
        println!("{what}");
        let (region, store) = new_store(SMALL);
        store.test_serve("b.test", old(), &["b1.test", "both.test"]).unwrap();
        store.test_serve("a.test", old(), &["both.test", "a1.test"]).unwrap();
        let b = store.test_entry("b.test");
        // From the set's own moment of change on, its other end.
        let may_miss = what.contains("goes") || what.contains("lazy") || what.contains("remove");

        let look = |store: &Store| store.serving("both.test");
        step_by_step(&region, store, operation, 20, look, |found| {
            let Lookup::Found(all) = found else { panic!("{found:?}") };
            let others = all.iter().filter(|serving| serving.name == "b.test");
            let others: Vec<&Serving> = others.collect();
            assert!(others.len() == 1 && others[0].entry == b, "the other set: {all:?}");
            let of_a = all.iter().filter(|serving| serving.name == "a.test").count();
            assert!(of_a == 1 || of_a == 0 && may_miss, "{all:?}");
            for serving in all {
                let before = serving.entry.ticket <= 2;
                assert!(!serving.entry.is_lazy(), "a set that serves itself only");
                assert!(before || serving.not_before == 2, "a ticket ahead of its set");
            }
        });
    }
}

/// Sets that nobody touches are in each walk, whatever is done to the others.
#[test]
fn any_load_of_a_walk_and_any_store() {
    let operation: Operation = |store| {
        store.test_serve("a.test", new(), &["both.test", "a2.test"]).unwrap();
        store.test_remove("a.test");
        store.test_publish("c.test", &new()).unwrap();
    };
    let (region, store) = new_store(SMALL);
    store.test_serve("b.test", old(), &["b1.test", "both.test"]).unwrap();
    store.test_serve("a.test", old(), &["both.test", "a1.test"]).unwrap();
    let look = |store: &Store| (store.names(), store.export());
    step_by_step(&region, store, operation, 100, look, |(names, exported)| {
        assert_eq!(names.iter().filter(|(name, _)| name == "b.test").count(), 1);
        let b = exported.iter().find(|set| set.name == "b.test").unwrap();
        assert_eq!(b.served, ["b1.test", "both.test"]);
        for set in exported {
            let known = ["a1.test", "a2.test", "both.test", "b1.test"];
            assert!(set.served.iter().all(|name| known.contains(&name.as_str())), "{set:?}");
        }
    });
}

/// Whether it is one that ends without the name, for `restore`s of what is there now.
fn is_removed(region: &Region, store: &Store, operation: Operation) -> bool {
    let image = region.image();
    operation(store);
    let removed = store.find("a.test") == Lookup::Absent;
    region.restore(&image);
    removed
}

/// Stops the reader at each of its loads, which are `least` or more, while the writer gets to any
/// of its stores; and has another one look at what that leaves.
fn step_by_step<T>(
    region: &Region,
    store: Store,
    operation: Operation,
    least: u64,
    look: impl Fn(&Store) -> T,
    assert: impl Fn(&T),
) {
    let region = *region;
    let image = region.image();
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
            let found = look(&store);
            if !region.was_done() {
                assert!(loads > least, "the walk went nowhere");
                break;
            }
            assert(&found);
            assert(&look(&store));
            if !killed.load(Ordering::Relaxed) {
                break;
            }
        }
        region.after_loads(loads, || {});
        let _ = look(&store);
        if !region.was_done() {
            break;
        }
    }
}

/// A name with its previous set is one of the states that it is in, never two halves.
#[test]
fn any_load_of_all_details_and_any_store() {
    const OPERATIONS: [(&str, Operation); 4] = [
        ("replace, the old one is kept", |store| {
            store.test_keep("a.test", &third()).unwrap();
        }),
        ("replace twice", |store| {
            store.test_keep("a.test", &third()).unwrap();
            store.test_keep("a.test", &new()).unwrap();
        }),
        ("drop, and put another in its place", |store| {
            store.write(&TestLock::new()).unwrap().drop_previous("a.test");
            store.test_publish("b.test", &third()).unwrap();
        }),
        ("repair", |store| {
            store.zone.set(layout::BUSY, 1);
            drop(store.write(&TestLock::new()));
        }),
    ];
    fn third() -> Record {
        small(record(5, &[50, 7]))
    }
    for (what, operation) in OPERATIONS {
        println!("{what}");
        let (region, store) = new_store(SMALL);
        store.test_publish("a.test", &old()).unwrap();
        store.test_keep("a.test", &new()).unwrap();
        let look = |store: &Store| store.details("a.test");
        step_by_step(&region, store, operation, 40, look, |details| {
            let Lookup::Found(details) = details else { panic!("{details:?}") };
            let state = |generation, record, previous| {
                details.generation == generation
                    && details.record == record
                    && (details.previous.is_none() || details.previous == Some(previous))
            };
            let first = state(2, new(), (1, old()));
            let second = state(3, third(), (2, new()));
            assert!(first || second || state(4, new(), (3, third())), "{details:?}");
            // The second replacement may have begun.
            let is_done = details.generation > if what.contains("twice") { 3 } else { 2 };
            assert!(!is_done || details.previous.is_some(), "{details:?}");
        });
    }
}
