//! A writer that is killed at every single store that it does (P12, P13).

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Those of lazy sets, then those of sets that serve more; "d.test" and "u.test" come later.
const NAMES: [&str; 7] = ["a.test", "b.test", "c.test", "d.test", "s.test", "t.test", "u.test"];

/// What any of them serves at any time, besides its own name.
const SERVED: [&str; 5] = ["s1.test", "both.test", "t1.test", "new.test", "a.test"];

pub(super) type Operation = fn(&mut Writer<'_>);

/// With the step from one store to the next that kills: the larger ones have many alike.
const OPERATIONS: [(&str, usize, Operation); 22] = [
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
        writer.test_publish("d.test", &sized(20, 10_000, 300, &[7, 20]), 100, 9).unwrap();
    }),
    ("refused after evictions", 7, |writer| {
        let big = sized(20, 13_000, 40, &[]);
        let _ = writer.test_publish("a.test", &big, 100, 9);
    }),
    ("remove", 1, |writer| assert!(writer.remove("b.test"))),
    ("restamp", 1, |writer| {
        writer.set_last_good("c.test", true);
        let id = id_of(writer, "c.test");
        assert!(writer.restamp("c.test", id, 100, 7, 7));
    }),
    ("insert with aliases", 1, |writer| {
        let record = startup(small(record(20, &[7, 20])));
        writer.test_serve("u.test", &record, &["new.test", "both.test"], 100, 9).unwrap();
    }),
    ("other aliases: one stays, one is new, one goes", 1, |writer| {
        let record = startup(small(record(20, &[7])));
        writer.test_serve("s.test", &record, &["new.test", "both.test"], 100, 9).unwrap();
    }),
    ("the same aliases", 1, |writer| {
        let record = startup(small(record(20, &[])));
        writer.test_serve("s.test", &record, &["both.test", "s1.test"], 100, 9).unwrap();
    }),
    ("remove with aliases", 1, |writer| assert!(writer.remove("s.test"))),
    ("lazy before, with aliases now", 1, |writer| {
        let record = startup(small(record(20, &[7])));
        writer.test_serve("a.test", &record, &["new.test", "both.test"], 100, 9).unwrap();
    }),
    ("with aliases before, lazy now", 1, |writer| {
        writer.test_publish("s.test", &small(record(20, &[7])), 100, 9).unwrap();
    }),
    ("insert with aliases, evict", 7, |writer| {
        let record = startup(sized(20, 10_000, 300, &[7, 20]));
        writer.test_serve("u.test", &record, &["new.test", "both.test"], 100, 9).unwrap();
    }),
    ("looks", 1, |writer| {
        let id = id_of(writer, "s.test");
        assert!(writer.claim_look("s.test", id, 5, 60));
        assert!(writer.note_stat("s.test", id, 77, 60));
    }),
    ("remove lazy", 1, |writer| assert_eq!(writer.remove_lazy(), 3)),
    ("replace, the old one is kept", 1, |writer| {
        keep(writer, "c.test", &small(double(20)), &[]);
    }),
    ("replace, the old one is kept and the one before goes", 1, |writer| {
        keep(writer, "a.test", &small(record(20, &[7, 20])), &[]);
    }),
    ("pushed, the old one is kept and the one before goes", 1, |writer| {
        let record = pushed(small(record(20, &[5])));
        keep(writer, "t.test", &record, &["new.test", "both.test"]);
    }),
    ("pushed, in the place of all that there was", 1, |writer| {
        let record = pushed(small(record(20, &[7])));
        writer.test_serve("t.test", &record, &["both.test"], 100, 9).unwrap();
    }),
    ("drop the previous one", 1, |writer| assert!(writer.drop_previous("t.test"))),
    ("add a previous one, and note what there is", 1, |writer| {
        assert!(writer.add_previous("s.test", 2, &small(record(20, &[7, 20]))));
        assert!(writer.set_failure("s.test", 3));
        let id = id_of(writer, "s.test");
        assert!(writer.note_look("s.test", id, Look { stat: 8, seen: 9, ticket: 90, now_msec: 7 }));
    }),
];

fn keep(writer: &mut Writer<'_>, name: &str, record: &Record, served: &[&str]) {
    let publication = publication(name, record, served, 100);
    writer.publish(&Publication { previous: Previous::Keep, ..publication }).unwrap();
}

fn id_of(writer: &Writer<'_>, name: &str) -> SetId {
    (Store { zone: writer.zone }).test_entry(name).id
}

fn world() -> (Region, Store) {
    let (region, store) = new_store(SMALL);
    let lock = TestLock::new();
    let mut writer = store.write(&lock).unwrap();
    let mut lazy = |name, record: Record| writer.test_publish(name, &small(record), 1, 1).unwrap();
    lazy("a.test", record(1, &[7]));
    lazy("gone.test", record(9, &[]));
    lazy("b.test", double(2));
    lazy("c.test", record(3, &[7, 3]));
    let mut fixed = |name, record, served: &[&str]| {
        writer.test_serve(name, &startup(small(record)), served, 5, 5).unwrap();
    };
    fixed("s.test", record(4, &[7, 4]), &["s1.test", "both.test"]);
    fixed("t.test", record(5, &[5]), &["t1.test", "both.test", "a.test"]);
    writer.remove("gone.test");
    assert!(writer.add_previous("a.test", 0, &small(record(11, &[7, 11]))));
    assert!(writer.add_previous("t.test", 0, &startup(small(record(15, &[5, 15])))));
    drop(writer);
    (region, store)
}

/// What all words of a key are but the last.
fn key_word(generation: u32) -> u64 {
    u64::from_ne_bytes(part(generation, b'K', 8).try_into().unwrap())
}

/// What lookups give.
#[derive(PartialEq)]
struct Contents {
    sets: [Option<(Entry, Record)>; 7],
    previous: [Option<(u64, Record)>; 7],
    /// Of each name that is served, or may be: the sets that it is served from.
    serving: Vec<Vec<(String, SetId)>>,
}

impl Contents {
    fn of(store: &Store) -> Contents {
        let sets = NAMES.map(|name| match store.read(name) {
            Lookup::Found(found) => Some(found),
            Lookup::Absent => None,
            Lookup::Contended => panic!("{name}: contended"),
        });
        let previous = NAMES.map(|name| match store.details(name) {
            Lookup::Found(details) => details.previous,
            Lookup::Absent => None,
            Lookup::Contended => panic!("{name}: contended"),
        });
        Contents { sets, previous, serving: served().map(|name| serving(store, name)).collect() }
    }
}

fn served() -> impl Iterator<Item = &'static str> {
    SERVED.into_iter().chain(["s.test", "t.test", "u.test"])
}

pub(super) fn serving(store: &Store, name: &str) -> Vec<(String, SetId)> {
    match store.serving(name) {
        Lookup::Found(all) => all.into_iter().map(|found| (found.name, found.entry.id)).collect(),
        Lookup::Absent => Vec::new(),
        Lookup::Contended => panic!("{name}: contended"),
    }
}

/// Each name has its old set or its new one; what each set serves it is found by, and by more only
/// while aliases are left that are of no use. Neither names nor an export miss a set.
fn assert_old_or_new(store: &Store, old: &Contents, new: &Contents) {
    let now = Contents::of(store);
    let (names, exported) = (store.names(), store.export());
    for (i, name) in NAMES.iter().enumerate() {
        let id = |contents: &Contents| contents.sets[i].as_ref().map(|(entry, _)| entry.id);
        let state = if id(&now) == id(old) { old } else { new };
        assert_eq!(id(&now), id(state), "{name} has neither set");
        if let Some((entry, record)) = &now.sets[i] {
            let [before, after] = [old, new].map(|contents| contents.sets[i].as_ref());
            let (_, whole) = state.sets[i].as_ref().unwrap();
            assert_eq!(record, whole);
            let either = |field: fn(&Entry) -> u64| {
                let of = |set: Option<&(Entry, Record)>| set.map(|(entry, _)| field(entry));
                let now = Some(field(entry));
                assert!(now == of(before) || now == of(after), "{name}: what is known of it");
            };
            either(|entry| entry.ticket);
            either(|entry| entry.stat);
            either(|entry| entry.looked_at);
            either(|entry| entry.seen);
            either(|entry| entry.failure);
        }
        // It may be gone before its set is another one, and it is there with the new one.
        let previous = &now.previous[i];
        let is_new = id(&now) != id(old);
        let is_old = !is_new && (*previous == old.previous[i] || previous.is_none());
        assert!(is_old || *previous == new.previous[i], "{name}: {previous:?}");
        let is_there = |found: &str| found == *name;
        assert_eq!(names.iter().any(|(found, _)| is_there(found)), id(&now).is_some());
        let export = exported.iter().find(|set| is_there(&set.name));
        assert_eq!(export.map(|set| set.entry.id), id(&now));
        let of_lazy = export.filter(|set| set.entry.is_lazy());
        assert!(of_lazy.is_none_or(|set| set.served.is_empty()), "a lazy set serves itself only");

        for (i, served) in served().enumerate() {
            let by = |contents: &Contents| {
                contents.serving[i].iter().find(|(owner, _)| is_there(owner)).map(|found| found.1)
            };
            let is_served = by(state).is_some();
            assert!(by(&now).is_some() || !is_served, "{served} is not found in {name}");
            assert!(by(&now).is_none() || by(&now) == id(&now), "{served}: a set that is not it");
            let exports = export.is_some_and(|set| set.served.iter().any(|name| name == served));
            assert!(exports || !is_served || served == *name, "{name} without {served}");
        }
    }
}

/// The zone works: all of it can be used again, and nothing is left of what was in it.
fn assert_works(region: &Region, store: &Store, empty: u64) {
    let lock = TestLock::new();
    // It is large, and stays where it is once it is published.
    store.test_remove("u.test");
    let mut writer = store.write(&lock).unwrap();
    writer.test_publish("e.test", &record(30, &[7]), 200, 9).unwrap();
    let served = ["new.test", "s1.test"];
    writer.test_serve("s.test", &startup(record(30, &[7])), &served, 200, 9).unwrap();
    drop(writer);
    check(store);
    assert_eq!(store.test_read("e.test"), Some(record(30, &[7])));
    assert!(served.iter().all(|name| store.test_serving(name).iter().any(|by| by == "s.test")));
    assert!(!store.test_serving("both.test").iter().any(|by| by == "s.test"));
    for name in NAMES.iter().chain(&["e.test"]) {
        store.test_remove(name);
    }
    check(store);
    assert_eq!(store.stats().free_bytes, empty);
    let image = region.image();
    for generation in [1, 2, 3, 4, 5, 11, 15, 20, 30] {
        assert!(!image.contains(&key_word(generation)), "a key is left");
    }
}

/// Runs it with a store too many; false when it was through before that.
pub(super) fn killed_after(region: &Region, stores: u64, operation: impl FnOnce()) -> bool {
    region.kill_after(stores);
    let killed = catch_unwind(AssertUnwindSafe(operation)).is_err();
    region.revive();
    killed
}

/// Does it, killed at every `step`th of its stores; `then` gets the contents of
/// before and after.
fn walk(operation: Operation, step: usize, mut then: impl FnMut(&Region, &Store, [&Contents; 2])) {
    let (region, store) = world();
    let image = region.image();
    assert!([1, 2, 3, 4, 5, 11, 15].iter().all(|i| image.contains(&key_word(*i))));
    let old = Contents::of(&store);
    let write = || operation(&mut store.write(&TestLock::new()).unwrap());
    write();
    check(&store);
    let new = Contents::of(&store);

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
            let before = Contents::of(store);
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
