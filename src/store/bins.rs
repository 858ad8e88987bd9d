//! The free blocks by size: a list per bin, and a bit per bin that is not empty. Locked.
//!
//! Every step checks what it was led to: a list that is not what it should be is
//! `Fault::Damaged`, never a write to a block that is in use.

use super::layout::{BIN_COUNT, BIN_MAP, BINS};
use super::word::{Kind, halves, join};
use super::write::Fault;
use super::zone::Zone;

/// `[next: 32][previous: 32]`, units of free blocks of the same bin; 0 is none.
const LINKS: usize = 2;

/// How many blocks of a bin are looked at before larger ones are split.
const FEW: usize = 16;
/// How many are looked at when no larger bin has any.
const MANY: usize = 4096;

/// The bin for blocks of `units`: one size each below 32, then a quarter of a power of two.
pub(super) fn of_size(units: u32) -> usize {
    if units < 32 {
        return units as usize;
    }
    let log = units.ilog2();
    32 + 4 * (log as usize - 5) + (units >> (log - 2) & 3) as usize
}

fn head(zone: &Zone, bin: usize) -> u32 {
    zone.get(BINS + bin) as u32
}

fn set_head(zone: &Zone, bin: usize, unit: u32) {
    zone.set(BINS + bin, u64::from(unit));
    let map = BIN_MAP + bin / 64;
    let bit = 1 << (bin % 64);
    zone.set(map, if unit == 0 { zone.get(map) & !bit } else { zone.get(map) | bit });
}

/// The links of a block that must be free.
fn links(zone: &Zone, unit: u32) -> Result<(u32, u32), Fault> {
    match zone.block(unit) {
        Ok((Kind::Free, _)) => Ok(halves(zone.get(zone.at(unit) + LINKS))),
        _ => Err(Fault::Damaged),
    }
}

fn set_links(zone: &Zone, unit: u32, next: u32, previous: u32) {
    zone.set(zone.at(unit) + LINKS, join(next, previous));
}

/// Empties all bins.
pub(super) fn clear(zone: &Zone) {
    zone.region.wipe(BINS, BIN_COUNT);
    zone.region.wipe(BIN_MAP, BIN_COUNT.div_ceil(64));
}

/// Lists a free block.
pub(super) fn put(zone: &Zone, unit: u32, units: u32) {
    let bin = of_size(units);
    let next = head(zone, bin);
    set_links(zone, unit, next, 0);
    if let Ok((after, _)) = links(zone, next) {
        set_links(zone, next, after, unit);
    }
    set_head(zone, bin, unit);
}

/// Takes a free block from its list.
pub(super) fn take(zone: &Zone, unit: u32, units: u32) -> Result<(), Fault> {
    let bin = of_size(units);
    let (next, previous) = links(zone, unit)?;
    if next != 0 && links(zone, next)?.1 != unit {
        return Err(Fault::Damaged);
    }

    if previous == 0 {
        if head(zone, bin) != unit {
            return Err(Fault::Damaged);
        }
        set_head(zone, bin, next);
    } else {
        let (same, before) = links(zone, previous)?;
        if same != unit {
            return Err(Fault::Damaged);
        }
        set_links(zone, previous, next, before);
    }
    if next != 0 {
        let (after, _) = links(zone, next)?;
        set_links(zone, next, after, previous);
    }
    Ok(())
}

/// A free block of `units` or more, with its size: a tight one if a short look finds it.
pub(super) fn find(zone: &Zone, units: u32) -> Result<Option<(u32, u32)>, Fault> {
    let bin = of_size(units);
    if let Some(found) = search(zone, bin, units, FEW)? {
        return Ok(Some(found));
    }
    match next_bin(zone, bin + 1) {
        Some(larger) => search(zone, larger, units, 1),
        None => search(zone, bin, units, MANY),
    }
}

fn search(
    zone: &Zone,
    bin: usize,
    units: u32,
    at_most: usize,
) -> Result<Option<(u32, u32)>, Fault> {
    let mut unit = head(zone, bin);
    for _ in 0..at_most {
        if unit == 0 {
            return Ok(None);
        }
        let (next, _) = links(zone, unit)?;
        let size = zone.header(unit).units();
        if of_size(size) != bin {
            return Err(Fault::Damaged);
        }
        if size >= units {
            return Ok(Some((unit, size)));
        }
        unit = next;
    }
    Ok(None)
}

/// The first bin that is not empty, from `bin` on.
fn next_bin(zone: &Zone, bin: usize) -> Option<usize> {
    let mut from = bin;
    while from < BIN_COUNT {
        let bits = zone.get(BIN_MAP + from / 64) >> (from % 64);
        if bits != 0 {
            let found = from + bits.trailing_zeros() as usize;
            return (found < BIN_COUNT).then_some(found);
        }
        from = (from / 64 + 1) * 64;
    }
    None
}

#[cfg(test)]
pub(super) fn test_links(zone: &Zone, unit: u32) -> (u32, u32) {
    halves(zone.get(zone.at(unit) + LINKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_in_order() {
        assert_eq!(of_size(u32::MAX), BIN_COUNT - 1);
        for units in 2..100_000 {
            let step = of_size(units + 1) - of_size(units);
            assert!(step <= 1 && (step == 1 || units >= 32));
        }
        let logs = (17..32).map(|log| of_size(1 << log) - of_size((1 << log) - 1));
        assert!(logs.into_iter().all(|step| step == 1));
    }
}
