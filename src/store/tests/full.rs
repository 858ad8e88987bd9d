//! Sizes, full zones and what is evicted.

use super::super::layout::{BINS, RESERVE, UNIT_WORDS};
use super::*;

/// Publishes sets of a P-256 certificate with one intermediate until one is evicted: how many.
fn fill(store: &Store) -> u32 {
    for i in 0.. {
        store.test_publish(&format!("www{i}.example.test"), &record(i, &[7])).unwrap();
        if store.stats().evictions > 0 {
            return i;
        }
    }
    unreachable!()
}

#[test]
fn the_smallest_zone_holds_a_dozen() {
    let (_, store) = new_store(SMALL);
    let sets = fill(&store);
    assert!(sets >= 12, "{sets}");
    check(&store);
}

/// P19, over all that grows with the zone.
#[test]
fn bytes_per_set() {
    for (len, least) in [(1 << 20, 1000), (1_400_000, 1000)] {
        let (_, store) = new_store(len);
        let sets = fill(&store) as usize;
        assert!(sets >= least, "{sets}");
        let bytes = (len - BINS * 8) / sets;
        assert!(bytes * 4 <= (500 + 138) * 5 + 200 * 4, "{bytes} bytes per set");
        println!("{bytes} bytes per set, {sets} sets in {len} bytes");
    }
}

#[test]
fn least_recently_used_first_and_last_good_last() {
    // Large enough for the last uses of all names here to have a bucket each.
    let (_, store) = new_store(128 * 1024);
    let mut buckets = std::collections::HashSet::new();
    let bucket = |name: &str| store.zone.geometry.bucket(hash::of_name(name.as_bytes()));
    let names: Vec<String> =
        (0..999).map(|i| format!("n{i}")).filter(|name| buckets.insert(bucket(name))).collect();
    let lock = TestLock::new();
    let publish = |name: &str, msec| {
        let record = sized(1, 5000, 138, &[]);
        store.write(&lock).unwrap().test_publish(name, &record, 9, msec).unwrap();
    };

    for (i, name) in names[..12].iter().enumerate() {
        publish(name, 1);
        store.touch(name, 1000 - i as u64);
    }
    for i in [11, 5] {
        store.write(&lock).unwrap().set_last_good(&names[i], true);
    }

    // Each of these is newer than all of those, and as large.
    let mut gone = Vec::new();
    for (i, name) in names[12..60].iter().enumerate() {
        publish(name, 1001 + i as u64);
        let now = (0..12).filter(|i| store.find(&names[*i]) == Lookup::Absent);
        gone.extend(now.filter(|i| !gone.contains(i)).collect::<Vec<_>>());
    }
    assert_eq!(gone, [10, 9, 8, 7, 6, 4, 3, 2, 1, 0]);
    check(&store);

    store.test_publish("x.test", &sized(1, 100_000, 138, &[])).unwrap();
    assert_eq!(store.find(&names[5]), Lookup::Absent);
    check(&store);
}

#[test]
fn nothing_is_evicted_for_what_never_fits() {
    let (_, store) = new_store(SMALL);
    fill(&store);
    let before = store.stats();
    let refused = store.test_publish("a.test", &sized(1, 20_000, 100, &[]));
    assert!(matches!(refused, Err(PublishError::Full { needed, free })
        if needed > 20_000 && free == before.free_bytes));
    assert_eq!(store.stats(), before);

    // The set that a name has stays until the next is there: not both of these fit.
    store.test_publish("a.test", &sized(1, 8_000, 100, &[])).unwrap();
    let before = store.stats();
    let refused = store.test_publish("a.test", &sized(2, 8_000, 100, &[]));
    assert!(matches!(refused, Err(PublishError::Full { .. })));
    assert_eq!(store.test_read("a.test"), Some(sized(1, 8_000, 100, &[])));
    assert_eq!(store.stats(), before);
    check(&store);
}

#[test]
fn a_replaced_name_is_not_evicted_for_itself() {
    let (_, store) = new_store(SMALL);
    for generation in 0..100 {
        let record = sized(generation, 3_000, 500, &[generation]);
        store.test_publish("a.test", &record).unwrap();
        store.test_publish(&format!("b{generation}.test"), &record).unwrap();
        assert_eq!(store.test_read("a.test"), Some(record));
    }
    check(&store);
}

/// Free space in pieces too small: neighbours go, not everybody.
#[test]
fn pieces_are_joined() {
    let (_, store) = new_store(256 * 1024);
    for i in 0..100 {
        store.test_publish(&format!("n{i}"), &sized(i, 500, 140, &[])).unwrap();
        store.test_publish(&format!("m{i}"), &sized(i, 1000, 140, &[])).unwrap();
    }
    while store.stats().evictions == 0 {
        let i = store.stats().sets as u32;
        store.test_publish(&format!("o{i}"), &sized(i, 500, 140, &[])).unwrap();
    }
    for i in 0..100 {
        store.test_remove(&format!("n{i}"));
    }
    check(&store);

    let before = store.stats();
    store.test_publish("a.test", &sized(1, 12_000, 100, &[])).unwrap();
    let evicted = store.stats().evictions - before.evictions;
    assert!(evicted > 0 && evicted < 16, "{evicted}");
    check(&store);
}

#[test]
fn space_comes_back_whole() {
    let (_, store) = new_store(SMALL);
    let empty = store.stats().free_bytes;
    let names = (0..10).map(|i| format!("n{i}"));
    for name in names.clone() {
        store.test_publish(&name, &record(1, &[7])).unwrap();
    }
    names.for_each(|name| assert!(store.test_remove(&name)));
    assert_eq!(store.stats().free_bytes, empty);
    let whole = empty as usize - 200 - UNIT_WORDS * 8;
    store.test_publish("a.test", &sized(1, whole, 1, &[])).unwrap();
    assert_eq!(store.stats().evictions, 0);
    check(&store);
}

#[test]
fn what_is_not_lazy_stays() {
    let (_, store) = new_store(SMALL);
    let served = |i: u32| [format!("m{i}.test"), "x.test".to_owned()];
    for i in 0..4 {
        let [own, all] = served(i);
        store.test_serve(&format!("n{i}.test"), record(i, &[7]), &[&own, &all]).unwrap();
    }
    // Many times what there is room for.
    for i in 10..200 {
        store.test_publish(&format!("www{i}.example.test"), &record(i, &[i % 9])).unwrap();
    }
    assert!(store.stats().evictions > 150);
    assert_eq!(store.test_serving("x.test").len(), 4);
    check(&store);

    // Lazy sets make room for one that is not, until there are only such.
    for i in 4.. {
        let [own, all] = served(i);
        let published = store.test_serve(&format!("n{i}.test"), record(i, &[7]), &[&own, &all]);
        if published.is_err() {
            assert!(i >= 12 && store.stats().lazy_sets == 0, "{i}, {:?}", store.stats());
            assert_eq!(store.test_serving("x.test").len(), i as usize);
            break;
        }
        assert_eq!(store.test_serving(&own), [format!("n{i}.test")]);
    }
    check(&store);
}

/// P14: sets that are never evicted leave too little room, which is known beforehand.
#[test]
fn nothing_is_evicted_for_what_never_fits_beside_what_stays() {
    let (_, store) = new_store(2 * SMALL);
    let served: Vec<String> = (0..40).map(|i| format!("n{i}.test")).collect();
    let served: Vec<&str> = served.iter().map(String::as_str).collect();
    store.test_serve("a.test", sized(1, 8_000, 100, &[6, 7]), &served).unwrap();
    for i in 0..4 {
        store.test_publish(&format!("l{i}.test"), &record(i, &[8])).unwrap();
    }
    let before = store.stats();
    let room = (store.capacity() - store.fixed_bytes()) as usize;
    let refused = |result| matches!(result, Err(PublishError::Full { .. }));
    assert!(refused(store.test_publish("b.test", &sized(2, room - 150, 100, &[]))));
    assert!(refused(store.test_serve("b.test", sized(2, room - 3000, 100, &[9]), &served)));
    // The old set stays until the new one is there.
    assert!(refused(store.test_serve("a.test", sized(2, room - 150, 100, &[6, 7]), &served)));
    assert_eq!(store.stats(), before);
    check(&store);

    // The intermediates and the aliases that are there already take no room.
    let most = sized(2, room - 300, 100, &[6, 7, 6]);
    store.test_serve("a.test", most.clone(), &served).unwrap();
    assert_eq!(store.test_read("a.test"), Some(startup(most)));
    assert_eq!(store.stats().lazy_sets, 0);
    check(&store);
}

fn push(store: &Store, name: &str, generation: u32, leaf: usize) -> Result<SetId, PublishError> {
    let record = pushed(sized(generation, leaf, 138, &[7]));
    let publication = publication(name, &record, &[], store.next_ticket());
    let lock = TestLock::new();
    let publication = Publication { leaves_room: true, previous: Previous::Keep, ..publication };
    store.write(&lock).unwrap().publish(&publication)
}

/// Sets of several sizes and lazy ones between them until no more fit: the names of those that were
/// pushed, with their sizes.
fn fill_with_pushes(store: &Store, sizes: &[usize], lazy_every: usize) -> Vec<(String, usize)> {
    let mut names = Vec::new();
    for i in 0.. {
        if i % lazy_every == 0 {
            // It has no room where a pushed set has that of the last one.
            let _ = store.test_publish(&format!("lazy{i}.test"), &record(i as u32, &[]));
        }
        let (name, leaf) = (format!("n{i}.test"), sizes[i % sizes.len()]);
        match push(store, &name, 1, leaf) {
            Ok(_) => names.push((name, leaf)),
            Err(_) => return names,
        }
    }
    unreachable!()
}

/// However lazy sets lie between them, and whatever the sizes: what replaces a pushed set has room when
/// new names have none, again and again, although no two certificates have one length.
#[test]
fn renewals_have_room_where_new_names_have_none() {
    for (lazy_every, sizes) in [(1, &[500][..]), (3, &[500]), (7, &[380, 1_900]), (99, &[380, 381])]
    {
        let (_, store) = new_store(64 * 1024);
        let names = fill_with_pushes(&store, sizes, lazy_every);
        assert!(names.len() > 12, "{}", names.len());
        for round in 2..8_usize {
            for (i, (name, leaf)) in names.iter().enumerate() {
                let leaf = leaf + (i * 7 + round * 3) % 11;
                let id = push(&store, name, round as u32, leaf).unwrap();
                assert_eq!(store.test_entry(name).id, id);
                let record = store.test_read(name).unwrap();
                assert_eq!(record, pushed(sized(round as u32, leaf, 138, &[7])));
            }
            check(&store);
        }
        let sets = store.stats().pushed_sets;
        // What was loaded lazily may have been evicted since.
        let more = (0..).find(|i| push(&store, &format!("more{i}.test"), 1, sizes[0]).is_err());
        assert!(more.is_some_and(|more| more < 12), "{sets}, then {:?}", store.stats());
        assert_eq!(store.stats().resets + store.stats().repairs, 0);
        for (name, _) in &names {
            push(&store, name, 9, 390).unwrap();
        }
        check(&store);
    }
}

/// A place that no eviction makes takes nothing from others.
#[test]
fn a_refusal_takes_nothing_from_others() {
    let (_, store) = new_store(64 * 1024);
    let names = fill_with_pushes(&store, &[500], 99);
    for (name, _) in names.iter().step_by(2) {
        assert!(store.test_remove(name));
    }
    for (name, _) in names.iter().skip(1).step_by(6) {
        push(&store, name, 2, 500).unwrap();
    }
    store.test_publish("lazy.test", &record(3, &[])).unwrap();
    let before = store.stats();
    assert!(before.previous_sets > 3);
    let Err(PublishError::Full { needed, free }) = push(&store, "large.test", 1, 2_000) else {
        panic!("there is no place for it");
    };
    assert!(free > 2 * needed);
    assert_eq!(store.stats(), before);
    check(&store);
}

/// What is kept aside for replacements is gone with the last pushed set.
#[test]
fn what_is_kept_aside_comes_back() {
    let (_, store) = new_store(64 * 1024);
    let empty = store.stats().free_bytes;
    push(&store, "a.test", 1, 500).unwrap();
    let one = empty - store.stats().free_bytes;
    push(&store, "b.test", 1, 500).unwrap();
    assert!(empty - store.stats().free_bytes < 2 * one - 500, "it is there once");
    store.test_remove("a.test");
    check(&store);
    store.test_publish("b.test", &record(2, &[])).unwrap();
    store.test_remove("b.test");
    check(&store);
    assert_eq!(store.stats().free_bytes, empty);
}

/// P12: killed on the way through what is kept aside, it is the old set or the new one.
#[test]
fn killed_on_the_way_through_the_reserve() {
    let (region, store) = new_store(64 * 1024);
    let names = fill_with_pushes(&store, &[500], 99);
    store.write(&TestLock::new()).unwrap().remove_lazy();
    while push(&store, "more.test", 1, 40).is_ok() && store.test_remove("more.test") {
        let filler = format!("f{}.test", store.stats().sets);
        if push(&store, &filler, 1, 40).is_err() {
            break;
        }
    }
    let (image, of) = (region.image(), |i| pushed(sized(i, 500, 138, &[7])));
    let (name, _) = &names[3];
    let mut went_through = 0;
    for stores in 3.. {
        region.restore(&image);
        let renew = || assert!(push(&store, name, 2, 500).is_ok());
        if !super::kill::killed_after(&region, stores, renew) {
            assert!(stores > 200 && went_through > 20, "{stores}, {went_through}");
            break;
        }
        let found = store.test_read(name);
        assert!(found == Some(of(1)) || found == Some(of(2)), "{stores}");
        went_through += u64::from(store.zone.get(RESERVE) == 0);
        drop(store.write(&TestLock::new()).unwrap());
        assert_eq!((store.stats().repairs, store.stats().resets), (1, 0));
        check(&store);
        assert_eq!(store.test_read(name), found);
        push(&store, name, 3, 500).unwrap();
        assert_eq!(store.test_read(name), Some(of(3)));
        push(&store, &names[5].0, 3, 500).unwrap();
        assert!(names.iter().all(|(name, _)| store.test_read(name).is_some()));
        check(&store);
    }
}
