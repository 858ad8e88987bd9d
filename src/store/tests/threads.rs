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
