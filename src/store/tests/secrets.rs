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

/// What is never evicted goes as clean as what is, with the names that it serves.
#[test]
fn wiped_with_all_that_it_serves() {
    let (region, store) = new_store(SMALL);
    let served = ["www.a.test", "alias-of-many-bytes.a.test"];
    store.test_serve("a.test", record(1, &[7]), &served).unwrap();
    assert!(region.contains(b"alias-of-many-bytes"));
    store.test_serve("a.test", record(2, &[7]), &served[..1]).unwrap();
    assert!(!region.contains(&key(1)) && region.contains(&key(2)));
    assert!(!region.contains(b"alias-of-many-bytes") && region.contains(b"www.a.test"));

    let huge = sized(3, 20_000, 16, &[]);
    assert!(store.test_serve("a.test", huge, &["third.a.test"]).is_err());
    assert!(!region.contains(&key(3)) && !region.contains(b"third.a.test"));

    store.test_publish("b.test", &record(4, &[7])).unwrap();
    assert_eq!(store.write(&TestLock::new()).unwrap().remove_lazy(), 1);
    assert!(!region.contains(&key(4)) && region.contains(&key(2)));
    assert!(store.test_remove("a.test"));
    assert!(!region.contains(&key(2)) && !region.contains(b"www.a.test"));
    check(&store);
}
