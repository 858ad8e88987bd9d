//! Random operations, against a map that cannot be wrong.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Publish { name: u8, leaf: usize, key: usize, chain: Vec<u32>, late: bool },
    Remove { name: u8 },
    Restamp { name: u8 },
    LastGood { name: u8, on: bool },
    Touch { name: u8 },
    Clear,
    Die,
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..24_u8;
    let size = prop_oneof![8 => 0..900_usize, 1 => 900..9_000_usize];
    let chain = proptest::collection::vec(0..5_u32, 0..4);
    prop_oneof![
        8 => (name.clone(), size, 0..300_usize, chain, prop::bool::weighted(0.1)).prop_map(
            |(name, leaf, key, chain, late)| Op::Publish { name, leaf, key, chain, late }
        ),
        3 => name.clone().prop_map(|name| Op::Remove { name }),
        2 => name.clone().prop_map(|name| Op::Restamp { name }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, on)| Op::LastGood { name, on }),
        2 => name.prop_map(|name| Op::Touch { name }),
        1 => Just(Op::Clear),
        1 => Just(Op::Die),
    ]
}

#[derive(Default)]
struct Model {
    sets: HashMap<String, (Entry, Record)>,
    generation: u32,
    now: u64,
}

impl Model {
    fn apply(&mut self, store: &Store, op: &Op) {
        let lock = TestLock::new();
        let mut writer = store.write(&lock).unwrap();
        self.now += 1;
        match op {
            Op::Publish { name, leaf, key, chain, late } => {
                self.generation += 1;
                let record = sized(self.generation, *leaf, *key, chain);
                let ticket = if *late { 1 } else { store.next_ticket() };
                self.publish(store, &mut writer, &name_of(*name), record, ticket);
            }
            Op::Remove { name } => {
                let removed = self.sets.remove(&name_of(*name)).is_some();
                assert_eq!(writer.remove(&name_of(*name)), removed);
            }
            Op::Restamp { name } => {
                let ticket = store.next_ticket();
                if let Some((entry, _)) = self.sets.get_mut(&name_of(*name)) {
                    assert!(writer.restamp(
                        &name_of(*name),
                        entry.id,
                        ticket,
                        ticket + 1000,
                        self.now
                    ));
                    *entry = entry_of(entry.id, ticket, self.now);
                }
            }
            Op::LastGood { name, on } => {
                writer.set_last_good(&name_of(*name), *on);
                if let Some((entry, _)) = self.sets.get_mut(&name_of(*name)) {
                    entry.last_good = *on;
                }
            }
            Op::Touch { name } => store.touch(&name_of(*name), self.now),
            Op::Clear => assert_eq!(store.clear(), store.clear_epoch()),
            Op::Die => {
                let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _writer = writer;
                    std::panic::resume_unwind(Box::new("died"));
                }));
                assert!(died.is_err());
            }
        }
    }

    fn publish(
        &mut self,
        store: &Store,
        writer: &mut Writer<'_>,
        name: &str,
        record: Record,
        ticket: u64,
    ) {
        let evictions = store.stats().evictions;
        let present = self.sets.get(name).map(|(entry, _)| entry.ticket);
        match writer.test_publish(name, &record, ticket, self.now) {
            Ok(id) => {
                let entry = entry_of(id, ticket, self.now);
                self.sets.insert(name.to_owned(), (entry, record));
            }
            Err(PublishError::Overtaken) => assert!(present.is_some_and(|p| p > ticket)),
            Err(PublishError::Full { needed, free }) => assert!(needed > 0 && free > 0),
        }
        let before = self.sets.len();
        self.sets.retain(|other, _| other == name || store.find(other) != Lookup::Absent);
        assert_eq!(store.stats().evictions - evictions, (before - self.sets.len()) as u64);
    }

    fn compare(&self, store: &Store) {
        for name in (0..24).map(name_of) {
            match (self.sets.get(&name), store.read(&name)) {
                (Some(expected), Lookup::Found(found)) => assert_eq!(*expected, found),
                (None, Lookup::Absent) => {}
                (expected, found) => panic!("{name}: {found:?} instead of {expected:?}"),
            }
        }
        assert_eq!(store.stats().sets, self.sets.len() as u64);
    }
}

fn name_of(name: u8) -> String {
    format!("{}{name}.test", "n".repeat(usize::from(name) * 2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn like_a_map(ops in proptest::collection::vec(op(), 1..120)) {
        let (_, store) = new_store(SMALL);
        let mut model = Model::default();
        for op in &ops {
            model.apply(&store, op);
            model.compare(&store);
            if !matches!(op, Op::Die) {
                check(&store);
            }
        }
    }
}
