//! Everything there is, found by a walk.

use std::time::{Duration, Instant};

use super::*;

fn sorted_names(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = store.names().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

#[test]
fn names_and_what_they_serve() {
    let (_, store) = new_store(4 * SMALL);
    assert_eq!((store.names(), store.export()), (vec![], vec![]));
    let lazy = store.test_publish("lazy.test", &record(1, &[7])).unwrap();
    let served = ["z.test", "a.test", "b.test", "a.test"];
    let fixed = store.test_serve("a.test", record(2, &[7]), &served).unwrap();
    store.test_serve("b.test", record(3, &[7]), &["z.test"]).unwrap();
    store.test_remove("b.test");
    let other = store.test_serve("c.test", record(4, &[7]), &["lazy.test", "z.test"]).unwrap();

    let mut names = store.names();
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let fixed_entry =
        |id, ticket| Entry { source: Source::Startup, ..entry_of(id, ticket, ticket) };
    let expected = [
        ("a.test".to_owned(), fixed_entry(fixed, 2)),
        ("c.test".to_owned(), fixed_entry(other, 4)),
        ("lazy.test".to_owned(), entry_of(lazy, 1, 1)),
    ];
    assert_eq!(names, expected);

    store.touch("lazy.test", 99);
    store.touch("c.test", 98);
    store.touch("a.test", 97);
    let [a, c, lazy] = expected;
    let exported = |(name, entry), served: &[&str]| Exported {
        name,
        entry,
        served: served.iter().map(|name| (*name).to_owned()).collect(),
    };
    let expected = [
        exported(lazy, &[]),
        exported(c, &["lazy.test", "z.test"]),
        exported(a, &["b.test", "z.test"]),
    ];
    assert_eq!(store.export(), expected);
}

/// A copy of all sets is as good as the sets.
#[test]
fn exported_and_published_elsewhere() {
    let (_, old) = new_store(6 * SMALL);
    for i in 0..20 {
        let (name, served) = (format!("n{i}.test"), [format!("m{i}.test"), "x.test".to_owned()]);
        old.test_publish(&format!("l{i}.test"), &record(i, &[i % 3])).unwrap();
        old.test_serve(&name, double(i), &[&served[0], &served[1]]).unwrap();
    }
    let (_, new) = new_store(10 * SMALL);
    new.continue_from(&old);
    let lock = TestLock::new();
    let mut writer = new.write(&lock).unwrap();
    for set in old.export().iter().rev() {
        let Lookup::Found((entry, record)) = old.read(&set.name) else { panic!("{set:?}") };
        assert_eq!(entry, set.entry);
        let served: Vec<&str> = set.served.iter().map(String::as_str).collect();
        writer.test_serve(&set.name, &record, &served, entry.ticket, entry.looked_at).unwrap();
    }
    drop(writer);
    check(&new);
    assert_eq!(sorted_names(&new), sorted_names(&old));
    assert_eq!(new.test_serving("x.test").len(), 20);
    assert_eq!(new.test_serving("m7.test"), ["n7.test"]);
    for name in sorted_names(&old) {
        assert_eq!(new.test_read(&name), old.test_read(&name));
    }
}

#[test]
fn a_hundred_thousand_names() {
    let (few_names, few_export) = walk_times(20_000);
    let (names, export) = walk_times(100_000);
    println!("names {few_names:?} {names:?}, export {few_export:?} {export:?}");
    // Five times as many; the machine does other things too.
    assert!(names < 20 * few_names && export < 20 * few_export);
}

/// How long walks over so many sets take: the best of three.
fn walk_times(count: usize) -> (Duration, Duration) {
    let (_, store) = new_store(32 << 20);
    let lock = TestLock::new();
    let lazy = sized(1, 8, 8, &[]);
    let fixed = startup(lazy.clone());
    let mut writer = store.write(&lock).unwrap();
    for i in 0..count / 2 {
        let [name, other, alias] = ["a", "b", "c"].map(|kind| format!("{kind}{i}.example.test"));
        writer.test_publish(&name, &lazy, 1, 1).unwrap();
        writer.test_serve(&other, &fixed, &[&alias], 1, 1).unwrap();
    }
    drop(writer);
    assert_eq!(store.stats().evictions, 0);

    let timed = || {
        let begin = Instant::now();
        assert_eq!(store.names().len(), count);
        let names = begin.elapsed();
        let exported = store.export();
        let export = begin.elapsed() - names;
        assert_eq!(exported.len(), count);
        assert_eq!(exported.iter().map(|set| set.served.len()).sum::<usize>(), count / 2);
        (names, export)
    };
    let times = [timed(), timed(), timed()];
    let best = |of: fn(&(Duration, Duration)) -> Duration| times.iter().map(of).min().unwrap();
    (best(|times| times.0), best(|times| times.1))
}

/// One bucket that is in a circle is left out, and ends.
#[test]
fn circles_end() {
    let (_, store) = new_store(SMALL);
    for i in 0..12 {
        store.test_publish(&format!("n{i}.test"), &sized(i, 8, 8, &[])).unwrap();
    }
    let chain = |bucket| index::Chain::of(&store.zone, bucket).map(Result::unwrap);
    let bucket = (0..16).find(|bucket| chain(*bucket).count() > 1).unwrap();
    let places: Vec<_> = chain(bucket).collect();
    let last = places.last().unwrap();
    store.zone.set(store.zone.at(last.link.unit()) + node::NEXT, places[0].link.0);
    let others = 12 - places.len();
    assert!(store.names().len() <= others && store.export().len() <= others);
    store.zone.set(layout::BUSY, 1);
    drop(store.write(&TestLock::new()).unwrap());
    assert!(store.names().len() >= others);
    check(&store);
}
