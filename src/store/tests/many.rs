//! What must not grow with the number of sets.

use std::time::{Duration, Instant};

use super::*;
use crate::store::survey::{IDLE_MSEC, Survey, Totals};

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

fn totals(survey: &mut Survey, store: &Store, now: u64) -> Totals {
    let (mut place, end) = (0, Instant::now());
    loop {
        if let Some(totals) = survey.advance(store, &mut place, now, end) {
            return totals;
        }
    }
}

#[test]
fn a_survey_looks_at_what_changed() {
    let (region, store) = new_store(LARGE);
    let lock = TestLock::new();
    for i in 0..1_000 {
        store.test_publish(&format!("n{i}.test"), &record(100 + i, &[7])).unwrap();
        store.test_publish(&format!("f{i}.test"), &pushed(record(200 + i, &[7]))).unwrap();
    }
    let mut survey = Survey::default();
    let mut now = 10_000;
    assert_eq!(
        totals(&mut survey, &store, now),
        Totals { soonest_not_after: Some(102), failing: 0 }
    );

    type Change<'a> = &'a dyn Fn(&mut Writer<'_>);
    let publish = |name: &'static str, record: Record| {
        move |writer: &mut Writer<'_>| {
            writer.test_publish(name, &record, 5_000, 5_000).unwrap();
        }
    };
    let changes: [(Change<'_>, Option<i64>, u64); 8] = [
        (&publish("n0.test", record(300, &[7])), Some(103), 0),
        (&publish("new.test", record(1, &[7])), Some(3), 0),
        (&|writer| assert!(writer.set_failure("f3.test", 9)), Some(3), 1),
        (&|writer| writer.set_last_good("n4.test", true), Some(3), 2),
        (&|writer| assert!(writer.remove("new.test")), Some(103), 2),
        (&|writer| assert!(writer.remove("n4.test")), Some(103), 1),
        (&|writer| assert!(writer.set_failure("f3.test", 0)), Some(103), 0),
        (&|_| {}, Some(103), 0),
    ];
    for (change, soonest_not_after, failing) in changes {
        change(&mut store.write(&lock).unwrap());
        // A group has two hundred sets at the most here.
        region.after_loads(10_000, || {});
        let found = totals(&mut survey, &store, now);
        assert!(!region.was_done(), "{soonest_not_after:?}, {failing}");
        assert_eq!(found, Totals { soonest_not_after, failing });
    }

    // Nothing changes but the time; then somebody asks for one of the idle ones.
    now += IDLE_MSEC;
    assert_eq!(totals(&mut survey, &store, now).soonest_not_after, Some(202));
    store.touch("n1.test", now);
    assert_eq!(totals(&mut survey, &store, now).soonest_not_after, Some(103));
    assert_eq!(totals(&mut Survey::default(), &store, now).soonest_not_after, Some(103));

    assert_eq!(store.write(&lock).unwrap().remove_lazy(), 999);
    assert_eq!(totals(&mut survey, &store, now).soonest_not_after, Some(202));
    check(&store);
}

#[test]
fn a_survey_may_be_done_in_parts() {
    let (_, store) = new_store(LARGE);
    for i in 0..500 {
        store.test_publish(&format!("n{i}.test"), &record(i, &[7])).unwrap();
    }
    let (mut survey, mut place, mut parts) = (Survey::default(), 0, 0);
    while survey.advance(&store, &mut place, 0, Instant::now()).is_none() {
        parts += 1;
    }
    assert!(parts > 30, "{parts}");
    let (mut place, end) = (0, Instant::now() + Duration::from_secs(60));
    assert!(survey.advance(&store, &mut place, 0, end).is_some());
}
