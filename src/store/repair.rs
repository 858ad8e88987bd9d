//! After a writer died: keeps what readers can reach and is whole, makes the rest free and clean,
//! and all that follows from it anew. Locked.
//!
//! Readers go on meanwhile: names are cut off by one store each, blocks that they may be in are
//! told to be gone before they are wiped. A repair that is killed leaves less to do for the next.

use std::sync::atomic::Ordering;

use super::index::Chain;
use super::layout::{
    BUSY, CHANGES, FIRST_UNIT, FREE_UNITS, LAZY_SETS, REPAIRS, RESETS, SETS, STRIPE_COUNT, STRIPES,
};
use super::name::{self, Name};
use super::set::{self, Shape};
use super::word::{Header, Kind, Link};
use super::zone::{Torn, Zone};
use super::{arena, bins, blob, hash, index};
use crate::record::Source;

/// Repairs the zone. False, and nothing done, when there is no memory for two bits per unit.
/// BUSY is set before and after.
pub(super) fn run(zone: &Zone) -> bool {
    let units = zone.geometry.end as usize;
    let (Some(starts), Some(live)) = (Bits::new(units), Bits::new(units)) else {
        return false;
    };
    zone.set(BUSY, 1);
    std::sync::atomic::fence(Ordering::SeqCst);

    let mut marks = Marks { zone, starts, live };
    if marks.find_starts().is_ok() {
        for bucket in 0..zone.geometry.buckets {
            marks.prune(bucket);
        }
        sweep(zone, &marks.live);
        recount(zone);
    } else {
        reset(zone);
    }

    // The writer may have published without announcing it: every cached answer looks again.
    for stripe in 0..STRIPE_COUNT {
        zone.region.fetch_add(STRIPES + stripe, 1, Ordering::Release);
    }
    zone.region.fetch_add(CHANGES, 1, Ordering::Release);
    zone.region.fetch_add(REPAIRS, 1, Ordering::Relaxed);
    true
}

/// An arena of one free block, and no names. The arena's bytes have nothing to hide.
pub(super) fn empty(zone: &Zone) {
    let g = &zone.geometry;
    zone.region.wipe(g.heads, g.buckets);
    zone.region.wipe(g.blobs, g.blob_buckets);
    bins::clear(zone);
    arena::set_before(zone, FIRST_UNIT, 0);
    zone.set_header(FIRST_UNIT, Header::new(Kind::Free, g.units(), 0));
    bins::put(zone, FIRST_UNIT, g.units());
    zone.set(FREE_UNITS, u64::from(g.units()));
    zone.set(SETS, 0);
    zone.set(LAZY_SETS, 0);
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

/// One bit per unit, in this process.
struct Bits(Vec<u64>);

impl Bits {
    fn new(bits: usize) -> Option<Bits> {
        let mut words = Vec::new();
        words.try_reserve_exact(bits.div_ceil(64)).ok()?;
        words.resize(bits.div_ceil(64), 0);
        Some(Bits(words))
    }

    fn has(&self, unit: u32) -> bool {
        self.0.get(unit as usize / 64).is_some_and(|word| word >> (unit % 64) & 1 != 0)
    }

    fn put(&mut self, unit: u32, on: bool) {
        if let Some(word) = self.0.get_mut(unit as usize / 64) {
            let bit = 1 << (unit % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

struct Marks<'a> {
    zone: &'a Zone,
    /// Where a block starts that may still be claimed: names and sets are claimed once.
    starts: Bits,
    /// The blocks that stay.
    live: Bits,
}

impl Marks<'_> {
    fn find_starts(&mut self) -> Result<(), Torn> {
        let mut unit = FIRST_UNIT;
        while unit < self.zone.geometry.end {
            let (_, units) = self.zone.block(unit)?;
            self.starts.put(unit, true);
            unit += units;
        }
        Ok(())
    }

    /// Cuts off the names of a bucket that are not whole, and marks the rest.
    fn prune(&mut self, bucket: usize) {
        let mut holder = self.zone.geometry.heads + bucket;
        for _ in 0..name::MAX_CHAIN {
            let link = Link(self.zone.get(holder));
            if link == Link::NONE {
                return;
            }
            match self.claim_name(link, bucket) {
                Ok(name) if self.claim_set(link, name.set).is_ok() => {
                    self.live.put(link.unit(), true);
                    holder = self.zone.at(link.unit()) + name::NEXT;
                }
                Ok(name) => self.zone.publish(holder, name.next.0),
                Err(Torn) => break,
            }
        }
        self.zone.publish(holder, Link::NONE.0);
    }

    fn claim_name(&mut self, link: Link, bucket: usize) -> Result<Name, Torn> {
        let bytes = name::bytes(self.zone, link)?;
        let hash = hash::of_name(&bytes);
        let name = name::read(self.zone, link, hash, &bytes)?;
        let good = name.found && self.zone.geometry.bucket(hash) == bucket;
        if !good || !self.starts.has(link.unit()) {
            return Err(Torn);
        }
        self.starts.put(link.unit(), false);
        Ok(name)
    }

    fn claim_set(&mut self, owner: Link, set: Link) -> Result<(), Torn> {
        let block = self.zone.open(set, Kind::Set)?;
        let shape = Shape::read(&block)?;
        let links = shape.links(&block);
        let whole = |link: &Link| self.starts.has(link.unit()) && blob::is_whole(self.zone, *link);
        if !self.starts.has(set.unit()) || !links.iter().all(whole) {
            return Err(Torn);
        }

        self.starts.put(set.unit(), false);
        self.live.put(set.unit(), true);
        for link in links {
            self.live.put(link.unit(), true);
        }
        set::set_owner(self.zone, set.unit(), owner.unit());
        let flagged = set.with(Link::LAZY, shape.source == Source::Lazy);
        if flagged != set {
            name::set_set(self.zone, owner.unit(), flagged);
        }
        Ok(())
    }
}

/// Wipes what does not stay, joins the free blocks, and lists them and the blobs anew.
fn sweep(zone: &Zone, live: &Bits) {
    bins::clear(zone);
    zone.region.wipe(zone.geometry.blobs, zone.geometry.blob_buckets);

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

/// Counts sets and links to blobs.
fn recount(zone: &Zone) {
    zone.set(SETS, 0);
    zone.set(LAZY_SETS, 0);
    for bucket in 0..zone.geometry.buckets {
        for spot in Chain::of(zone, bucket).map_while(Result::ok) {
            index::count_set(zone, spot.name.set, 1);
            for link in index::set_links(zone, spot.name.set).unwrap_or_default() {
                blob::count_link(zone, link);
            }
        }
    }
}
