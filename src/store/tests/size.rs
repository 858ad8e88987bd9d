//! How large a zone has to be.

use super::super::layout::{Geometry, MIN_UNITS};
use super::*;

fn geometry(bytes: u64) -> Geometry {
    Geometry::of(bytes as usize / 8).unwrap()
}

#[test]
fn the_least_region_for_an_arena() {
    let least = region_bytes_for(0);
    assert!(Geometry::of(least as usize / 8 - 1).is_none());
    let steps = (0..24).map(|shift| 2048_u64 << shift);
    let around = steps.flat_map(|step| (90..=115).map(move |percent| step * percent / 100 + 7));
    for arena in around.chain([1, 25_000, 60_000_000_000]) {
        let bytes = region_bytes_for(arena);
        let has = u64::from(geometry(bytes).units()) * UNIT_BYTES;
        assert!(has >= arena, "{has} for {arena}");
        assert!(bytes == least || has <= arena + arena / 100 + 32, "{has} for {arena}");
        // Any larger one has as much; a page, a step of the tables, or twice of everything.
        for more in [8, 4096, bytes / 50, bytes / 10, bytes] {
            if let Some(larger) = Geometry::of((bytes + more) as usize / 8) {
                assert!(u64::from(larger.units()) * UNIT_BYTES >= arena, "{arena} + {more}");
            }
        }
        let smaller = Geometry::of((bytes - bytes / 40) as usize / 8);
        let is_less = |g: Geometry| u64::from(g.units()) * UNIT_BYTES < arena.max(2048);
        assert!(smaller.is_none_or(is_less), "{arena} would fit into less");
    }
    assert_eq!(region_bytes_for(u64::MAX), u64::MAX);
    assert_eq!(region_bytes_for(u64::from(u32::MAX) * UNIT_BYTES), u64::MAX);
}

/// What is needed fits, and nothing is over.
#[test]
fn need_is_what_a_fresh_zone_takes() {
    let names: Vec<String> = (0..60).map(|i| format!("{}.test", "n".repeat(1 + i))).collect();
    let record_of = |i: usize| {
        let record = sized(i as u32, 37 * i, 11 * i, &[7, i as u32 / 8, 7]);
        if i % 3 == 0 { record } else { startup(double(i as u32)) }
    };
    let served_of = |i: usize| vec![names[i].as_str(), names[(i * 7) % 60].as_str(), "x.test"];
    let mut need = Need::new();
    for (i, name) in names.iter().enumerate() {
        need.add(name, &record_of(i), &served_of(i));
    }

    for short in [0, 4 * UNIT_BYTES] {
        let (_, store) = new_store(region_bytes_for(need.bytes() - short) as usize);
        let lock = TestLock::new();
        let all_fit = names.iter().enumerate().all(|(i, name)| {
            let mut writer = store.write(&lock).unwrap();
            writer.test_serve(name, &record_of(i), &served_of(i), 1, 1).is_ok()
        });
        let stats = store.stats();
        assert_eq!(all_fit && stats.evictions == 0, short == 0);
        if short == 0 {
            let slack = u64::from(MIN_UNITS) * UNIT_BYTES;
            assert!(stats.used_bytes <= need.bytes() + slack, "{stats:?} for {}", need.bytes());
            assert!(store.capacity() <= need.bytes() + slack);
        }
        check(&store);
    }
}

#[test]
fn no_need_for_what_fits_nowhere() {
    let mut need = Need::new();
    need.add("a.test", &record(1, &[7]), &[]);
    let one = need.bytes();
    need.add("b.test", &record(2, &[7]), &["a.test"]);
    assert!(need.bytes() < 2 * one, "the intermediate is stored once");
    need.add(&"n".repeat(256), &record(1, &[]), &[]);
    need.add("c.test", &record(1, &[]), &[]);
    assert_eq!(need.bytes(), u64::MAX);
    assert_eq!(region_bytes_for(need.bytes()), u64::MAX);
}

#[test]
fn fixed_bytes_are_those_of_fixed_sets() {
    let (_, store) = new_store(4 * SMALL);
    let lock = TestLock::new();
    store.test_publish("lazy.test", &record(1, &[7, 8])).unwrap();
    assert_eq!(store.fixed_bytes(), 0);
    let mut need = Need::new();
    need.add("a.test", &startup(record(2, &[7, 9])), &["b.test"]);
    need.add("c.test", &startup(record(3, &[9])), &[]);
    store.test_serve("a.test", record(2, &[7, 9]), &["b.test"]).unwrap();
    store.test_serve("c.test", record(3, &[9]), &[]).unwrap();
    assert_eq!(store.fixed_bytes(), need.bytes());
    check(&store);

    // The intermediate of both is the lazy one's alone again.
    store.test_remove("a.test");
    store.test_publish("c.test", &record(3, &[9])).unwrap();
    assert_eq!(store.fixed_bytes(), 0);
    check(&store);
    drop(store.write(&lock));
}
