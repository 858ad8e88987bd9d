//! The set before the present one: kept, given up for room, wiped. And what a publication is ordered
//! by and may expect.

use super::*;

fn key(generation: u32) -> Vec<u8> {
    part(generation, b'K', 16)
}

fn refused(result: Result<SetId, PublishError>) -> bool {
    matches!(result, Err(PublishError::Full { .. }))
}

#[test]
fn one_is_kept() {
    let (region, store) = new_store(SMALL);
    store.test_keep("a.test", &record(1, &[7])).unwrap();
    assert_eq!((store.test_previous("a.test"), store.stats().previous_sets), (None, 0));

    store.test_keep("a.test", &pushed(record(2, &[8]))).unwrap();
    assert_eq!(store.test_previous("a.test"), Some(record(1, &[7])));
    assert_eq!(store.test_read("a.test"), Some(pushed(record(2, &[8]))));
    let stats = store.stats();
    assert_eq!((stats.sets, stats.pushed_sets, stats.previous_sets), (1, 1, 1));
    check(&store);

    store.test_keep("a.test", &startup(record(3, &[7]))).unwrap();
    assert_eq!(store.test_previous("a.test"), Some(pushed(record(2, &[8]))));
    assert!(!region.contains(&key(1)) && region.contains(&key(2)));
    assert_eq!(store.stats().startup_sets, 1);
    check(&store);

    store.test_serve("a.test", record(4, &[7]), &[]).unwrap();
    assert_eq!((store.test_previous("a.test"), store.stats().previous_sets), (None, 0));
    assert!(!region.contains(&key(2)) && !region.contains(&key(3)));
    assert!(!region.contains(&part(8, b'I', 16)));
    check(&store);
}

#[test]
fn wiped_when_it_is_dropped() {
    let (region, store) = new_store(SMALL);
    store.test_keep("a.test", &record(1, &[6, 7])).unwrap();
    store.test_keep("a.test", &pushed(record(2, &[7]))).unwrap();
    let lock = TestLock::new();
    let mut writer = store.write(&lock).unwrap();
    assert!(writer.drop_previous("a.test"));
    assert!(!writer.drop_previous("a.test") && !writer.drop_previous("b.test"));
    drop(writer);
    assert!(!region.contains(&key(1)) && region.contains(&key(2)));
    assert!(!region.contains(&part(6, b'I', 16)) && region.contains(&part(7, b'I', 16)));
    check(&store);

    store.test_keep("a.test", &pushed(record(3, &[7]))).unwrap();
    assert!(store.test_remove("a.test"));
    assert!(!region.contains(&key(2)) && !region.contains(&key(3)));
    assert_eq!(store.stats().previous_sets, 0);
    check(&store);
}

/// P14: previous sets go first, then lazy ones, and none when that would not do.
#[test]
fn room_is_made_of_previous_sets_first() {
    let (region, store) = new_store(2 * SMALL);
    for i in 0..6 {
        store.test_publish(&format!("l{i}.test"), &record(i, &[7])).unwrap();
        store.test_keep(&format!("p{i}.test"), &pushed(record(10 + i, &[7]))).unwrap();
        store.test_keep(&format!("p{i}.test"), &pushed(record(20 + i, &[7]))).unwrap();
    }
    let before = store.stats();
    assert_eq!(before.previous_sets, 6);
    let room = (store.capacity() - store.fixed_bytes()) as usize;
    assert!(refused(store.test_serve("x.test", sized(1, room - 150, 100, &[]), &[])));
    assert_eq!(store.stats(), before, "nothing is lost for what does not fit");

    let mut dropped = 0;
    for i in 50.. {
        let evictions = store.stats().evictions;
        if refused(store.test_serve(&format!("x{i}.test"), record(i, &[7]), &[])) {
            break;
        }
        let stats = store.stats();
        assert!(stats.evictions == evictions || stats.previous_sets == 0, "{stats:?}");
        dropped += u64::from(stats.previous_sets > 0 && stats.previous_sets < 6);
        let left = (0..6).filter(|i| region.contains(&key(10 + i))).count();
        assert_eq!(left as u64, stats.previous_sets, "wiped");
    }
    assert!(dropped > 0, "one by one");
    let stats = store.stats();
    assert_eq!((stats.previous_sets, stats.lazy_sets, stats.pushed_sets), (0, 0, 6));
    assert!((0..6).all(|i| !region.contains(&key(10 + i)) && region.contains(&key(20 + i))));
    check(&store);
}

/// The set that is replaced stays until the new one is there, and then too, if it can.
#[test]
fn the_own_one_goes_first() {
    let (_, store) = new_store(SMALL);
    let big = |generation| pushed(sized(generation, 3_000, 100, &[]));
    store.test_keep("a.test", &pushed(record(1, &[]))).unwrap();
    store.test_keep("a.test", &pushed(record(2, &[]))).unwrap();
    store.test_keep("b.test", &big(3)).unwrap();
    store.test_keep("b.test", &big(4)).unwrap();
    store.test_keep("b.test", &big(5)).unwrap();
    assert_eq!(store.test_previous("a.test"), Some(pushed(record(1, &[]))));
    assert_eq!(store.test_previous("b.test"), Some(big(4)));
    check(&store);
}

#[test]
fn a_lazy_set_takes_its_previous_one_along() {
    let (region, store) = new_store(SMALL);
    for i in 0..40 {
        store.test_keep(&format!("n{}.test", i / 2), &record(i, &[7])).unwrap();
    }
    assert!(store.stats().evictions > 0);
    let published = (0..40).filter(|i| region.contains(&key(*i))).count() as u64;
    let stats = store.stats();
    assert_eq!(published, stats.sets + stats.previous_sets);
    check(&store);

    assert_eq!(store.write(&TestLock::new()).unwrap().remove_lazy(), stats.sets);
    assert_eq!((store.stats().sets, store.stats().previous_sets), (0, 0));
    assert!((0..40).all(|i| !region.contains(&key(i))));
    check(&store);
}

/// P4: what is replaced again and again leaves the zone as it was.
#[test]
fn bytes_are_equal_after_ten_thousand() {
    let (_, store) = new_store(512 << 10);
    let lock = TestLock::new();
    let mut used = Vec::new();
    for i in 0..10_000_u32 {
        let (name, record) = (format!("n{}.test", i % 50), pushed(record(i, &[7, i % 50])));
        let served = [format!("www.n{}.test", i % 50)];
        let served: Vec<&str> = served.iter().map(String::as_str).collect();
        let publication = publication(&name, &record, &served, store.next_ticket());
        let publication = Publication { previous: Previous::Keep, ..publication };
        store.write(&lock).unwrap().publish(&publication).unwrap();
        if [100, 1_000, 9_999].contains(&i) {
            used.push(store.stats().used_bytes);
            check(&store);
        }
    }
    assert!(used.iter().all(|bytes| *bytes == used[0]), "{used:?}");
    assert_eq!((store.stats().previous_sets, store.stats().evictions), (50, 0));
}

#[test]
fn added_where_there_is_room() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    store.test_serve("a.test", record(1, &[7]), &[]).unwrap();
    let generation = match store.generation("a.test") {
        Lookup::Found(generation) => generation,
        other => panic!("{other:?}"),
    };
    let before = store.stats();
    let mut writer = store.write(&lock).unwrap();
    let mut add = |name, generation, record: &Record| writer.add_previous(name, generation, record);
    assert!(!add("b.test", 0, &record(2, &[7])), "of a name that is not there");
    assert!(!add("a.test", generation, &record(2, &[7])), "as late as what is there");
    assert!(!add("a.test", 0, &sized(2, 14_000, 100, &[7])), "no room");
    assert!(!add("a.test", 0, &record(2, &(10..30).collect::<Vec<u32>>())), "for the chain");
    assert_eq!(store.stats(), before);
    assert!(add("a.test", 0, &pushed(record(2, &[7, 8]))));
    assert!(!add("a.test", 0, &record(3, &[])), "there is one");
    drop(writer);
    assert_eq!(store.test_previous("a.test"), Some(pushed(record(2, &[7, 8]))));
    check(&store);
}

/// What is found by a repair: no previous one while both links lead to one block, none that is not
/// whole, and the name stays.
#[test]
fn broken_links_to_previous_sets() {
    let (region, store) = new_store(SMALL);
    store.test_keep("b.test", &pushed(record(5, &[7]))).unwrap();
    store.test_keep("a.test", &pushed(record(1, &[7]))).unwrap();
    store.test_keep("a.test", &pushed(record(2, &[8]))).unwrap();
    let image = region.image();
    let spot = index::locate(&store.zone, b"a.test", hash::of_name(b"a.test")).unwrap().unwrap();
    let of_b = store.test_entry("b.test").id.0;
    let own = spot.name.set.without_flags().0;
    let flagged = spot.name.previous.0 | word::Link::LAZY;
    let name = spot.link.0;
    for broken in [own, of_b, flagged, name, 1, u64::MAX, own + (1 << 36)] {
        region.restore(&image);
        name::set_previous(&store.zone, spot.link.unit(), word::Link(broken));
        let _ = store.details("a.test");
        store.zone.set(layout::BUSY, 1);
        drop(store.write(&TestLock::new()).unwrap());
        check(&store);
        assert_eq!(store.test_read("a.test"), Some(pushed(record(2, &[8]))));
        assert_eq!(store.test_read("b.test"), Some(pushed(record(5, &[7]))));
        assert_eq!(store.test_previous("a.test"), None);
        assert!(!region.contains(&key(1)));
    }
}

/// A link that leads to what another name serves frees nothing.
#[test]
fn no_other_set_is_dropped() {
    let (_, store) = new_store(SMALL);
    store.test_keep("b.test", &pushed(record(5, &[7]))).unwrap();
    store.test_keep("a.test", &pushed(record(1, &[7]))).unwrap();
    let spot = index::locate(&store.zone, b"a.test", hash::of_name(b"a.test")).unwrap().unwrap();
    for broken in [store.test_entry("b.test").id.0, store.test_entry("a.test").id.0] {
        name::set_previous(&store.zone, spot.link.unit(), word::Link(broken));
        store.write(&TestLock::new()).unwrap().drop_previous("a.test");
        assert_eq!(store.test_read("a.test"), Some(pushed(record(1, &[7]))));
        assert_eq!(store.test_read("b.test"), Some(pushed(record(5, &[7]))));
        check(&store);
    }
}

#[test]
fn pushes_go_by_generation_and_files_by_ticket() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    let mut writer = store.write(&lock).unwrap();
    let files = startup(record(1, &[]));
    let id = writer.test_publish("a.test", &files, 10, 1).unwrap();
    assert!(writer.restamp("a.test", id, 30, 7, 7));

    let push = pushed(record(2, &[]));
    let overtaken = Err(PublishError::Overtaken);
    assert_eq!(writer.test_publish("a.test", &push, 9, 1), overtaken);
    assert_eq!(writer.test_publish("a.test", &files, 29, 1), overtaken);
    // A look at files meanwhile is nothing to a push.
    writer.test_publish("a.test", &push, 20, 1).unwrap();
    assert_eq!(store.generation("a.test"), Lookup::Found(20));

    // As the zone may be after a copy: a ticket that is behind.
    let ticket_behind = Publication { ticket: 5, ..publication("a.test", &push, &[], 40) };
    writer.publish(&ticket_behind).unwrap();
    assert_eq!(writer.test_publish("a.test", &files, 39, 1), overtaken);
    writer.test_publish("a.test", &files, 40, 1).unwrap();
    drop(writer);
    check(&store);
}

#[test]
fn changes_that_expect_something() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    let mut writer = store.write(&lock).unwrap();
    let record = pushed(record(1, &[]));
    let with = |expects| Publication { expects, ..publication("a.test", &record, &[], 10) };
    let unexpected = |present| Err(PublishError::Unexpected { present });
    assert_eq!(writer.publish(&with(Expects::Generation(3))), unexpected(None));
    assert_eq!(writer.remove_if("a.test", Expects::Any), Ok(None));
    let absent = Err(Unexpected { present: None });
    assert_eq!(writer.remove_if("a.test", Expects::Generation(3)), absent);
    writer.publish(&with(Expects::Absent)).unwrap();

    assert_eq!(writer.publish(&with(Expects::Absent)), unexpected(Some(10)));
    assert_eq!(writer.publish(&with(Expects::Generation(9))), unexpected(Some(10)));
    writer.publish(&with(Expects::Generation(10))).unwrap();
    let present = Err(Unexpected { present: Some(10) });
    assert_eq!(writer.remove_if("a.test", Expects::Generation(9)), present);
    assert_eq!(writer.remove_if("a.test", Expects::Generation(10)), Ok(Some(10)));
    assert_eq!(store.find("a.test"), Lookup::Absent);
    drop(writer);
    check(&store);
}

#[test]
fn what_is_noted_of_a_name() {
    let (_, store) = new_store(SMALL);
    let lock = TestLock::new();
    let mut writer = store.write(&lock).unwrap();
    let id = writer.test_publish("a.test", &pushed(record(1, &[])), 10, 1).unwrap();
    let published = Entry { source: Source::Pushed, ..entry_of(id, 10, 1) };
    assert_eq!(store.test_entry("a.test"), published);
    let (changes, stamp) = (store.changes(), store.stamp("a.test"));

    assert!(writer.set_failure("a.test", 5) && !writer.set_failure("b.test", 5));
    let look = Look { stat: 8, seen: 9, ticket: 11, now_msec: 12 };
    assert!(writer.note_look("a.test", id, look));
    assert!(!writer.note_look("b.test", id, look));
    assert!(!writer.note_look("a.test", SetId(id.0 + 16), look));
    let noted = Entry { failure: 5, stat: 8, seen: 9, ticket: 11, looked_at: 12, ..published };
    assert_eq!(store.test_entry("a.test"), noted);
    assert!(writer.note_look("a.test", id, Look { ticket: 4, ..look }));
    assert_eq!(store.test_entry("a.test"), noted, "a ticket goes up only");
    assert_eq!(store.generation("a.test"), Lookup::Found(10));
    assert!(store.changes() == changes && store.is_current(&stamp), "the set is the same");

    let id = writer.test_publish("a.test", &pushed(record(2, &[])), 13, 1).unwrap();
    assert_eq!(store.test_entry("a.test"), Entry { source: Source::Pushed, ..entry_of(id, 13, 1) });
    drop(writer);
    check(&store);
}

#[test]
fn pages_go_on_after_what_is_gone() {
    let (_, store) = new_store(4 * SMALL);
    let names: Vec<String> = (0..60).map(|i| format!("n{i}.test")).collect();
    for name in &names {
        store.test_publish(name, &sized(1, 8, 8, &[])).unwrap();
    }
    let all = store.page(None, 1_000);
    let mut sorted = all.clone();
    sorted.sort_unstable();
    let mut expected = names.clone();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(store.page(None, 0), Vec::<String>::new());
    for i in 0..all.len() {
        let rest = &all[i + 1..];
        let page = store.page(Some(&all[i]), 7);
        assert_eq!(page, rest[..7.min(rest.len())]);
        store.test_remove(&all[i]);
        assert_eq!(store.page(Some(&all[i]), 7), page);
    }
    assert!(store.page(None, 7).is_empty());
}

/// P19, with one further name, as one that the certificate has is.
#[test]
fn bytes_of_one_set() {
    for (leaf, key) in [(430, 138), (500, 138), (1_100, 138)] {
        let (_, store) = new_store(4 * SMALL);
        // Room to replace one is kept once, for all.
        store.test_keep("www0.example.test", &pushed(sized(1, leaf, key, &[7]))).unwrap();
        let before = store.stats().used_bytes;
        let record = pushed(sized(2, leaf, key, &[7]));
        store.test_keep("www1.example.test", &record).unwrap();
        let bytes = (store.stats().used_bytes - before) as usize;
        assert!(bytes * 4 <= (leaf + key) * 5 + 800, "{bytes} for {leaf} + {key}");
        println!("{bytes} bytes for {leaf} + {key}");
    }
}
