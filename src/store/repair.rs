//! After a writer died: keeps what readers can reach and is whole, makes the rest free and clean,
//! and all that follows from it anew. Locked.
//!
//! Readers go on meanwhile: names are cut off by one store each, blocks that they may be in are
//! told to be gone before they are wiped. A repair that is killed leaves less to do for the next.

use crate::ffi::atomic::Ordering;

use super::groups::Hint;
use super::index::{self, Chain};
use super::layout::{
    BUSY, CHANGES, FIRST_UNIT, FIXED_SETS, FIXED_UNITS, FREE_UNITS, LAZY_SETS, PREVIOUS_SETS,
    PUSHED_SETS, REPAIRS, RESERVE, RESETS, STRIPE_COUNT, STRIPES,
};
use super::marks::{Bits, Marks};
use super::node::Role;
use super::word::{Header, Kind, Link};
use super::zone::Zone;
use super::{arena, bins, blob, groups, reserve};

/// Repairs the zone. False, and nothing done, when there is no memory for two bits per unit.
/// BUSY is set before and after.
pub(super) fn run(zone: &Zone) -> bool {
    let Some(mut marks) = Marks::new(zone) else {
        return false;
    };
    zone.set(BUSY, 1);
    crate::ffi::atomic::fence(Ordering::SeqCst);

    if marks.find_starts().is_ok() {
        marks.prune();
        sweep(zone, marks.live());
        keep_aside(zone, recount(zone));
    } else {
        reset(zone);
    }

    // The writer may have published without announcing it: every cached answer looks again.
    for stripe in 0..STRIPE_COUNT {
        zone.region.fetch_add(STRIPES + stripe, 1, Ordering::Release);
    }
    zone.region.fetch_add(CHANGES, 1, Ordering::Release);
    groups::note_changes(zone);
    zone.region.fetch_add(REPAIRS, 1, Ordering::Relaxed);
    true
}

/// An arena of one free block, and no names. The arena's bytes have nothing to hide.
pub(super) fn empty(zone: &Zone) {
    let g = &zone.geometry;
    zone.region.wipe(g.heads, g.buckets);
    zone.region.wipe(g.blobs, g.blob_buckets);
    groups::unmark_all(zone);
    bins::clear(zone);
    arena::set_before(zone, FIRST_UNIT, 0);
    zone.set_header(FIRST_UNIT, Header::new(Kind::Free, g.units(), 0));
    bins::put(zone, FIRST_UNIT, g.units());
    zone.set(FREE_UNITS, u64::from(g.units()));
    for word in [LAZY_SETS, FIXED_SETS, PUSHED_SETS, PREVIOUS_SETS, FIXED_UNITS, RESERVE] {
        zone.set(word, 0);
    }
}

/// What is there makes no sense at all: forgets it. Lazy sets come back from their files.
fn reset(zone: &Zone) {
    let g = &zone.geometry;
    zone.region.wipe(g.heads, g.buckets);
    // Upwards, each store after the ones before it: a block's header goes before its bytes. Until
    // the first header is there again the arena is one that is reset.
    for word in zone.at(FIRST_UNIT)..zone.at(g.end) {
        zone.publish(word, 0);
    }
    empty(zone);
    zone.region.fetch_add(RESETS, 1, Ordering::Relaxed);
}

/// Wipes what does not stay, joins the free blocks, and lists them and the blobs anew.
fn sweep(zone: &Zone, live: &Bits) {
    bins::clear(zone);
    zone.region.wipe(zone.geometry.blobs, zone.geometry.blob_buckets);
    zone.set(RESERVE, 0);

    let mut free = Stretch::default();
    let (mut unit, mut before, mut total) = (FIRST_UNIT, 0, 0);
    while unit < zone.geometry.end {
        let header = zone.header(unit);
        let units = header.units();
        if live.has(unit) {
            before = free.finish(zone).unwrap_or(before);
            arena::set_before(zone, unit, before);
            before = units;
            if header.is(Kind::Blob) {
                blob::relist(zone, unit);
            }
        } else {
            // A free block is clean: it became one after it was wiped, and one that is allocated
            // stops being one before it is filled.
            if !header.is(Kind::Free) {
                arena::wipe(zone, unit, units);
            }
            if free.units == 0 {
                arena::set_before(zone, unit, before);
            }
            free.grow(zone, unit, units);
            total += u64::from(units);
        }
        unit += units;
    }
    free.finish(zone);
    zone.set(FREE_UNITS, total);
}

/// Free blocks one behind another.
#[derive(Default)]
struct Stretch {
    start: u32,
    units: u32,
}

impl Stretch {
    fn grow(&mut self, zone: &Zone, unit: u32, units: u32) {
        zone.set_header(unit, Header::new(Kind::Free, units, 0));
        if self.units == 0 {
            self.start = unit;
        }
        self.units += units;
        zone.set_header(self.start, Header::new(Kind::Free, self.units, 0));
    }

    /// Lists them as one; its size.
    fn finish(&mut self, zone: &Zone) -> Option<u32> {
        let units = std::mem::take(&mut self.units);
        (units > 0).then(|| {
            bins::put(zone, self.start, units);
            units
        })
    }
}

/// Room for a set of so many units, if there is any: what replaced a set may have been in it.
fn keep_aside(zone: &Zone, units: u32) {
    // Without, the next push that is new makes one.
    let _ = reserve::grow(zone, units, |units| arena::alloc(zone, units));
}

/// Counts sets and links to blobs. The old numbers stay until the new ones are there: readers need
/// one of them. The units of the largest pushed set for which room is kept.
fn recount(zone: &Zone) -> u32 {
    let most = reserve::most(zone);
    let mut largest = 0;
    let units_at = |link: Link| u64::from(zone.header(link.unit()).units());
    let (mut lazy_sets, mut fixed_sets, mut fixed_units) = (0, 0, 0);
    let (mut pushed_sets, mut previous_sets) = (0, 0);
    groups::unmark_all(zone);
    for bucket in 0..zone.geometry.buckets {
        for place in Chain::unbounded(zone, bucket).map_while(Result::ok) {
            let Role::Name(name) = place.node.role else {
                fixed_units += units_at(place.link);
                continue;
            };
            let is_fixed = !name.is_lazy();
            for link in index::set_links(zone, name.set).unwrap_or_default() {
                if blob::count_link(zone, link, is_fixed) {
                    fixed_units += units_at(link);
                }
            }
            if let Some(previous) = name.previous() {
                previous_sets += 1;
                groups::mark(zone, Hint::Previous, bucket);
                for link in index::set_links(zone, previous).unwrap_or_default() {
                    blob::count_link(zone, link, false);
                }
            }
            if is_fixed {
                fixed_sets += 1;
                if name.set.has(Link::PUSHED) {
                    pushed_sets += 1;
                    let units = zone.header(name.set.unit()).units();
                    largest = largest.max(if units <= most { units } else { 0 });
                }
                fixed_units += units_at(place.link) + units_at(name.set);
            } else {
                lazy_sets += 1;
                groups::mark(zone, Hint::Lazy, bucket);
            }
        }
    }
    zone.set(LAZY_SETS, lazy_sets);
    zone.set(FIXED_SETS, fixed_sets);
    zone.set(PUSHED_SETS, pushed_sets);
    zone.set(PREVIOUS_SETS, previous_sets);
    zone.set(FIXED_UNITS, fixed_units);
    largest
}
