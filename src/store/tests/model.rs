//! Random operations, against a map that cannot be wrong.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const NAMES: u8 = 24;

#[derive(Clone, Debug)]
enum Op {
    Publish(Set),
    Remove { name: u8 },
    Restamp { name: u8 },
    Look { name: u8, stat: bool },
    LastGood { name: u8, on: bool },
    Touch { name: u8 },
    RemoveLazy,
    Clear,
    Die,
}

#[derive(Clone, Debug)]
struct Set {
    name: u8,
    leaf: usize,
    key: usize,
    chain: Vec<u32>,
    late: bool,
    /// `None` when it is lazy.
    served: Option<Vec<u8>>,
}

fn set() -> impl Strategy<Value = Set> {
    let size = prop_oneof![8 => 0..900_usize, 1 => 900..9_000_usize];
    let chain = proptest::collection::vec(0..5_u32, 0..4);
    let served = prop_oneof![
        2 => Just(None),
        1 => proptest::collection::vec(0..NAMES, 0..6).prop_map(Some),
    ];
    (0..NAMES, size, 0..300_usize, chain, prop::bool::weighted(0.1), served).prop_map(
        |(name, leaf, key, chain, late, served)| Set { name, leaf, key, chain, late, served },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES;
    prop_oneof![
        10 => set().prop_map(Op::Publish),
        5 => name.clone().prop_map(|name| Op::Remove { name }),
        2 => name.clone().prop_map(|name| Op::Restamp { name }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, stat)| Op::Look { name, stat }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, on)| Op::LastGood { name, on }),
        2 => name.prop_map(|name| Op::Touch { name }),
        1 => prop::bool::weighted(0.3).prop_map(|all| if all { Op::RemoveLazy } else { Op::Clear }),
        1 => Just(Op::Die),
    ]
}

/// A set as it is known, with the further names that it serves.
type Known = (Entry, Record, BTreeSet<String>);

#[derive(Default)]
struct Model {
    sets: HashMap<String, Known>,
    generation: u32,
    now: u64,
}

impl Model {
    fn apply(&mut self, store: &Store, op: &Op) {
        let lock = TestLock::new();
        let mut writer = store.write(&lock).unwrap();
        self.now += 1;
        match op {
            Op::Publish(set) => self.publish(store, &mut writer, set),
            Op::Remove { name } => {
                let removed = self.sets.remove(&name_of(*name)).is_some();
                assert_eq!(writer.remove(&name_of(*name)), removed);
            }
            Op::Restamp { name } => {
                let ticket = store.next_ticket();
                if let Some((entry, ..)) = self.sets.get_mut(&name_of(*name)) {
                    let (id, stat) = (entry.id, ticket + 1000);
                    assert!(writer.restamp(&name_of(*name), id, ticket, stat, self.now));
                    let is_lazy = entry.is_lazy;
                    *entry = Entry { is_lazy, ..entry_of(id, ticket, self.now) };
                }
            }
            Op::Look { name, stat } => {
                if let Some((entry, ..)) = self.sets.get_mut(&name_of(*name)) {
                    let (name, id, seen) = (name_of(*name), entry.id, entry.looked_at);
                    assert!(!writer.claim_look(&name, id, seen + 1, self.now));
                    assert!(writer.claim_look(&name, id, seen, self.now));
                    entry.looked_at = self.now;
                    if *stat {
                        entry.stat = self.now;
                        assert!(writer.note_stat(&name, id, self.now, self.now));
                    }
                }
            }
            Op::LastGood { name, on } => {
                writer.set_last_good(&name_of(*name), *on);
                if let Some((entry, ..)) = self.sets.get_mut(&name_of(*name)) {
                    entry.last_good = *on;
                }
            }
            Op::Touch { name } => store.touch(&name_of(*name), self.now),
            Op::RemoveLazy => {
                let before = self.sets.len();
                self.sets.retain(|_, (entry, ..)| !entry.is_lazy);
                assert_eq!(writer.remove_lazy(), (before - self.sets.len()) as u64);
            }
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

    fn publish(&mut self, store: &Store, writer: &mut Writer<'_>, set: &Set) {
        self.generation += 1;
        let (name, is_lazy) = (&name_of(set.name), set.served.is_none());
        let mut record = sized(self.generation, set.leaf, set.key, &set.chain);
        record.source = if is_lazy { Source::Lazy } else { Source::Startup };
        let ticket = if set.late { 1 } else { store.next_ticket() };
        // Given to lazy sets too, which it is nothing to.
        let served = set.served.clone().unwrap_or_else(|| vec![1, 2]);
        let served: Vec<String> = served.into_iter().map(name_of).collect();
        let names: Vec<&str> = served.iter().map(String::as_str).collect();

        let evictions = store.stats().evictions;
        let present = self.sets.get(name).map(|(entry, ..)| entry.ticket);
        match writer.test_serve(name, &record, &names, ticket, self.now) {
            Ok(id) => {
                let entry = Entry { is_lazy, ..entry_of(id, ticket, self.now) };
                let served = served.into_iter().filter(|other| other != name && !is_lazy);
                self.sets.insert(name.clone(), (entry, record, served.collect()));
            }
            Err(PublishError::Overtaken) => assert!(present.is_some_and(|p| p > ticket)),
            Err(PublishError::Full { needed, .. }) => assert!(needed > 0),
        }
        let before = self.sets.len();
        self.sets.retain(|other, (entry, ..)| {
            other == name || !entry.is_lazy || store.find(other) != Lookup::Absent
        });
        assert_eq!(store.stats().evictions - evictions, (before - self.sets.len()) as u64);
    }

    fn compare(&self, store: &Store) {
        for name in (0..NAMES).map(name_of) {
            match (self.sets.get(&name), store.read(&name)) {
                (Some((entry, record, _)), Lookup::Found(found)) => {
                    assert_eq!((entry, record), (&found.0, &found.1));
                }
                (None, Lookup::Absent) => {}
                (expected, found) => panic!("{name}: {found:?} instead of {expected:?}"),
            }
            let serves = |(own, (entry, _, served)): &(&String, &Known)| {
                !entry.is_lazy && (**own == name || served.contains(&name))
            };
            let expected = self.sets.iter().filter(serves).map(|(own, (entry, record, _))| {
                let not_before = record.not_before;
                Serving { name: own.clone(), entry: *entry, not_before }
            });
            let mut found = match store.serving(&name) {
                Lookup::Found(found) => found,
                Lookup::Absent => Vec::new(),
                Lookup::Contended => panic!("{name}: contended"),
            };
            let mut expected: Vec<Serving> = expected.collect();
            expected.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(found, expected, "{name}");
        }
        self.compare_walks(store);
    }

    fn compare_walks(&self, store: &Store) {
        let lazy = self.sets.values().filter(|(entry, ..)| entry.is_lazy).count() as u64;
        let stats = store.stats();
        assert_eq!((stats.sets, stats.lazy_sets), (self.sets.len() as u64, lazy));
        let names: HashMap<String, Entry> = store.names().into_iter().collect();
        let of_all = self.sets.iter().map(|(name, (entry, ..))| (name.clone(), *entry));
        assert_eq!(names, of_all.collect());

        let exported = store.export();
        assert_eq!(exported.len(), self.sets.len());
        for set in exported {
            let (entry, _, served) = &self.sets[&set.name];
            assert_eq!((&set.entry, set.served), (entry, served.iter().cloned().collect()));
        }
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
