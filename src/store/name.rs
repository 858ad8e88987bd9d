//! The block of a name: the links to the set that it has and to the one before that, and what is
//! known of the set.
//!
//! The set's link and what is stored after it change while readers are there, by one store each.
//! A name without a set is none to readers: it is not published yet, or it was removed.

use crate::ffi::atomic::Ordering;

use super::groups::Hint;
use super::layout::UNIT_WORDS;
use super::word::{Kind, Link};
use super::zone::{Open, Torn, Zone};
use super::{alias, groups, node};

// Offsets in the block, after what an alias has too.
const SET: usize = node::OWN;
const TICKET: usize = node::OWN + 1;
/// A hash of what stat says of the files that the set was read from; 0 is not known.
const STAT: usize = node::OWN + 2;
/// The last look at those files, monotonic milliseconds.
const LOOKED: usize = node::OWN + 3;
/// Link to the set before the present one, where that is kept. Stored before the set's link: while
/// both lead to the same block, there is none.
const PREVIOUS: usize = node::OWN + 4;
/// What the files of the name held at the last look: see `Entry::seen`.
const SEEN: usize = node::OWN + 5;
/// Why the last change of the set failed: see `Entry::failure`.
const FAILURE: usize = node::OWN + 6;
/// The unit of the first of its aliases, for writers only. A repair makes the list anew.
pub(super) const ALIASES: usize = node::OWN + 7;
pub(super) const BYTES: usize = node::OWN + 8;

/// What a name's block said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Name {
    /// Read before the set, and stored after it: the set is the one that this tells of, or a later
    /// one.
    pub(super) about: About,
    /// As it is stored. Without flags, as its set is neither found nor kept by them.
    pub(super) previous: Link,
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
    /// As `Entry::seen`.
    pub(super) seen: u64,
    /// As `Entry::failure`.
    pub(super) failure: u64,
}

impl Name {
    pub(super) fn is_lazy(&self) -> bool {
        self.set.has(Link::LAZY)
    }

    /// The link to the previous set, when one is kept.
    pub(super) fn previous(&self) -> Option<Link> {
        let is_one = !self.previous.is_none() && self.previous != self.set.without_flags();
        is_one.then_some(self.previous)
    }
}

/// The units of a name's block.
pub(super) fn units_of(name: &[u8]) -> u32 {
    (BYTES + name.len().div_ceil(8)).div_ceil(UNIT_WORDS) as u32
}

/// Reads a block that is known to have all words of a name.
pub(super) fn read(block: &Open) -> Name {
    let load = |offset| block.zone.region.load(block.at + offset, Ordering::Acquire);
    let about = About {
        ticket: load(TICKET),
        stat: load(STAT),
        looked: load(LOOKED),
        seen: load(SEEN),
        failure: load(FAILURE),
    };
    Name { about, previous: Link(load(PREVIOUS)), set: Link(load(SET)) }
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
    set_previous(zone, unit, Link::NONE);
    set_about(zone, unit, about);
    alias::forget_siblings(zone, unit);
}

/// Gives the name a set, or another flag on the one that it has. Locked, as all that follows.
pub(super) fn set_set(zone: &Zone, unit: u32, set: Link) {
    zone.publish(zone.at(unit) + SET, set.0);
    groups::note_change(zone, node::bucket(zone, unit));
}

/// Has the name keep a set as its previous one; none by `Link::NONE`.
pub(super) fn set_previous(zone: &Zone, unit: u32, previous: Link) {
    if !previous.is_none() {
        groups::mark(zone, Hint::Previous, node::bucket(zone, unit));
    }
    zone.publish(zone.at(unit) + PREVIOUS, previous.0);
}

/// The link to the set that a name has.
pub(super) fn set(zone: &Zone, unit: u32) -> Link {
    Link(zone.get(zone.at(unit) + SET))
}

/// The link to the previous set of a name, as it is stored.
pub(super) fn previous(zone: &Zone, unit: u32) -> Link {
    Link(zone.get(zone.at(unit) + PREVIOUS))
}

/// To be stored after the set.
pub(super) fn set_about(zone: &Zone, unit: u32, about: About) {
    set_ticket(zone, unit, about.ticket);
    set_look(zone, unit, about.stat, about.looked);
    set_seen(zone, unit, about.seen);
    set_failure(zone, unit, about.failure);
}

pub(super) fn set_ticket(zone: &Zone, unit: u32, ticket: u64) {
    zone.publish(zone.at(unit) + TICKET, ticket);
}

pub(super) fn set_seen(zone: &Zone, unit: u32, seen: u64) {
    zone.publish(zone.at(unit) + SEEN, seen);
}

pub(super) fn set_failure(zone: &Zone, unit: u32, failure: u64) {
    zone.publish(zone.at(unit) + FAILURE, failure);
    groups::note_change(zone, node::bucket(zone, unit));
}

/// Notes a look at the files of the set that the name has.
pub(super) fn set_look(zone: &Zone, unit: u32, stat: u64, looked: u64) {
    zone.publish(zone.at(unit) + STAT, stat);
    zone.publish(zone.at(unit) + LOOKED, looked);
}
