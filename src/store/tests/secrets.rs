//! Key bytes leave the zone with their set (P8).

use super::*;

fn key(generation: u32) -> Vec<u8> {
    part(generation, b'K', 16)
}

#[test]
fn wiped_when_replaced_or_removed() {
    let (region, store) = new_store(SMALL);
    store.test_publish("a.test", &record(1, &[7])).unwrap();
    assert!(region.contains(&key(1)), "it is there to be found");

    store.test_publish("a.test", &record(2, &[7])).unwrap();
    assert!(!region.contains(&key(1)) && region.contains(&key(2)));
    assert!(!region.contains(&part(1, b'L', 16)));

    assert!(region.contains(&part(7, b'I', 16)));
    assert!(store.test_remove("a.test"));
    assert!(!region.contains(&key(2)));
    assert!(!region.contains(&part(7, b'I', 16)), "no set has the intermediate");
}

#[test]
fn wiped_when_evicted_or_refused() {
    let (region, store) = new_store(SMALL);
    for generation in 0..40 {
        store.test_publish(&format!("n{generation}"), &record(generation, &[7])).unwrap();
    }
    assert!(store.stats().evictions > 0);
    let published = (0..40).filter(|i| store.test_read(&format!("n{i}")).is_some()).count();
    let found = (0..40).filter(|i| region.contains(&key(*i))).count();
    assert_eq!(found, published);

    store.test_publish("a.test", &sized(50, 9_000, 16, &[])).unwrap();
    assert!(store.test_publish("a.test", &sized(51, 9_000, 16, &[])).is_err());
    assert!(region.contains(&key(50)) && !region.contains(&key(51)));
}
