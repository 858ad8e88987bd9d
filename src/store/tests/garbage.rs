//! A zone with bytes in it that nobody of us wrote: no panic, no endless loop, no access outside.

use std::time::{Duration, Instant};

use super::super::index::{Chain, Spot};
use super::super::layout::BUSY;
use super::*;

/// xorshift64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn names() -> impl Iterator<Item = String> {
    (0..14).map(|i| format!("n{i}.test"))
}

/// Uses everything there is; then a repair makes it whole.
fn exercise(region: &Region, random: &mut Random) {
    let Ok(store) = Store::attach(*region) else {
        return;
    };
    let begin = Instant::now();
    let lock = TestLock::new();
    for name in names() {
        let _ = (store.find(&name), store.read(&name), store.stamp(&name), store.stats());
        store.touch(&name, random.next());
    }
    // What is not 0 there would only keep everybody from writing.
    store.set_superseded(false);
    store.clear();
    store.report_once(random.next());
    for (i, name) in names().enumerate() {
        let ticket = store.next_ticket();
        let mut writer = store.write(&lock).unwrap();
        match random.below(3) {
            0 => {
                writer.remove(&name);
            }
            1 => writer.set_last_good(&name, true),
            _ => drop(writer.test_publish(
                &name,
                &sized(i as u32, random.below(3000), 99, &[7]),
                ticket,
                1,
            )),
        }
        let _ = (store.read(&name), store.stats());
    }

    region.store(BUSY, 1, Ordering::Relaxed);
    drop(store.write(&lock).unwrap());
    check(&store);
    // The clock of a damaged zone may stand anywhere, a removed name has no ticket to be late for.
    store.test_remove("x.test");
    store.test_publish("x.test", &double(1)).unwrap();
    assert_eq!(store.test_read("x.test"), Some(double(1)));
    check(&store);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn random_words() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let (region, _) = new_store(SMALL);
    let format = region.image();
    for _ in 0..20 {
        for word in 0..region.words() {
            region.store(word, random.next(), Ordering::Relaxed);
        }
        assert_eq!(Store::attach(region).err(), Some(StoreError::NotAStore));
        for (word, value) in format.iter().enumerate().take(5) {
            region.store(word, *value, Ordering::Relaxed);
        }
        exercise(&region, &mut random);
    }
}

#[test]
fn flipped_bits() {
    let mut random = Random(0xfeed_beef_1234_5671);
    let (region, store) = new_store(SMALL);
    for (i, name) in names().enumerate() {
        store.test_publish(&name, &sized(i as u32, 300, 99, &[7, i as u32 / 4])).unwrap();
    }
    store.test_remove("n3.test");
    store.test_remove("n5.test");
    let image = region.image();

    for round in 0..400 {
        region.restore(&image);
        for _ in 0..1 + round % 6 {
            // Where it matters: links and sizes are among the words that are small.
            let word = random.below(image.len());
            let flipped = region.load(word, Ordering::Relaxed) ^ 1 << random.below(64);
            region.store(word, flipped, Ordering::Relaxed);
        }
        for _ in 0..round % 3 {
            let words = store.zone.at(1)..region.words();
            let (to, from) = (random.below(words.len()), random.below(words.len()));
            let copied = region.load(words.start + from, Ordering::Relaxed);
            region.store(words.start + to, copied, Ordering::Relaxed);
        }
        exercise(&region, &mut random);
    }
}

/// Chains that lead back, names that share a set: what is claimed twice stays once.
#[test]
fn circles_and_shared_sets() {
    let (region, store) = new_store(SMALL);
    for name in names() {
        store.test_publish(&name, &record(1, &[7])).unwrap();
    }
    let image = region.image();
    let links: Vec<Spot> = (0..store.zone.geometry.buckets)
        .flat_map(|bucket| Chain::of(&store.zone, bucket).map(Result::unwrap))
        .collect();

    for victim in &links {
        for other in &links {
            region.restore(&image);
            let at = store.zone.at(victim.link.unit());
            store.zone.set(at + name::NEXT, other.link.0);
            name::set_set(&store.zone, victim.link.unit(), other.name.set);
            names().for_each(|name| drop(store.read(&name)));
            store.zone.set(BUSY, 1);
            drop(store.write(&TestLock::new()).unwrap());
            check(&store);
        }
    }
}
