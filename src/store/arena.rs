//! The arena: blocks that lie one behind another from its start to its end, whatever happens.
//!
//! Locked, all of it. The chain of sizes is whole after every single store: a split writes the
//! rest's header before it shrinks the front, a merge is one store that grows the front. Free
//! lists, the `before` sizes and the count of free units follow from that chain; a repair makes
//! them anew (`repair`), so they may be wrong after a kill.

use crate::ffi::atomic::{Ordering, fence};

use super::bins;
use super::layout::{FREE_UNITS, GENERATION, MIN_UNITS, UNIT_WORDS};
use super::word::{GENERATION_MASK, Header, Kind, halves, join};
use super::write::Fault;
use super::zone::Zone;

/// `[units of the block before: 32][for the kind to use: 32]`, in blocks of all kinds.
const BEFORE: usize = 1;

/// The size of the block before, 0 for the first block.
pub(super) fn before(zone: &Zone, unit: u32) -> u32 {
    halves(zone.get(zone.at(unit) + BEFORE)).0
}

/// Notes the size of the block before; nothing when `unit` is the arena's end.
pub(super) fn set_before(zone: &Zone, unit: u32, units: u32) {
    if unit < zone.geometry.end {
        let word = zone.at(unit) + BEFORE;
        zone.set(word, join(units, halves(zone.get(word)).1));
    }
}

/// A block of `units` at least, as `Kind::Building`, with a generation of its own.
pub(super) fn alloc(zone: &Zone, units: u32) -> Result<u32, Fault> {
    alloc_up_to(zone, units, units)
}

/// A block of `least` units at least, and of `most` where there is a place for that.
pub(super) fn alloc_up_to(zone: &Zone, least: u32, most: u32) -> Result<u32, Fault> {
    let (least, most) = (least.max(MIN_UNITS), most.max(MIN_UNITS));
    let found = match bins::find(zone, most)? {
        None if least < most => bins::find(zone, least)?,
        found => found,
    };
    let (unit, size) = found.ok_or(Fault::Full)?;
    bins::take(zone, unit, size)?;

    let units = most.min(size);
    let rest = size - units;
    let taken = if rest < MIN_UNITS { size } else { units };
    let tail = unit + taken;
    if taken < size {
        zone.set(zone.at(tail) + BEFORE, join(taken, 0));
        zone.set_header(tail, Header::new(Kind::Free, rest, 0));
    }
    zone.set_header(unit, Header::new(Kind::Building, taken, next_generation(zone)));
    if taken < size {
        set_before(zone, unit + size, rest);
        bins::put(zone, tail, rest);
    }
    zone.set(FREE_UNITS, zone.get(FREE_UNITS).wrapping_sub(u64::from(taken)));
    Ok(unit)
}

pub(super) fn next_generation(zone: &Zone) -> u64 {
    let next = (zone.get(GENERATION).wrapping_add(1) & GENERATION_MASK).max(1);
    zone.set(GENERATION, next);
    next
}

/// Wipes a block that nothing links to any more, and gives its space back.
pub(super) fn free(zone: &Zone, unit: u32) -> Result<(), Fault> {
    let (kind, own) = zone.block(unit).map_err(|_| Fault::Damaged)?;
    if kind == Kind::Free {
        return Err(Fault::Damaged);
    }
    wipe(zone, unit, own);

    let mut size = own;
    if let Some(behind) = free_units(zone, unit + own)? {
        bins::take(zone, unit + own, behind)?;
        size += behind;
    }
    zone.set_header(unit, Header::new(Kind::Free, size, 0));

    let mut start = unit;
    let ahead = before(zone, unit);
    if ahead > 0 && ahead < unit && free_units(zone, unit - ahead)? == Some(ahead) {
        start = unit - ahead;
        size += ahead;
        bins::take(zone, start, ahead)?;
        zone.set_header(start, Header::new(Kind::Free, size, 0));
    }
    set_before(zone, start + size, size);
    bins::put(zone, start, size);
    zone.set(FREE_UNITS, zone.get(FREE_UNITS).wrapping_add(u64::from(own)));
    Ok(())
}

/// The size of a free block; `None` when it is another one, or the arena's end.
fn free_units(zone: &Zone, unit: u32) -> Result<Option<u32>, Fault> {
    if unit == zone.geometry.end {
        return Ok(None);
    }
    let (kind, units) = zone.block(unit).map_err(|_| Fault::Damaged)?;
    Ok((kind == Kind::Free).then_some(units))
}

/// Tells readers that the block is no more, then zeroes it; what is left is a header of
/// `Kind::Building` and the size of the block before.
pub(super) fn wipe(zone: &Zone, unit: u32, units: u32) {
    let header = zone.header(unit);
    zone.set_header(unit, header.with_kind(Kind::Building));
    // A reader that loads one of the zeros below loads the new header too (`Open::close`).
    fence(Ordering::Release);

    let at = zone.at(unit);
    zone.set(at + BEFORE, join(before(zone, unit), 0));
    zone.region.wipe(at + BEFORE + 1, UNIT_WORDS * units as usize - BEFORE - 1);
}
