//! The block of a name: one link of a bucket's chain, and the link to the set that the name has.
//!
//! The set's link, what is stored after it and the next name change while readers are there, by one
//! store each; everything else stays until the block is freed.

use std::sync::atomic::Ordering;

use super::layout::UNIT_WORDS;
use super::word::{Kind, Link, halves, join};
use super::zone::{Torn, Zone};

// Offsets in the block, after the header.
/// `[units of the block before: 32][bytes in the name: 32]`
const LENGTH: usize = 1;
pub(super) const NEXT: usize = 2;
const HASH: usize = 3;
const SET: usize = 4;
const TICKET: usize = 5;
/// A hash of what stat says of the files that the set was read from; 0 is not known.
const STAT: usize = 6;
/// The last look at those files, monotonic milliseconds.
const LOOKED: usize = 7;
const BYTES: usize = 8;

/// More bytes than a server name can have.
pub(super) const MAX_NAME: usize = 255;

/// The chains are short; a longer one is a circle.
pub(super) const MAX_CHAIN: usize = 1 << 14;

/// What a name's block said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) next: Link,
    pub(super) hash: u64,
    /// Read before the set, and stored after it: the set is the one that this tells of, or a later
    /// one.
    pub(super) about: About,
    pub(super) set: Link,
    /// Whether it is the name that was looked for.
    pub(super) found: bool,
}

/// What is known of a set besides the set itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// Drawn before the set was read.
    pub(super) ticket: u64,
    /// As of the files that it was read from; 0 is not known.
    pub(super) stat: u64,
    /// The last look at those files, monotonic milliseconds.
    pub(super) looked: u64,
}

/// The units of a name's block.
pub(super) fn units_of(name: &[u8]) -> u32 {
    (BYTES + name.len().div_ceil(8)).div_ceil(UNIT_WORDS) as u32
}

/// Reads the name that was linked to, compared with one that has this hash.
pub(super) fn read(zone: &Zone, link: Link, hash: u64, wanted: &[u8]) -> Result<Name, Torn> {
    let block = zone.open(link, Kind::Name)?;
    let mut name = Name {
        next: Link(zone.region.load(block.at + NEXT, Ordering::Acquire)),
        hash: block.get(HASH),
        about: About::default(),
        set: Link::NONE,
        found: false,
    };
    let (_, len) = halves(block.get(LENGTH));
    if name.hash == hash && len as usize == wanted.len() {
        let at = block.bytes(BYTES, wanted.len())?;
        name.found = zone.region.equals(at, wanted);
    }
    let about = |offset| zone.region.load(block.at + offset, Ordering::Acquire);
    name.about = About { ticket: about(TICKET), stat: about(STAT), looked: about(LOOKED) };
    name.set = Link(zone.region.load(block.at + SET, Ordering::Acquire));
    block.close()?;
    Ok(name)
}

/// The bytes of the name that was linked to.
pub(super) fn bytes(zone: &Zone, link: Link) -> Result<Vec<u8>, Torn> {
    let block = zone.open(link, Kind::Name)?;
    let len = halves(block.get(LENGTH)).1 as usize;
    let mut bytes = Vec::new();
    let whole =
        len <= MAX_NAME && zone.region.read_bytes(block.bytes(BYTES, len)?, len, &mut bytes);
    block.close()?;
    if whole { Ok(bytes) } else { Err(Torn) }
}

/// Fills a block that no reader has a link to.
pub(super) fn fill(zone: &Zone, unit: u32, name: &[u8], content: Name) {
    let at = zone.at(unit);
    let (before, _) = halves(zone.get(at + LENGTH));
    zone.set(at + LENGTH, join(before, name.len() as u32));
    zone.set(at + NEXT, content.next.0);
    zone.set(at + HASH, content.hash);
    zone.set(at + SET, content.set.0);
    set_about(zone, unit, content.about);
    zone.region.write_bytes(at + BYTES, name);
}

/// Gives the name a set, or another flag on the one that it has. Locked, as all that follows.
pub(super) fn set_set(zone: &Zone, unit: u32, set: Link) {
    zone.publish(zone.at(unit) + SET, set.0);
}

/// To be stored after the set.
pub(super) fn set_about(zone: &Zone, unit: u32, about: About) {
    let at = zone.at(unit);
    zone.publish(at + TICKET, about.ticket);
    set_look(zone, unit, about.stat, about.looked);
}

/// Notes a look at the files of the set that the name has.
pub(super) fn set_look(zone: &Zone, unit: u32, stat: u64, looked: u64) {
    let at = zone.at(unit);
    zone.publish(at + STAT, stat);
    zone.publish(at + LOOKED, looked);
}
