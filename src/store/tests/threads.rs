//! Readers beside a writer (P1).

use std::time::{Duration, Instant};

use super::*;

/// All parts are of one generation, which is given back.
fn generation_of(record: &Record) -> u32 {
    let generation = record.not_before as u32;
    assert_eq!(*record, rotated(generation), "a mix");
    generation
}

fn rotated(generation: u32) -> Record {
    sized(generation, 400 + generation as usize % 300, 138, &[generation, 7, generation / 4])
}

#[test]
fn never_a_mix() {
    let (_, store) = new_store(2 * SMALL);
    let names = ["a.test", "b.test", "c.test"];
    for name in names {
        store.test_publish(name, &rotated(1)).unwrap();
    }
    let done = AtomicBool::new(false);

    let reader = || {
        let (mut last, mut reads, mut contended) = ([0; 3], 0_u64, 0_u64);
        while !done.load(Ordering::Relaxed) {
            for (name, last) in names.iter().zip(&mut last) {
                match store.read(name) {
                    Lookup::Found((_, record)) => {
                        let generation = generation_of(&record);
                        assert!(generation >= *last, "back in time");
                        *last = generation;
                        reads += 1;
                    }
                    Lookup::Contended => contended += 1,
                    Lookup::Absent => panic!("{name} was there all the time"),
                }
            }
        }
        (reads, contended)
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let end = Instant::now() + Duration::from_millis(300);
        let mut generation = 1;
        // A few hundred milliseconds, and longer on a machine that is busy with other things.
        while Instant::now() < end || generation < 100 {
            generation += 1;
            for name in names {
                store.test_publish(name, &rotated(generation)).unwrap();
                // Others come and go in the same chains and the same bytes.
                let other = format!("n{}", generation % 50);
                store.test_publish(&other, &rotated(generation)).unwrap();
                store.test_remove(&format!("n{}", (generation + 47) % 50));
                store.touch(name, u64::MAX);
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            let (reads, contended) = reader.join().unwrap();
            assert!(reads > 0 && contended * 100 < reads, "{reads} reads, {contended} contended");
        }
    });
    assert_eq!(store.stats().evictions, 0);
    check(&store);
}

/// Who sees a ticket sees the set that came with it, and who sees a new stripe the new set (P2).
#[test]
fn tickets_and_stamps_come_after_the_set() {
    let (_, store) = new_store(SMALL);
    let done = AtomicBool::new(false);
    let lock = TestLock::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let stamp = store.stamp("a.test");
                if let Lookup::Found((entry, record)) = store.read("a.test") {
                    let generation = u64::from(generation_of(&record));
                    assert!(generation >= entry.ticket);
                    assert!(generation >= stamp.value);
                }
            }
        });
        let end = Instant::now() + Duration::from_millis(200);
        for generation in 1_u32.. {
            let mut writer = store.write(&lock).unwrap();
            let ticket = generation.into();
            writer.test_publish("a.test", &rotated(generation), ticket, 0).unwrap();
            if Instant::now() > end {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

/// A set that stays is found by all that it serves, also in each walk, while others that serve the
/// same come and go, get other aliases, or are lazy for a while.
#[test]
fn none_is_missed() {
    let (_, store) = new_store(4 * SMALL);
    let served = ["x.test", "y.test"];
    let id = store.test_serve("stays.test", rotated(1), &served).unwrap();
    let done = AtomicBool::new(false);
    let reader = || {
        let (mut looks, mut contended) = (0_u64, 0_u64);
        while !done.load(Ordering::Relaxed) {
            for name in ["x.test", "y.test", "stays.test"] {
                looks += 1;
                match store.serving(name) {
                    Lookup::Found(all) => {
                        let found = all.iter().filter(|serving| serving.name == "stays.test");
                        let found: Vec<SetId> = found.map(|serving| serving.entry.id).collect();
                        assert_eq!(found, [id]);
                    }
                    Lookup::Contended => contended += 1,
                    Lookup::Absent => panic!("{name}: absent"),
                }
            }
        }
        (looks, contended)
    };
    let walker = || {
        while !done.load(Ordering::Relaxed) {
            let names = store.names();
            assert_eq!(names.iter().filter(|(name, _)| name == "stays.test").count(), 1);
            let exported = store.export();
            let found = exported.iter().find(|set| set.name == "stays.test").unwrap();
            assert_eq!(found.served, served);
        }
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        scope.spawn(walker);
        let end = Instant::now() + Duration::from_millis(300);
        for generation in (1_u32..).take_while(|i| Instant::now() < end || *i < 200) {
            let (name, others) = (format!("n{}", generation % 7), ["x.test", "z.test", "y.test"]);
            match generation % 5 {
                0 => {
                    store.test_remove(&name);
                }
                1 => {
                    store.test_publish(&name, &rotated(generation)).unwrap();
                }
                i => {
                    let served = &others[..i as usize - 1];
                    store.test_serve(&name, rotated(generation), served).unwrap();
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            let (looks, contended) = reader.join().unwrap();
            assert!(looks > 0 && contended * 100 < looks, "{looks} looks, {contended} contended");
        }
    });
    check(&store);
}
