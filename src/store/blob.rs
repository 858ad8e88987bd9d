//! The block of an intermediate certificate, stored once for all sets that send it.
//!
//! Found by content under the lock, by link without it. The count of sets and the chains of the
//! blob buckets are for writers only, and a repair makes them anew.

use super::arena;
use super::layout::UNIT_WORDS;
use super::name::MAX_CHAIN;
use super::word::{Kind, Link, halves, join};
use super::write::Fault;
use super::zone::{Torn, Zone};

// Offsets in the block, after the header.
/// `[units of the block before: 32][bytes: 32]`
const LENGTH: usize = 1;
/// `[unit of the next blob: 32][links to it: 32]`
const NEXT_COUNT: usize = 2;
/// The first 16 bytes of the SHA-256.
const DIGEST: usize = 3;
const BYTES: usize = 5;

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

/// The blob with these bytes, its count one higher: the one that is there, or a new one. Locked.
pub(super) fn intern(zone: &Zone, der: &[u8]) -> Result<Link, Fault> {
    let digest = digest_of(der);
    let [first, second] = digest;
    let bucket = zone.geometry.blob_bucket(first);

    let mut unit = zone.get(bucket) as u32;
    for _ in 0..MAX_CHAIN {
        if unit == 0 {
            return create(zone, der, digest, bucket);
        }
        let at = checked(zone, unit)?;
        let (next, count) = halves(zone.get(at + NEXT_COUNT));
        let same = (zone.get(at + DIGEST), zone.get(at + DIGEST + 1)) == (first, second)
            && halves(zone.get(at + LENGTH)).1 as usize == der.len()
            && zone.region.equals(at + BYTES, der);
        if same {
            zone.set(at + NEXT_COUNT, join(next, count.checked_add(1).ok_or(Fault::Damaged)?));
            return Ok(Link::new(unit, zone.header(unit).generation()));
        }
        unit = next;
    }
    Err(Fault::Damaged)
}

fn create(zone: &Zone, der: &[u8], digest: [u64; 2], bucket: usize) -> Result<Link, Fault> {
    let unit = arena::alloc(zone, units_of(der))?;
    let at = zone.at(unit);
    let (before, _) = halves(zone.get(at + LENGTH));
    zone.set(at + LENGTH, join(before, der.len() as u32));
    zone.set(at + NEXT_COUNT, join(zone.get(bucket) as u32, 1));
    for (i, word) in digest.into_iter().enumerate() {
        zone.set(at + DIGEST + i, word);
    }
    zone.region.write_bytes(at + BYTES, der);

    let header = zone.header(unit).with_kind(Kind::Blob);
    zone.set_header(unit, header);
    zone.set(bucket, u64::from(unit));
    Ok(Link::new(unit, header.generation()))
}

/// Takes one link to the blob away, and frees it with the last. Locked.
pub(super) fn release(zone: &Zone, link: Link) -> Result<(), Fault> {
    let unit = link.unit();
    let at = checked(zone, unit)?;
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

/// The word where a blob starts that a writer was led to.
fn checked(zone: &Zone, unit: u32) -> Result<usize, Fault> {
    match zone.block(unit) {
        Ok((Kind::Blob, _)) => Ok(zone.at(unit)),
        _ => Err(Fault::Damaged),
    }
}

/// Repair: puts a blob into its bucket again, with no link counted yet.
pub(super) fn relist(zone: &Zone, unit: u32) {
    let at = zone.at(unit);
    let bucket = zone.geometry.blob_bucket(zone.get(at + DIGEST));
    zone.set(at + NEXT_COUNT, join(zone.get(bucket) as u32, 0));
    zone.set(bucket, u64::from(unit));
}

/// Repair: counts a link. Wraps never: there are fewer links than units in a zone.
pub(super) fn count_link(zone: &Zone, link: Link) {
    let at = zone.at(link.unit());
    let (next, count) = halves(zone.get(at + NEXT_COUNT));
    zone.set(at + NEXT_COUNT, join(next, count.saturating_add(1)));
}

#[cfg(test)]
pub(super) fn test_next_count(zone: &Zone, unit: u32) -> (u32, u32) {
    halves(zone.get(zone.at(unit) + NEXT_COUNT))
}
