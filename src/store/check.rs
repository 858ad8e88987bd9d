//! For tests: whether everything in a zone that nobody writes to fits together.

use std::collections::{HashMap, HashSet};

use super::index::{self, Chain};
use super::layout::{
    BIN_COUNT, BIN_MAP, BINS, BUSY, FIRST_UNIT, FREE_UNITS, LAZY_SETS, SETS, UNIT_BYTES,
};
use super::set::{OWNER, Shape};
use super::word::{Kind, Link, halves};
use super::zone::Zone;
use super::{Store, arena, bins, blob, hash, name};
use crate::record::Source;

/// Panics with what is wrong.
pub(super) fn check(store: &Store) {
    let zone = &store.zone;
    assert_eq!(zone.get(BUSY), 0, "busy");
    let blocks = walk(zone);
    check_bins(zone, &blocks);

    let mut links: HashMap<u32, u32> = HashMap::new();
    let mut reachable = HashSet::new();
    let (mut sets, mut lazy) = (0, 0);
    for bucket in 0..zone.geometry.buckets {
        let mut names = HashSet::new();
        for spot in Chain::of(zone, bucket) {
            let spot = spot.expect("a whole chain");
            assert!(blocks.contains_key(&spot.link.unit()), "a name within a block");
            assert!(reachable.insert(spot.link.unit()), "a name twice");
            let bytes = name::bytes(zone, spot.link).expect("the bytes of a name");
            assert_eq!(hash::of_name(&bytes), spot.name.hash, "hash");
            assert!(names.insert(bytes), "the same name twice");
            sets += 1;
            lazy += u64::from(check_set(zone, spot.link, spot.name.set));
            assert!(blocks.contains_key(&spot.name.set.unit()), "a set within a block");
            assert!(reachable.insert(spot.name.set.unit()), "a set twice");
            for link in index::set_links(zone, spot.name.set).expect("links") {
                assert!(blob::is_whole(zone, link), "a blob that is gone");
                *links.entry(link.unit()).or_default() += 1;
            }
        }
    }
    assert_eq!((zone.get(SETS), zone.get(LAZY_SETS)), (sets, lazy), "counted sets");

    reachable.extend(links.keys());
    for (unit, (kind, _)) in &blocks {
        assert_eq!(reachable.contains(unit), *kind != Kind::Free, "{kind:?} at {unit}");
    }
    check_blobs(zone, &links);
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
    let all = u64::from(zone.geometry.units()) * UNIT_BYTES;
    assert_eq!(stats.used_bytes + stats.free_bytes, all);
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

/// Whether it is lazy.
fn check_set(zone: &Zone, owner: Link, set: Link) -> bool {
    let block = zone.open(set, Kind::Set).expect("a set");
    let shape = Shape::read(&block).expect("the shape of a set");
    assert_eq!(halves(block.get(OWNER)).1, owner.unit(), "the owner of a set");
    assert_eq!(set.has(Link::LAZY), shape.source == Source::Lazy);
    shape.source == Source::Lazy
}

fn check_blobs(zone: &Zone, links: &HashMap<u32, u32>) {
    let mut listed = 0;
    for bucket in 0..zone.geometry.blob_buckets {
        let mut unit = zone.get(zone.geometry.blobs + bucket) as u32;
        while unit != 0 {
            let (next, count) = blob::test_next_count(zone, unit);
            assert_eq!(links.get(&unit), Some(&count), "counted links of blob {unit}");
            listed += 1;
            unit = next;
        }
    }
    assert_eq!(listed, links.len(), "listed blobs");
}
