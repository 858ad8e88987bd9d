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
    Failure { name: u8, failure: u64 },
    DropPrevious { name: u8 },
    AddPrevious { name: u8, earlier: bool },
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
    is_pushed: bool,
    keep: bool,
}

fn set() -> impl Strategy<Value = Set> {
    let size = prop_oneof![8 => 0..900_usize, 1 => 900..9_000_usize];
    let chain = proptest::collection::vec(0..5_u32, 0..4);
    let served = prop_oneof![
        2 => Just(None),
        1 => proptest::collection::vec(0..NAMES, 0..6).prop_map(Some),
    ];
    let parts = (0..NAMES, size, 0..300_usize, chain, prop::bool::weighted(0.1));
    (parts, served, any::<bool>(), any::<bool>()).prop_map(|(parts, served, is_pushed, keep)| {
        let (name, leaf, key, chain, late) = parts;
        Set { name, leaf, key, chain, late, served, is_pushed, keep }
    })
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES;
    prop_oneof![
        10 => set().prop_map(Op::Publish),
        5 => name.clone().prop_map(|name| Op::Remove { name }),
        2 => name.clone().prop_map(|name| Op::Restamp { name }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, stat)| Op::Look { name, stat }),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, on)| Op::LastGood { name, on }),
        1 => (name.clone(), 0..3_u64).prop_map(|(name, failure)| Op::Failure { name, failure }),
        1 => name.clone().prop_map(|name| Op::DropPrevious { name }),
        2 => (name.clone(), prop::bool::weighted(0.8))
            .prop_map(|(name, earlier)| Op::AddPrevious { name, earlier }),
        2 => name.prop_map(|name| Op::Touch { name }),
        1 => prop::bool::weighted(0.3).prop_map(|all| if all { Op::RemoveLazy } else { Op::Clear }),
        1 => Just(Op::Die),
    ]
}

/// A set as it is known.
struct Known {
    entry: Entry,
    generation: u64,
    record: Record,
    /// The further names that it serves.
    served: BTreeSet<String>,
    previous: Option<(u64, Record)>,
}

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
                if let Some(Known { entry, .. }) = self.sets.get_mut(&name_of(*name)) {
                    let (id, stat) = (entry.id, ticket + 1000);
                    assert!(writer.restamp(&name_of(*name), id, ticket, stat, self.now));
                    let Entry { source, seen, failure, .. } = *entry;
                    *entry = Entry { source, seen, failure, ..entry_of(id, ticket, self.now) };
                }
            }
            Op::Look { name, stat } => {
                let ticket = store.next_ticket();
                if let Some(Known { entry, .. }) = self.sets.get_mut(&name_of(*name)) {
                    let (name, id, seen) = (name_of(*name), entry.id, entry.looked_at);
                    assert!(!writer.claim_look(&name, id, seen + 1, self.now));
                    assert!(writer.claim_look(&name, id, seen, self.now));
                    entry.looked_at = self.now;
                    if *stat {
                        entry.stat = self.now;
                        assert!(writer.note_stat(&name, id, self.now, self.now));
                    } else {
                        let (stat, seen) = (self.now + 5, self.now % 3);
                        let look = Look { stat, seen, ticket, now_msec: self.now };
                        *entry = Entry { stat, seen, ticket, ..*entry };
                        assert!(writer.note_look(&name, id, look));
                    }
                }
            }
            Op::LastGood { name, on } => {
                writer.set_last_good(&name_of(*name), *on);
                if let Some(Known { entry, .. }) = self.sets.get_mut(&name_of(*name)) {
                    entry.last_good = *on;
                }
            }
            Op::Failure { name, failure } => {
                let known = self.sets.get_mut(&name_of(*name));
                assert_eq!(writer.set_failure(&name_of(*name), *failure), known.is_some());
                if let Some(Known { entry, .. }) = known {
                    entry.failure = *failure;
                }
            }
            Op::DropPrevious { name } => {
                let known = self.sets.get_mut(&name_of(*name));
                let dropped = known.and_then(|known| known.previous.take()).is_some();
                assert_eq!(writer.drop_previous(&name_of(*name)), dropped);
            }
            Op::AddPrevious { name, earlier } => {
                let record = sized(1, 100, 100, &[3]);
                let name = name_of(*name);
                let known = self.sets.get_mut(&name);
                let generation = known.as_ref().map_or(0, |known| known.generation);
                let generation = generation - u64::from(*earlier && generation > 0);
                let may = known.filter(|k| k.previous.is_none() && generation < k.generation);
                let added = writer.add_previous(&name, generation, &record);
                assert!(may.is_some() || !added);
                if let Some(known) = may.filter(|_| added) {
                    known.previous = Some((generation, record));
                }
            }
            Op::Touch { name } => store.touch(&name_of(*name), self.now),
            Op::RemoveLazy => {
                let before = self.sets.len();
                self.sets.retain(|_, known| !known.entry.is_lazy());
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
        record.source = match (is_lazy, set.is_pushed) {
            (true, _) => Source::Lazy,
            (false, true) => Source::Pushed,
            (false, false) => Source::Startup,
        };
        let source = record.source;
        let ticket = if set.late { 1 } else { store.next_ticket() };
        // Given to lazy sets too, which it is nothing to.
        let served = set.served.clone().unwrap_or_else(|| vec![1, 2]);
        let served: Vec<String> = served.into_iter().map(name_of).collect();
        let names: Vec<&str> = served.iter().map(String::as_str).collect();

        let evictions = store.stats().evictions;
        // The set that it takes the place of counts, too: it may be gone afterwards.
        let is_tight = |Stats { used_bytes, free_bytes, .. }| used_bytes > free_bytes;
        let was_tight = is_tight(store.stats());
        let present = self.sets.get(name).map(|known| (known.entry.ticket, known.generation));
        let expected = present.map(|(_, generation)| generation);
        let publication = Publication {
            now_msec: self.now,
            previous: if set.keep { Previous::Keep } else { Previous::Drop },
            expects: expected.map_or(Expects::Absent, Expects::Generation),
            leaves_room: false,
            ..publication(name, &record, &names, ticket)
        };
        // A wrong expectation changes nothing.
        let wrong = if present.is_some() { Expects::Absent } else { Expects::Generation(ticket) };
        let refused = writer.publish(&Publication { expects: wrong, ..publication });
        assert_eq!(refused, Err(PublishError::Unexpected { present: expected }));
        assert_eq!(writer.remove_if(name, wrong), Err(Unexpected { present: expected }));

        let published = writer.publish(&publication);
        match published {
            Ok(id) => {
                let entry = Entry { source, ..entry_of(id, ticket, self.now) };
                let served = served.into_iter().filter(|other| other != name && !is_lazy);
                let served = served.collect();
                let old = self.sets.remove(name).filter(|_| set.keep);
                let previous = old.map(|old| (old.generation, old.record));
                let known = Known { entry, generation: ticket, record, served, previous };
                self.sets.insert(name.clone(), known);
            }
            Err(PublishError::Overtaken) => {
                let (present, generation) = present.unwrap();
                let is_newer = source != Source::Pushed && present > ticket;
                assert!(is_newer || generation > ticket);
            }
            Err(PublishError::Full { needed, .. }) => assert!(needed > 0),
            Err(error) => panic!("{error:?}"),
        }
        let before = self.sets.len();
        self.sets.retain(|other, known| {
            other == name || !known.entry.is_lazy() || store.find(other) != Lookup::Absent
        });
        let evicted = store.stats().evictions - evictions;
        assert_eq!(evicted, (before - self.sets.len()) as u64);

        // For room others lose their previous sets; all, before any set is evicted.
        for (other, known) in &mut self.sets {
            let Lookup::Found(details) = store.details(other) else { panic!("{other}") };
            let is_dropped = details.previous.is_none() && other != name;
            known.previous.take_if(|_| is_dropped);
        }
        // One that is refused for want of room in one piece may have lost its own for that, and one
        // that found none but what is kept for it has none.
        let is_refused = published.is_err();
        let is_tight = was_tight || is_tight(store.stats());
        if store.details(name) != Lookup::Absent && (!set.keep || is_refused || is_tight) {
            let Lookup::Found(details) = store.details(name) else { panic!("{name}") };
            self.sets.get_mut(name).unwrap().previous.take_if(|_| details.previous.is_none());
        }
        let kept = self.sets.iter().filter(|(other, k)| *other != name && k.previous.is_some());
        assert!(evicted == 0 || kept.count() == 0);
    }

    fn compare(&self, store: &Store) {
        for name in (0..NAMES).map(name_of) {
            match (self.sets.get(&name), store.read(&name)) {
                (Some(known), Lookup::Found(found)) => {
                    assert_eq!((known.entry, &known.record), (found.0, &found.1));
                    let Lookup::Found(details) = store.details(&name) else { panic!("{name}") };
                    let of_details = (details.entry, details.generation, details.record);
                    assert_eq!(of_details, (found.0, known.generation, found.1));
                    assert_eq!(details.previous, known.previous);
                }
                (None, Lookup::Absent) => {}
                (expected, found) => {
                    panic!("{name}: {found:?} instead of {:?}", expected.map(|known| known.entry))
                }
            }
            let serves = |(own, known): &(&String, &Known)| {
                !known.entry.is_lazy() && (**own == name || known.served.contains(&name))
            };
            let expected = self.sets.iter().filter(serves).map(|(own, known)| {
                let Record { not_before, not_after, .. } = known.record;
                Serving { name: own.clone(), entry: known.entry, not_before, not_after }
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
        let of =
            |source| self.sets.values().filter(|known| known.entry.source == source).count() as u64;
        let stats = store.stats();
        assert_eq!((stats.sets, stats.lazy_sets), (self.sets.len() as u64, of(Source::Lazy)));
        let fixed = (stats.startup_sets, stats.pushed_sets);
        assert_eq!(fixed, (of(Source::Startup), of(Source::Pushed)));
        let previous = self.sets.values().filter(|known| known.previous.is_some()).count();
        assert_eq!(stats.previous_sets, previous as u64);
        let names: HashMap<String, Entry> = store.names().into_iter().collect();
        let of_all = self.sets.iter().map(|(name, known)| (name.clone(), known.entry));
        assert_eq!(names, of_all.collect());

        let exported = store.export();
        assert_eq!(exported.len(), self.sets.len());
        for set in exported {
            let known = &self.sets[&set.name];
            assert_eq!(
                (set.entry, set.served),
                (known.entry, known.served.iter().cloned().collect())
            );
        }

        let mut pages: Vec<String> = Vec::new();
        loop {
            let page = store.page(pages.last().map(String::as_str), 3);
            assert!(page.len() <= 3);
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        pages.sort_unstable();
        let mut names: Vec<String> = self.sets.keys().cloned().collect();
        names.sort_unstable();
        assert_eq!(pages, names);

        let mut surveyed = 0;
        store.survey(&mut |set| {
            let Known { entry, record, .. } = &self.sets[&set.name];
            assert_eq!((set.source, set.failure), (entry.source, entry.failure));
            let of_record = record.members.iter().map(|member| Validity {
                key_type: member.key_type,
                not_before: member.not_before,
                not_after: member.not_after,
            });
            assert_eq!(set.members, of_record.collect::<Vec<_>>());
            surveyed += 1;
        });
        assert_eq!(surveyed, self.sets.len());
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
