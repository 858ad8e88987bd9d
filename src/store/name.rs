//! The block of a name: the link to the set that it has, and what is known of the set.
//!
//! The set's link and what is stored after it change while readers are there, by one store each.
//! A name without a set is none to readers: it is not published yet, or it was removed.

use std::sync::atomic::Ordering;

use super::layout::UNIT_WORDS;
use super::word::{Kind, Link};
use super::zone::{Open, Torn, Zone};
use super::{alias, node};

// Offsets in the block, after what an alias has too.
const SET: usize = node::OWN;
const TICKET: usize = node::OWN + 1;
/// A hash of what stat says of the files that the set was read from; 0 is not known.
const STAT: usize = node::OWN + 2;
/// The last look at those files, monotonic milliseconds.
const LOOKED: usize = node::OWN + 3;
/// The unit of the first of its aliases, for writers only. A repair makes the list anew.
pub(super) const ALIASES: usize = node::OWN + 4;
pub(super) const BYTES: usize = node::OWN + 5;

/// What a name's block said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// Read before the set, and stored after it: the set is the one that this tells of, or a later
    /// one.
    pub(super) about: About,
    pub(super) set: Link,
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

impl Name {
    pub(super) fn is_lazy(&self) -> bool {
        self.set.has(Link::LAZY)
    }
}

/// The units of a name's block.
pub(super) fn units_of(name: &[u8]) -> u32 {
    (BYTES + name.len().div_ceil(8)).div_ceil(UNIT_WORDS) as u32
}

/// Reads a block that is known to have all words of a name.
pub(super) fn read(block: &Open) -> Name {
    let load = |offset| block.zone.region.load(block.at + offset, Ordering::Acquire);
    let about = About { ticket: load(TICKET), stat: load(STAT), looked: load(LOOKED) };
    Name { about, set: Link(load(SET)) }
}

/// Reads the name that an alias, or a set's block, says is its owner, in whatever chain it is.
pub(super) fn read_owner(zone: &Zone, link: Link) -> Result<Name, Torn> {
    let block = zone.open(link, Kind::Name)?;
    block.bytes(BYTES, 0)?;
    let name = read(&block);
    block.close()?;
    Ok(name)
}

/// Fills a block that no reader has a link to: a name without a set.
pub(super) fn fill(zone: &Zone, unit: u32, name: &[u8], hash: u64, about: About) {
    node::fill(zone, unit, BYTES, name, hash);
    set_set(zone, unit, Link::NONE);
    set_about(zone, unit, about);
    alias::forget_siblings(zone, unit);
}

/// Gives the name a set, or another flag on the one that it has. Locked, as all that follows.
pub(super) fn set_set(zone: &Zone, unit: u32, set: Link) {
    zone.publish(zone.at(unit) + SET, set.0);
}

/// To be stored after the set.
pub(super) fn set_about(zone: &Zone, unit: u32, about: About) {
    zone.publish(zone.at(unit) + TICKET, about.ticket);
    set_look(zone, unit, about.stat, about.looked);
}

/// Notes a look at the files of the set that the name has.
pub(super) fn set_look(zone: &Zone, unit: u32, stat: u64, looked: u64) {
    zone.publish(zone.at(unit) + STAT, stat);
    zone.publish(zone.at(unit) + LOOKED, looked);
}
