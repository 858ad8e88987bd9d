//! For tests: whether everything in a zone that nobody writes to fits together.

use std::collections::{HashMap, HashSet};

use super::groups::{self, Hint};
use super::index::{self, Chain};
use super::layout::{
    BIN_COUNT, BIN_MAP, BINS, BUSY, FIRST_UNIT, FIXED_SETS, FIXED_UNITS, FREE_UNITS, LAZY_SETS,
    PREVIOUS_SETS, PUSHED_SETS, RESERVE,
};
use super::node::{self, Role};
use super::set::{self, Shape};
use super::word::{Kind, Link};
use super::zone::Zone;
use super::{Store, alias, arena, bins, blob, hash, name, reserve};
use crate::record::Source;

/// Panics with what is wrong.
pub(super) fn check(store: &Store) {
    let found = check_damaged(store);
    assert!(!found.has_odd_aliases, "the same alias twice, or one of itself");
}

/// As `check`, after a repair of what no writer ever left: aliases may be of no use then, as long as
/// they do no harm.
pub(super) fn check_damaged(store: &Store) -> Found {
    let zone = &store.zone;
    assert_eq!(zone.get(BUSY), 0, "busy");
    let blocks = walk(zone);
    check_bins(zone, &blocks);

    let mut found = Found::default();
    for bucket in 0..zone.geometry.buckets {
        let mut names = HashSet::new();
        for place in Chain::of(zone, bucket) {
            let place = place.expect("a whole chain");
            found.reach(place.link, &blocks);
            let bytes = node::bytes(zone, place.link).expect("the bytes of a name");
            assert_eq!(hash::of_name(&bytes), place.node.hash, "hash");
            match place.node.role {
                Role::Name(name) => {
                    assert!(names.insert(bytes), "the same name twice");
                    found.check_set(zone, place.link, name.set, &blocks);
                    let is_found = |hint| groups::is_marked(zone, hint, bucket);
                    assert!(!name.is_lazy() || is_found(Hint::Lazy), "a lazy set to be found");
                    if name.previous != Link::NONE {
                        assert!(name.previous().is_some(), "a set that is its own previous one");
                        assert!(is_found(Hint::Previous), "a previous set to be found");
                        found.check_previous(zone, place.link, name.previous, &blocks);
                    }
                }
                Role::Alias { owner } => {
                    let name = name::read_owner(zone, owner).expect("the owner of an alias");
                    assert!(!name.set.is_none() && !name.is_lazy(), "an alias of no use");
                    found.has_odd_aliases |= node::bytes(zone, owner).unwrap() == bytes;
                    let mut aliases = alias::all_of(zone, owner.unit()).expect("a list of aliases");
                    aliases.retain(|link| *link == place.link);
                    assert_eq!(aliases.len(), 1, "an alias in the list of its owner");
                    found.has_odd_aliases |= !found.aliases.insert((owner.unit(), bytes));
                    found.alias_count += 1;
                }
            }
        }
    }
    found.check_lists(zone);
    assert_eq!((zone.get(FIXED_SETS), zone.get(LAZY_SETS)), (found.fixed, found.lazy), "sets");
    assert_eq!(zone.get(PUSHED_SETS), found.pushed, "pushed sets");
    assert_eq!(zone.get(PREVIOUS_SETS), found.previous.len() as u64, "previous sets");

    found.reachable.extend(found.links.keys());
    if reserve::units(zone) > 0 {
        assert!(found.reachable.insert(zone.get(RESERVE) as u32), "a reserve that is in use");
        assert!(zone.get(PUSHED_SETS) > 0, "a reserve for nothing");
    }
    let mut fixed_units = 0;
    for (unit, (kind, units)) in &blocks {
        assert_eq!(found.reachable.contains(unit), *kind != Kind::Free, "{kind:?} at {unit}");
        if found.is_fixed(zone, *unit, *kind) {
            fixed_units += u64::from(*units);
        }
    }
    assert_eq!(zone.get(FIXED_UNITS), fixed_units, "fixed units");
    check_blobs(zone, &found.links);
    found
}

/// What the chains lead to.
#[derive(Default)]
pub(super) struct Found {
    reachable: HashSet<u32>,
    /// How often a blob is linked to, and how often by sets that are not lazy.
    links: HashMap<u32, (u32, u64)>,
    /// The owner's unit, and the bytes.
    aliases: HashSet<(u32, Vec<u8>)>,
    alias_count: usize,
    has_odd_aliases: bool,
    names: HashSet<u32>,
    fixed_names: HashSet<u32>,
    /// Units of previous sets.
    previous: HashSet<u32>,
    fixed: u64,
    pushed: u64,
    lazy: u64,
}

impl Found {
    fn reach(&mut self, link: Link, blocks: &HashMap<u32, (Kind, u32)>) {
        assert!(blocks.contains_key(&link.unit()), "a link within a block");
        assert!(self.reachable.insert(link.unit()), "a block twice");
    }

    fn check_set(
        &mut self,
        zone: &Zone,
        owner: Link,
        set: Link,
        blocks: &HashMap<u32, (Kind, u32)>,
    ) {
        self.names.insert(owner.unit());
        let source = self.check_block(zone, owner, set, blocks);
        let is_lazy = source == Source::Lazy;
        assert_eq!(set.source(), source);
        self.pushed += u64::from(source == Source::Pushed);
        *(if is_lazy { &mut self.lazy } else { &mut self.fixed }) += 1;
        if !is_lazy {
            self.fixed_names.insert(owner.unit());
        }
        for link in index::set_links(zone, set).expect("links") {
            assert!(blob::is_whole(zone, link), "a blob that is gone");
            let (all, fixed) = self.links.entry(link.unit()).or_default();
            *all += 1;
            *fixed += u64::from(!is_lazy);
        }
    }

    fn check_previous(
        &mut self,
        zone: &Zone,
        owner: Link,
        set: Link,
        blocks: &HashMap<u32, (Kind, u32)>,
    ) {
        assert!(set == set.without_flags(), "flags on the link to a previous set");
        self.check_block(zone, owner, set, blocks);
        self.previous.insert(set.unit());
        for link in index::set_links(zone, set).expect("links") {
            assert!(blob::is_whole(zone, link), "a blob that is gone");
            self.links.entry(link.unit()).or_default().0 += 1;
        }
    }

    fn check_block(
        &mut self,
        zone: &Zone,
        owner: Link,
        set: Link,
        blocks: &HashMap<u32, (Kind, u32)>,
    ) -> Source {
        let block = zone.open(set, Kind::Set).expect("a set");
        let shape = Shape::read(&block).expect("the shape of a set");
        assert_eq!(set::owner(zone, set.unit()), owner.unit(), "the owner of a set");
        self.reach(set, blocks);
        shape.source
    }

    /// The lists of the names have no aliases but those in the chains.
    fn check_lists(&self, zone: &Zone) {
        let lens = self.names.iter().map(|unit| alias::all_of(zone, *unit).unwrap().len());
        assert_eq!(lens.sum::<usize>(), self.alias_count, "aliases in lists");
    }

    fn is_fixed(&self, zone: &Zone, unit: u32, kind: Kind) -> bool {
        match kind {
            Kind::Name => self.fixed_names.contains(&unit),
            Kind::Set => {
                self.fixed_names.contains(&set::owner(zone, unit)) && !self.previous.contains(&unit)
            }
            Kind::Alias => true,
            Kind::Blob => self.links.get(&unit).is_some_and(|(_, fixed)| *fixed > 0),
            Kind::Free | Kind::Building => false,
        }
    }
}

/// All blocks, which cover the arena; no two free ones in a row.
fn walk(zone: &Zone) -> HashMap<u32, (Kind, u32)> {
    let mut blocks = HashMap::new();
    let (mut unit, mut before, mut free, mut after_free) = (FIRST_UNIT, 0, 0, false);
    while unit < zone.geometry.end {
        let (kind, units) = zone.block(unit).expect("a block");
        assert_eq!(arena::before(zone, unit), before, "the size of the block before {unit}");
        assert!(!(after_free && kind == Kind::Free), "two free blocks in a row");
        after_free = kind == Kind::Free;
        if after_free {
            free += u64::from(units);
        }
        blocks.insert(unit, (kind, units));
        before = units;
        unit += units;
    }
    assert_eq!(unit, zone.geometry.end, "the end of the arena");
    assert_eq!(zone.get(FREE_UNITS), free, "counted free units");

    let stats = Store { zone: *zone }.stats();
    assert_eq!(stats.used_bytes + stats.free_bytes, Store { zone: *zone }.capacity());
    blocks
}

fn check_bins(zone: &Zone, blocks: &HashMap<u32, (Kind, u32)>) {
    let mut listed = HashSet::new();
    for bin in 0..BIN_COUNT {
        let mut unit = zone.get(BINS + bin) as u32;
        let bit = zone.get(BIN_MAP + bin / 64) >> (bin % 64) & 1;
        assert_eq!(bit != 0, unit != 0, "the bit of bin {bin}");
        let mut previous = 0;
        while unit != 0 {
            let (kind, units) = blocks[&unit];
            assert_eq!((kind, bins::of_size(units)), (Kind::Free, bin), "what is in bin {bin}");
            assert!(listed.insert(unit), "listed twice");
            let (next, back) = bins::test_links(zone, unit);
            assert_eq!(back, previous);
            (previous, unit) = (unit, next);
        }
    }
    let free = blocks.values().filter(|(kind, _)| *kind == Kind::Free).count();
    assert_eq!(listed.len(), free, "listed free blocks");
}

fn check_blobs(zone: &Zone, links: &HashMap<u32, (u32, u64)>) {
    let mut listed = 0;
    for bucket in 0..zone.geometry.blob_buckets {
        let mut unit = zone.get(zone.geometry.blobs + bucket) as u32;
        while unit != 0 {
            let (next, count, fixed) = blob::test_counts(zone, unit);
            assert_eq!(links.get(&unit), Some(&(count, fixed)), "counted links of blob {unit}");
            listed += 1;
            unit = next;
        }
    }
    assert_eq!(listed, links.len(), "listed blobs");
}
