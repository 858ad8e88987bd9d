//! What must not grow with the number of sets.

use super::*;

const LARGE: usize = 4 << 20;

/// Loads that an eviction may take in a zone of `LARGE`; with each chain followed it took ten times as
/// many, and fifty times with all blocks looked at.
const EVICTION_LOADS: u64 = 16_000;

#[test]
fn an_eviction_looks_at_few() {
    for fixed in [0, 2_000] {
        let (region, store) = new_store(LARGE);
        for i in 0..fixed {
            store.test_publish(&format!("f{i}.test"), &pushed(record(i, &[7]))).unwrap();
        }
        let mut i = 0;
        while store.stats().evictions == 0 {
            store.test_publish(&format!("n{i}.test"), &record(i, &[7])).unwrap();
            i += 1;
        }
        for i in 0..50 {
            region.after_loads(EVICTION_LOADS, || {});
            store.test_publish(&format!("m{i}.test"), &record(i, &[7])).unwrap();
            assert!(!region.was_done(), "beside {fixed} sets that stay");
        }
        assert!(store.stats().evictions >= 50);
        check(&store);
    }
}

/// Of many buckets few have a previous set.
#[test]
fn a_previous_set_is_found_by_a_few_looks() {
    let (region, store) = new_store(LARGE);
    let mut i = 0;
    while store.test_publish(&format!("f{i}.test"), &pushed(record(i, &[7]))).is_ok() {
        i += 1;
    }
    for name in 0..4 {
        store.test_remove(&format!("f{name}.test"));
    }
    // The other one's is dropped for the new one.
    for turn in 0..20 {
        region.after_loads(4_000, || {});
        let name = format!("f{}.test", 1_000 + turn % 2 * 500);
        store.test_keep(&name, &pushed(record(turn, &[7]))).unwrap();
        assert!(!region.was_done(), "turn {turn}");
    }
    check(&store);
}
