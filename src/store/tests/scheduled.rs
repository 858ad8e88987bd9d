//! The store under a scheduler that chooses the order of all accesses: shuttle takes very many orders by
//! chance, loom goes through them one after another, and lets each relaxed load see what the memory model
//! allows. For scripts/model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::*;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

#[cfg(shuttle)]
fn explore(body: impl Fn() + Send + Sync + 'static) {
    let count = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|n| n.parse().ok());
    shuttle::check_random(body, count.unwrap_or(1_000));
}

#[cfg(loom)]
fn explore(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.max_branches = 1_000_000;
    // How often it looks whether its time is over.
    model.checkpoint_interval = 5;
    model.preemption_bound = model.preemption_bound.or(Some(2));
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let orders = Arc::clone(&count);
    model.check(move || {
        orders.fetch_add(1, Ordering::Relaxed);
        body();
    });
    println!("{} orders", count.load(Ordering::Relaxed));
}

fn of(generation: u32) -> Record {
    small(record(generation, &[7]))
}

/// One of the sets that the name may have, whole.
fn assert_whole(found: Lookup<(Entry, Record)>, may_be: &[u32], may_be_absent: bool) {
    match found {
        Lookup::Found((entry, found)) => {
            let generation = may_be.iter().find(|generation| found == of(**generation));
            let generation = *generation.expect("a mix");
            assert!(entry.ticket <= u64::from(generation), "a ticket ahead of its set");
        }
        Lookup::Absent => assert!(may_be_absent, "absent"),
        // So often as here it may be, where others never stop.
        Lookup::Contended => {}
    }
}

fn publish(store: &Store, lock: &TestLock, name: &str, generation: u32) {
    let mut writer = store.write(lock).expect("the lock");
    writer.test_publish(name, &of(generation), generation.into(), 1).unwrap();
}

/// Replaced, removed, its place taken by another's: a reader has one of its sets.
#[test]
fn publish_and_read() {
    explore(|| {
        let (_, store) = new_store(SMALL);
        let lock = Arc::new(TestLock::new());
        publish(&store, &lock, "a.test", 1);
        let writer = thread::spawn(move || {
            publish(&store, &lock, "a.test", 2);
            publish(&store, &lock, "b.test", 3);
            if !cfg!(loom) {
                publish(&store, &lock, "a.test", 4);
            }
        });
        assert_whole(store.read("a.test"), &[1, 2, 4], false);
        if !cfg!(loom) {
            assert_whole(store.read("b.test"), &[3], true);
        }
        writer.join().unwrap();
        let last = if cfg!(loom) { 2 } else { 4 };
        assert_whole(store.read("a.test"), &[last], false);
        check(&store);
    });
}

/// A writer dies at some store, another one repairs: readers have the old set or the new one.
#[test]
fn killed_and_repaired() {
    // Loom's are long, and each has to be the same each time.
    let step = if cfg!(loom) { 40 } else { 5 };
    (2..120).step_by(step).for_each(killed_at);
}

fn killed_at(stores: u64) {
    explore(move || {
        let (region, store) = new_store(SMALL);
        let lock = Arc::new(TestLock::new());
        publish(&store, &lock, "a.test", 1);
        publish(&store, &lock, "b.test", 2);
        region.kill_after(stores);
        let killed = catch_unwind(AssertUnwindSafe(|| {
            let lock = TestLock::new();
            publish(&store, &lock, "a.test", 3);
        }));
        region.revive();
        let reader = thread::spawn(move || {
            assert_whole(store.read("a.test"), &[1, 3], false);
            assert_whole(store.read("b.test"), &[2, 4], false);
        });
        publish(&store, &lock, "b.test", 4);
        reader.join().unwrap();
        let may_be: &[u32] = if killed.is_err() { &[1, 3] } else { &[3] };
        assert_whole(store.read("a.test"), may_be, false);
        check(&store);
    });
}
