//! Room that is kept aside while there are pushed sets, so that one can be replaced where there is no
//! other: the new set is in it from the one store that makes it the present one until the block of the
//! old one is free, and then there. Locked.
//!
//! A block of `Kind::Building`, which no link leads to: a repair frees it, and makes another.

use super::layout::{MIN_UNITS, PUSHED_SETS, RESERVE, UNIT_BYTES};
use super::word::{Header, Kind};
use super::write::Fault;
use super::zone::Zone;
use super::{arena, set};
use crate::record::{Record, Source};

/// Larger sets are replaced where there is room otherwise, bytes.
const MOST: u64 = 16 * 1024;
/// As a part of the arena.
const SHARE: u32 = 16;

/// Its units; 0 when there is none.
pub(super) fn units(zone: &Zone) -> u32 {
    let unit = zone.get(RESERVE) as u32;
    match zone.block(unit) {
        Ok((Kind::Building, units)) if unit != 0 => units,
        _ => 0,
    }
}

/// How large it is at the most, in units.
pub(super) fn most(zone: &Zone) -> u32 {
    (zone.geometry.units() / SHARE).min((MOST / UNIT_BYTES) as u32)
}

/// How large it must be for sets like this one, in units.
pub(super) fn wanted(zone: &Zone, record: &Record) -> u32 {
    match record.source {
        Source::Pushed => set::room_of(record).filter(|room| *room <= most(zone)).unwrap_or(0),
        Source::Lazy | Source::Startup => 0,
    }
}

/// Makes it as large, by `alloc`. When that fails it is as before.
pub(super) fn grow(
    zone: &Zone,
    wanted: u32,
    alloc: impl FnOnce(u32) -> Result<u32, Fault>,
) -> Result<(), Fault> {
    let present = units(zone);
    if wanted <= present {
        return Ok(());
    }
    // Its room may be a part of the larger one.
    free(zone)?;
    let grown = alloc(wanted);
    let unit = match grown {
        Ok(unit) => unit,
        Err(_) if present == 0 => return grown.map(drop),
        Err(_) => arena::alloc(zone, present)?,
    };
    zone.set(RESERVE, unit.into());
    grown.map(drop)
}

/// The block, to be filled as one that was just allocated; to be given back by `put()`.
pub(super) fn take(zone: &Zone) -> Option<u32> {
    let units = units(zone);
    let unit = zone.get(RESERVE) as u32;
    (units >= MIN_UNITS).then(|| {
        // Whoever still has a link to the set that was in it last must not take another for it.
        let generation = arena::next_generation(zone);
        zone.set_header(unit, Header::new(Kind::Building, units, generation));
        zone.set(RESERVE, 0);
        unit
    })
}

/// Wipes a block that was taken and keeps it aside again.
pub(super) fn put(zone: &Zone, unit: u32) -> Result<(), Fault> {
    let (_, units) = zone.block(unit).map_err(|_| Fault::Damaged)?;
    arena::wipe(zone, unit, units);
    zone.set(RESERVE, unit.into());
    Ok(())
}

/// Frees it when there is no pushed set any more.
pub(super) fn free_if_unused(zone: &Zone) -> Result<(), Fault> {
    if zone.get(PUSHED_SETS) == 0 { free(zone) } else { Ok(()) }
}

fn free(zone: &Zone) -> Result<(), Fault> {
    if units(zone) == 0 {
        return Ok(());
    }
    let unit = zone.get(RESERVE) as u32;
    zone.set(RESERVE, 0);
    arena::free(zone, unit)
}
