//! A zone with bytes in it that nobody of us wrote: no panic, no endless loop, no access outside.

use std::time::{Duration, Instant};

use super::super::check::check_damaged;
use super::super::index::{Chain, Place};
use super::super::layout::BUSY;
use super::super::node::Role;
use super::super::word::Link;
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

/// Sets of both kinds, with gaps between them.
fn fill(store: &Store) {
    for (i, name) in names().enumerate() {
        let record = sized(i as u32, 300, 99, &[7, i as u32 / 4]);
        if i % 3 == 0 {
            let next = format!("n{}.test", i + 1);
            store.test_serve(&name, record, &[&next, "x.test", "n2.test"]).unwrap();
        } else {
            store.test_publish(&name, &record).unwrap();
        }
    }
    store.test_remove("n3.test");
    store.test_remove("n5.test");
    for name in ["n0.test", "n1.test", "n4.test", "n9.test"] {
        let Lookup::Found((_, record)) = store.read(name) else { panic!() };
        store.test_keep(name, &record).unwrap();
    }
    store.test_keep("n6.test", &pushed(sized(6, 300, 99, &[7]))).unwrap();
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
        let _ = (store.serving(&name), store.details(&name), store.generation(&name));
        store.touch(&name, random.next());
    }
    let _ = (store.names(), store.export(), store.fixed_bytes(), store.is_superseded());
    let _ = (store.page(Some("n3.test"), 5), store.page(None, 100));
    store.survey(&mut |_| {});
    // What is not 0 there would only keep everybody from writing.
    store.set_superseded(Superseded::No);
    store.clear();
    store.report_once(random.next());
    for (i, name) in names().enumerate() {
        let ticket = store.next_ticket();
        let mut writer = store.write(&lock).unwrap();
        let record = sized(i as u32, random.below(3000), 99, &[7]);
        match random.below(8) {
            0 => {
                writer.remove(&name);
            }
            1 => {
                writer.set_last_good(&name, true);
                writer.claim_look(&name, SetId(random.next()), 1, 2);
            }
            6 => {
                writer.drop_previous(&name);
                writer.set_failure(&name, 3);
                writer.add_previous(&name, 0, &record);
            }
            7 => {
                let record = pushed(record);
                let publication = publication(&name, &record, &["n1.test"], ticket);
                let keep = Publication { previous: Previous::Keep, ..publication };
                let _ = writer.publish(&keep);
            }
            2 if i == 9 => {
                writer.remove_lazy();
            }
            2 | 3 => {
                let served = ["n1.test", "n2.test", "x.test"];
                let _ = writer.test_serve(&name, &startup(record), &served, ticket, 1);
            }
            _ => drop(writer.test_publish(&name, &record, ticket, 1)),
        }
        let _ = (store.read(&name), store.stats());
    }

    region.store(BUSY, 1, Ordering::Relaxed);
    drop(store.write(&lock).unwrap());
    check_damaged(&store);
    // The clock of a damaged zone may stand anywhere, a removed name has no ticket to be late for;
    // and what is never evicted leaves no room.
    for (name, _) in store.names() {
        assert!(store.test_remove(&name), "{name}");
    }
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
    fill(&store);
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

/// Chains that lead back, names that share a set, lists of aliases that are not theirs: what is
/// claimed twice stays once.
#[test]
fn circles_and_shared_blocks() {
    let (region, store) = new_store(SMALL);
    fill(&store);
    let image = region.image();
    let places: Vec<Place> = (0..store.zone.geometry.buckets)
        .flat_map(|bucket| Chain::of(&store.zone, bucket).map(Result::unwrap))
        .collect();

    for victim in &places {
        for other in &places {
            for word in 0..5 {
                region.restore(&image);
                damage(&store.zone, victim, other, word);
                // Also before any repair.
                let _ = (store.names(), store.export(), store.fixed_bytes());
                for name in names() {
                    let _ = (store.read(&name), store.serving(&name), store.details(&name));
                }
                if word == 2 {
                    // A writer that comes by it has it repaired.
                    store.test_remove(&names().next().unwrap());
                    let _ = store.test_serve("n1.test", record(1, &[]), &["x.test"]);
                }
                store.zone.set(BUSY, 1);
                drop(store.write(&TestLock::new()).unwrap());
                check_damaged(&store);
                let repairs = store.stats().repairs;
                for (name, _) in store.names() {
                    assert!(store.test_remove(&name), "{name}");
                }
                assert_eq!(store.stats().repairs, repairs, "one repair makes it whole");
            }
        }
    }
}

/// Makes one of the words of a block lead to another block.
fn damage(zone: &Zone, victim: &Place, other: &Place, word: usize) {
    let at = zone.at(victim.link.unit());
    match (word, victim.node.role) {
        (0, _) => zone.set(at + node::NEXT, other.link.0),
        (4, Role::Name(_)) => {
            if let Role::Name(name) = other.node.role {
                name::set_previous(zone, victim.link.unit(), name.set.without_flags());
            }
        }
        (3, _) => zone.set(victim.holder, victim.link.with(Link::LAZY, true).0),
        (1, Role::Name(_)) => {
            if let Role::Name(name) = other.node.role {
                name::set_set(zone, victim.link.unit(), name.set);
            }
        }
        (1, Role::Alias { .. }) => zone.set(at + alias::OWNER, other.link.0),
        (_, Role::Name(_)) => zone.set(at + name::ALIASES, other.link.unit().into()),
        (_, Role::Alias { .. }) => zone.set(at + alias::SIBLING, other.link.unit().into()),
    }
}
