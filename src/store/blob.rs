//! The block of an intermediate certificate, stored once for all sets that send it.
//!
//! Found by content under the lock, by link without it. The counts of links and the chains of the
//! blob buckets are for writers only, and a repair makes them anew.

use super::layout::UNIT_WORDS;
use super::word::{Kind, Link, halves, join};
use super::write::Fault;
use super::zone::{Torn, Zone};
use super::{arena, index};

/// The chains are short; a longer one is a circle.
const MAX_CHAIN: usize = 1 << 14;

// Offsets in the block, after the header.
/// `[units of the block before: 32][bytes: 32]`
const LENGTH: usize = 1;
/// `[unit of the next blob: 32][links to it: 32]`
const NEXT_COUNT: usize = 2;
/// The first 16 bytes of the SHA-256.
const DIGEST: usize = 3;
/// Those of the links that are of sets that are not evicted.
const FIXED: usize = 5;
const BYTES: usize = 6;

/// The units of a blob of so many bytes.
pub(super) fn units_of(der: &[u8]) -> u32 {
    (BYTES + der.len().div_ceil(8)).div_ceil(UNIT_WORDS).try_into().unwrap_or(u32::MAX)
}

/// A consistent copy of the blob that was linked to.
pub(super) fn read(zone: &Zone, link: Link) -> Result<Vec<u8>, Torn> {
    let block = zone.open(link, Kind::Blob)?;
    let len = halves(block.get(LENGTH)).1 as usize;
    let at = block.bytes(BYTES, len)?;
    let mut der = Vec::new();
    let whole = zone.region.read_bytes(at, len, &mut der);
    block.close()?;
    if whole { Ok(der) } else { Err(Torn) }
}

/// Whether the link is to a blob whose bytes are inside of its block.
pub(super) fn is_whole(zone: &Zone, link: Link) -> bool {
    zone.open(link, Kind::Blob)
        .and_then(|block| block.bytes(BYTES, halves(block.get(LENGTH)).1 as usize))
        .is_ok()
}

fn digest_of(der: &[u8]) -> [u64; 2] {
    let digest = openssl::sha::sha256(der);
    let word = |at: usize| {
        digest.iter().skip(at).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    [word(0), word(8)]
}

/// The blob with these bytes, if it is there. Locked, as all that follows.
pub(super) fn find(zone: &Zone, der: &[u8]) -> Result<Option<Link>, Fault> {
    search(zone, der, digest_of(der))
}

fn search(zone: &Zone, der: &[u8], digest: [u64; 2]) -> Result<Option<Link>, Fault> {
    let [first, second] = digest;
    let mut unit = zone.get(zone.geometry.blob_bucket(first)) as u32;
    for _ in 0..MAX_CHAIN {
        if unit == 0 {
            return Ok(None);
        }
        let at = checked(zone, unit)?;
        let same = (zone.get(at + DIGEST), zone.get(at + DIGEST + 1)) == (first, second)
            && halves(zone.get(at + LENGTH)).1 as usize == der.len()
            && zone.region.equals(at + BYTES, der);
        if same {
            return Ok(Some(Link::new(unit, zone.header(unit).generation())));
        }
        (unit, _) = halves(zone.get(at + NEXT_COUNT));
    }
    Err(Fault::Damaged)
}

/// The blob with these bytes, its count one higher: the one that is there, or a new one. `is_fixed`
/// when the set that is going to link to it is not evicted.
pub(super) fn intern(zone: &Zone, der: &[u8], is_fixed: bool) -> Result<Link, Fault> {
    let digest = digest_of(der);
    let link = match search(zone, der, digest)? {
        Some(link) => link,
        None => create(zone, der, digest)?,
    };
    if count_link(zone, link, is_fixed) {
        index::add_fixed(zone, zone.header(link.unit()).units());
    }
    Ok(link)
}

fn create(zone: &Zone, der: &[u8], digest: [u64; 2]) -> Result<Link, Fault> {
    let [first, _] = digest;
    let bucket = zone.geometry.blob_bucket(first);
    let unit = arena::alloc(zone, units_of(der))?;
    let at = zone.at(unit);
    let (before, _) = halves(zone.get(at + LENGTH));
    zone.set(at + LENGTH, join(before, der.len() as u32));
    zone.set(at + NEXT_COUNT, join(zone.get(bucket) as u32, 0));
    for (i, word) in digest.into_iter().enumerate() {
        zone.set(at + DIGEST + i, word);
    }
    zone.set(at + FIXED, 0);
    zone.region.write_bytes(at + BYTES, der);

    let link = zone.go_live(unit, Kind::Blob);
    zone.set(bucket, u64::from(unit));
    Ok(link)
}

/// Takes one link to the blob away, and frees it with the last.
pub(super) fn release(zone: &Zone, link: Link, is_fixed: bool) -> Result<(), Fault> {
    let unit = link.unit();
    let at = checked(zone, unit)?;
    if is_fixed {
        unfix(zone, link)?;
    }
    let (next, count) = halves(zone.get(at + NEXT_COUNT));
    if count > 1 {
        zone.set(at + NEXT_COUNT, join(next, count - 1));
        return Ok(());
    }

    let bucket = zone.geometry.blob_bucket(zone.get(at + DIGEST));
    if zone.get(bucket) as u32 == unit {
        zone.set(bucket, u64::from(next));
        return arena::free(zone, unit);
    }
    let mut before = zone.get(bucket) as u32;
    for _ in 0..MAX_CHAIN {
        let at = checked(zone, before)?;
        let (then, count) = halves(zone.get(at + NEXT_COUNT));
        if then == unit {
            zone.set(at + NEXT_COUNT, join(next, count));
            return arena::free(zone, unit);
        }
        before = then;
    }
    Err(Fault::Damaged)
}

/// Notes that the set of one link, which stays, may be evicted from now on.
pub(super) fn unfix(zone: &Zone, link: Link) -> Result<(), Fault> {
    let at = checked(zone, link.unit())?;
    let fixed = zone.get(at + FIXED);
    zone.set(at + FIXED, fixed.wrapping_sub(1));
    if fixed == 1 {
        index::take_fixed(zone, zone.header(link.unit()).units());
    }
    Ok(())
}

/// Whether a set that is not evicted links to the blob, which is there.
pub(super) fn is_fixed(zone: &Zone, link: Link) -> bool {
    zone.get(zone.at(link.unit()) + FIXED) > 0
}

/// The word where a blob starts that a writer was led to.
fn checked(zone: &Zone, unit: u32) -> Result<usize, Fault> {
    match zone.block(unit) {
        Ok((Kind::Blob, units)) if UNIT_WORDS * units as usize >= BYTES => Ok(zone.at(unit)),
        _ => Err(Fault::Damaged),
    }
}

/// Repair: puts a blob into its bucket again, with no link counted yet.
pub(super) fn relist(zone: &Zone, unit: u32) {
    let at = zone.at(unit);
    let bucket = zone.geometry.blob_bucket(zone.get(at + DIGEST));
    zone.set(at + NEXT_COUNT, join(zone.get(bucket) as u32, 0));
    zone.set(at + FIXED, 0);
    zone.set(bucket, u64::from(unit));
}

/// Counts a link; true for the first one of a set that is not evicted. Wraps never: there are fewer
/// links than units in a zone.
pub(super) fn count_link(zone: &Zone, link: Link, is_fixed: bool) -> bool {
    let at = zone.at(link.unit());
    let (next, count) = halves(zone.get(at + NEXT_COUNT));
    zone.set(at + NEXT_COUNT, join(next, count.saturating_add(1)));
    let fixed = zone.get(at + FIXED);
    if is_fixed {
        zone.set(at + FIXED, fixed.wrapping_add(1));
    }
    is_fixed && fixed == 0
}

/// The next blob, the links, and those of sets that are not evicted.
#[cfg(test)]
pub(super) fn test_counts(zone: &Zone, unit: u32) -> (u32, u32, u64) {
    let (next, count) = halves(zone.get(zone.at(unit) + NEXT_COUNT));
    (next, count, zone.get(zone.at(unit) + FIXED))
}
