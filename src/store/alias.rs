//! The block of an alias: a further name that a set serves, with a link to the name whose set it is.
//!
//! To readers an alias is a hint where to look: whether the set serves a name, its certificate
//! says. So one too many does no harm, and a set is published and removed by its name's word alone,
//! with all aliases there before and until after.

use super::layout::UNIT_WORDS;
use super::name;
use super::node;
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::{Open, Zone};
use super::{arena, hash, index};

// Offsets in the block, after what a name has too.
pub(super) const OWNER: usize = node::OWN;
/// The unit of the next alias of the same owner, for writers only. A repair makes the list anew.
pub(super) const SIBLING: usize = node::OWN + 1;
pub(super) const BYTES: usize = node::OWN + 2;

/// The units of an alias' block.
pub(super) fn units_of(name: &[u8]) -> u32 {
    (BYTES + name.len().div_ceil(8)).div_ceil(UNIT_WORDS) as u32
}

/// The name whose set serves it, from a block that is known to have all words of an alias.
pub(super) fn owner(block: &Open) -> Link {
    Link(block.get(OWNER))
}

/// Makes an alias of a block that was allocated for it. Locked, as all that follows.
pub(super) fn add(zone: &Zone, unit: u32, bytes: &[u8], owner: Link) {
    let hash = hash::of_name(bytes);
    node::fill(zone, unit, BYTES, bytes, hash);
    zone.set(zone.at(unit) + OWNER, owner.0);
    node::enter(zone, unit, Kind::Alias, hash);
    join_siblings(zone, unit, owner.unit());
    index::add_fixed(zone, zone.header(unit).units());
}

/// Empties the list of the name at a unit.
pub(super) fn forget_siblings(zone: &Zone, owner: u32) {
    zone.set(zone.at(owner) + name::ALIASES, 0);
}

/// Puts an alias into the list of its owner, a name at this unit.
pub(super) fn join_siblings(zone: &Zone, unit: u32, owner: u32) {
    let head = zone.at(owner) + name::ALIASES;
    zone.set(zone.at(unit) + SIBLING, zone.get(head));
    zone.set(head, u64::from(unit));
}

/// All aliases of the name at a unit: where each is, and which.
pub(super) fn all_of(zone: &Zone, owner: u32) -> Result<Vec<Link>, Fault> {
    let mut all = Vec::new();
    let mut unit = zone.get(zone.at(owner) + name::ALIASES) as u32;
    while unit != 0 {
        if all.len() > zone.geometry.longest_chain() {
            return Err(Fault::Damaged);
        }
        all.push(checked(zone, unit, owner)?);
        unit = zone.get(zone.at(unit) + SIBLING) as u32;
    }
    Ok(all)
}

/// Frees the aliases of the name at a unit that are among `gone`, sorted units.
pub(super) fn remove(zone: &Zone, owner: u32, gone: &[u32]) -> Result<(), Fault> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut holder = zone.at(owner) + name::ALIASES;
    for link in all_of(zone, owner)? {
        let unit = link.unit();
        if gone.binary_search(&unit).is_err() {
            holder = zone.at(unit) + SIBLING;
            continue;
        }
        index::cut(zone, link)?;
        zone.set(holder, zone.get(zone.at(unit) + SIBLING));
        index::take_fixed(zone, zone.header(unit).units());
        arena::free(zone, unit)?;
    }
    Ok(())
}

/// Frees all aliases of the name at a unit.
pub(super) fn remove_all(zone: &Zone, owner: u32) -> Result<(), Fault> {
    let mut all: Vec<u32> = all_of(zone, owner)?.iter().map(|link| link.unit()).collect();
    all.sort_unstable();
    remove(zone, owner, &all)
}

/// The alias that a writer was led to, which is one of that owner.
fn checked(zone: &Zone, unit: u32, owner: u32) -> Result<Link, Fault> {
    let link = Link::new(unit, zone.header(unit).generation());
    let block = zone.open(link, Kind::Alias).map_err(|_| Fault::Damaged)?;
    let is_whole = block.bytes(BYTES, 0).is_ok();
    let of_owner = self::owner(&block) == Link::new(owner, zone.header(owner).generation());
    if is_whole && of_owner { Ok(link) } else { Err(Fault::Damaged) }
}
