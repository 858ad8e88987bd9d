//! Sets that serve more names than their own.

use super::super::word::Link;
use super::*;

fn alias_links(store: &Store, name: &str) -> Vec<Link> {
    let spot = index::locate(&store.zone, name.as_bytes(), hash::of_name(name.as_bytes()));
    alias::all_of(&store.zone, spot.unwrap().unwrap().link.unit()).unwrap()
}

#[test]
fn found_by_all_that_it_serves() {
    let (_, store) = new_store(SMALL);
    let served = ["b.a.test", "a.test", "www.a.test", "b.a.test", ""];
    let id = store.test_serve("a.test", record(1, &[7]), &served).unwrap();
    let serving = Serving {
        name: "a.test".into(),
        entry: Entry { source: Source::Startup, ..entry_of(id, 1, 1) },
        not_before: 1,
        not_after: -1,
    };
    for name in served {
        assert_eq!(store.serving(name), Lookup::Found(vec![serving.clone()]), "{name}");
    }
    assert_eq!(store.test_entry("a.test"), serving.entry);
    assert_eq!(store.test_read("a.test"), Some(startup(record(1, &[7]))));
    assert_eq!(store.find("b.a.test"), Lookup::Absent, "an alias is no name");
    assert_eq!(store.serving("c.a.test"), Lookup::Absent);
    assert_eq!(alias_links(&store, "a.test").len(), 3);
    assert_eq!((store.stats().sets, store.stats().lazy_sets), (1, 0));
    check(&store);

    // A lazy set of one of the names is another thing.
    store.test_publish("www.a.test", &record(2, &[])).unwrap();
    assert_eq!(store.test_serving("www.a.test"), ["a.test"]);
    assert_eq!(store.test_read("www.a.test"), Some(record(2, &[])));
    check(&store);
}

#[test]
fn several_sets_serve_a_name() {
    let (_, store) = new_store(SMALL);
    store.test_serve("a.test", record(1, &[]), &["c.test", "b.test"]).unwrap();
    store.test_serve("b.test", record(2, &[]), &["c.test", "a.test"]).unwrap();
    store.test_serve("c.test", record(3, &[]), &[]).unwrap();
    assert_eq!(store.test_serving("c.test"), ["a.test", "b.test", "c.test"]);
    assert_eq!(store.test_serving("a.test"), ["a.test", "b.test"]);
    check(&store);

    assert!(store.test_remove("b.test"));
    assert_eq!(store.test_serving("c.test"), ["a.test", "c.test"]);
    assert_eq!(store.test_serving("b.test"), ["a.test"]);
    check(&store);
    assert!(store.test_remove("c.test"));
    assert_eq!(store.test_serving("c.test"), ["a.test"]);
    check(&store);
}

#[test]
fn no_walk_without_such_sets() {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &record(1, &[])).unwrap();
    region.after_loads(1, || {});
    assert_eq!(store.serving("a.test"), Lookup::Absent);
    assert!(!region.was_done(), "one load says that there is none");
    region.after_loads(1, || {});
    assert_ne!(store.find("a.test"), Lookup::Absent);
    assert!(region.was_done());
}

#[test]
fn aliases_that_stay_are_left_alone() {
    let (_, store) = new_store(SMALL);
    store.test_serve("a.test", record(1, &[7]), &["b.test", "c.test", "d.test"]).unwrap();
    let links = alias_links(&store, "a.test");
    let used = store.stats().used_bytes;
    for generation in 2..5 {
        let served = ["d.test", "b.test", "a.test", "c.test"];
        store.test_serve("a.test", record(generation, &[7]), &served).unwrap();
        assert!(alias_links(&store, "a.test") == links);
        assert_eq!(store.stats().used_bytes, used);
    }

    store.test_serve("a.test", record(5, &[7]), &["e.test", "c.test"]).unwrap();
    check(&store);
    let now = alias_links(&store, "a.test");
    assert_eq!(now.iter().filter(|link| links.contains(link)).count(), 1, "one stayed");
    for (name, is_served) in
        [("a", true), ("b", false), ("c", true), ("d", false), ("e", true), ("f", false)]
    {
        assert_eq!(store.test_serving(&format!("{name}.test")).len(), usize::from(is_served));
    }
}

#[test]
fn lazy_and_back() {
    let (_, store) = new_store(SMALL);
    let empty = store.stats();
    store.test_publish("a.test", &record(1, &[7])).unwrap();
    let lazy = store.stats();
    assert_eq!(store.fixed_bytes(), 0);

    store.test_serve("a.test", record(2, &[7]), &["b.test", "c.test"]).unwrap();
    assert_eq!(store.test_serving("b.test"), ["a.test"]);
    assert_eq!(store.fixed_bytes(), store.stats().used_bytes, "all there is");
    check(&store);

    // Whatever a lazy set is said to serve, it does not.
    let lock = TestLock::new();
    let published =
        store.write(&lock).unwrap().test_serve("a.test", &record(3, &[7]), &["b.test"], 9, 9);
    assert!(published.is_ok());
    assert_eq!(store.serving("b.test"), Lookup::Absent);
    assert_eq!(store.stats(), Stats { changes: 3, ..lazy });
    check(&store);

    store.test_publish("d.test", &record(4, &[])).unwrap();
    store.test_serve("e.test", record(5, &[8]), &["b.test"]).unwrap();
    let stamps = ["a.test", "d.test"].map(|name| store.stamp(name));
    assert_eq!(store.write(&lock).unwrap().remove_lazy(), 2);
    assert!(!stamps.iter().any(|stamp| store.is_current(stamp)));
    assert_eq!((store.find("a.test"), store.find("d.test")), (Lookup::Absent, Lookup::Absent));
    assert_eq!(store.test_serving("b.test"), ["e.test"]);
    check(&store);
    assert_eq!(store.write(&lock).unwrap().remove_lazy(), 0);

    assert!(store.test_remove("e.test"));
    assert_eq!(store.stats(), Stats { changes: store.changes(), ..empty });
    check(&store);
}

#[test]
fn announced_to_all_names_before_or_after() {
    let (_, store) = new_store(SMALL);
    let names = ["a.test", "kept.test", "old.test", "new.test", "other.test"];
    let stamps = || names.map(|name| store.stamp(name));
    let current = |stamps: [Stamp; 5]| stamps.map(|stamp| store.is_current(&stamp));
    let mut stripes = stamps().map(|stamp| stamp.stripe).to_vec();
    stripes.dedup();
    assert_eq!(stripes.len(), 5, "names with a stripe each");

    store.test_serve("a.test", record(1, &[]), &["kept.test", "old.test"]).unwrap();
    let before = stamps();
    store.test_serve("a.test", record(2, &[]), &["kept.test", "new.test"]).unwrap();
    assert_eq!(current(before), [false, false, false, false, true]);
    let before = stamps();
    store.test_remove("a.test");
    assert_eq!(current(before), [false, false, true, false, true]);
    assert_eq!(store.changes(), 3);

    // So many names share stripes: each set is one change of any of them.
    let many: Vec<String> = (0..200).map(|i| format!("n{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let before: Vec<Stamp> = many.iter().map(|name| store.stamp(name)).collect();
    store.test_serve("a.test", sized(3, 8, 8, &[]), &many[..100]).unwrap();
    let between: Vec<Stamp> = many.iter().map(|name| store.stamp(name)).collect();
    assert!(before[..100].iter().zip(&between).all(|(then, now)| then.is_just_before(now)));
    store.test_serve("a.test", sized(3, 8, 8, &[]), &many[50..150]).unwrap();
    let after: Vec<Stamp> = many.iter().map(|name| store.stamp(name)).collect();
    assert!(between[..150].iter().zip(&after).all(|(then, now)| then.is_just_before(now)));
}

#[test]
fn one_name_costs_no_alias() {
    let used = |source, served: &[&str]| {
        let (_, store) = new_store(SMALL);
        let record = Record { source, ..record(1, &[7]) };
        let lock = TestLock::new();
        store.write(&lock).unwrap().test_serve("a.test", &record, served, 1, 1).unwrap();
        store.stats().used_bytes
    };
    assert_eq!(used(Source::Startup, &["a.test"]), used(Source::Lazy, &[]));
    assert_eq!(used(Source::Startup, &["b.test"]), used(Source::Lazy, &[]) + 64);
}

#[test]
fn refused_as_a_whole() {
    let (_, store) = new_store(SMALL);
    store.test_serve("a.test", record(1, &[7]), &["b.test"]).unwrap();
    store.test_publish("c.test", &record(2, &[7])).unwrap();
    let before = store.stats();
    let long = "n".repeat(256);
    let many: Vec<String> = (0..500).map(|i| format!("n{i}.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for served in [&[long.as_str(), "d.test"][..], &many] {
        let refused = store.test_serve("a.test", record(3, &[8]), served);
        assert!(matches!(refused, Err(PublishError::Full { .. })));
        assert_eq!(store.stats(), before);
        assert_eq!(store.test_read("a.test"), Some(startup(record(1, &[7]))));
        assert_eq!(store.test_serving("b.test"), ["a.test"]);
        assert_eq!(store.serving(served[1]), Lookup::Absent);
    }
    check(&store);
}

/// An alias that leads nowhere is no candidate, however long that stays so.
#[test]
fn an_alias_of_nothing_holds_nobody_up() {
    let (_, store) = new_store(SMALL);
    store.test_serve("a.test", record(1, &[]), &["x.test"]).unwrap();
    store.test_serve("b.test", record(2, &[]), &["x.test", "y.test"]).unwrap();
    let owner = |link: Link| store.zone.at(link.unit()) + alias::OWNER;
    let links = alias_links(&store, "b.test");
    let live = store.zone.get(owner(links[0]));
    let set = Link(store.test_entry("a.test").id.0);
    for dead in [0, 1, live + (1 << 36), live + (1 << 4), u64::MAX, links[0].0, set.0] {
        links.iter().for_each(|link| store.zone.set(owner(*link), dead));
        assert_eq!(store.test_serving("x.test"), ["a.test"]);
        assert_eq!(store.serving("y.test"), Lookup::Absent);
    }
    links.iter().for_each(|link| store.zone.set(owner(*link), live));
    check(&store);
}

/// A name that very many sets serve is a long chain, and no damage.
#[test]
fn a_name_of_very_many_sets() {
    const SETS: u32 = 20_000;
    let (_, store) = new_store(16 << 20);
    let record = sized(1, 8, 8, &[]);
    for i in 0..SETS {
        store.test_serve(&format!("n{i}.test"), record.clone(), &["localhost"]).unwrap();
    }
    store.test_publish("localhost", &record).unwrap();
    assert_eq!(store.test_serving("localhost").len(), SETS as usize);
    assert!(store.test_read("localhost").is_some());
    for i in (0..SETS).step_by(1000) {
        assert!(store.test_remove(&format!("n{i}.test")));
    }
    store.zone.set(layout::BUSY, 1);
    drop(store.write(&TestLock::new()));
    assert_eq!(store.test_serving("localhost").len(), SETS as usize - 20);
    assert_eq!(store.export().len(), SETS as usize - 19);
    check(&store);
}
