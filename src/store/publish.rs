//! Publishing a set: all blocks first, then one store, then the old set's end. Locked.

use super::index::Spot;
use super::name::{self, About};
use super::node::{self, MAX_NAME};
use super::served::{self, Change};
use super::stage::{self, Plan, Staged};
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::Zone;
use super::{alias, arena, blob, hash, index, reserve, set};
use crate::record::{Record, Source};

/// A set to publish.
#[derive(Clone, Copy)]
pub(crate) struct Publication<'a> {
    /// The name that the set is found, replaced and removed by.
    pub(crate) name: &'a str,
    pub(crate) record: &'a Record,
    /// The names that a set which is not lazy serves besides `name`; which may be among them, as
    /// one may be twice. Nothing to a lazy set.
    pub(crate) served: &'a [&'a str],
    /// Drawn before the record was read.
    pub(crate) ticket: u64,
    /// The time of its first use, and of the look at its files; monotonic.
    pub(crate) now_msec: u64,
    /// As `Entry::stat`.
    pub(crate) stat: u64,
    /// Which publication of the name it is: a ticket. Unlike that of its `Entry` it never changes.
    pub(crate) generation: u64,
    /// As `Entry::seen`.
    pub(crate) seen: u64,
    /// What becomes of the set that is there.
    pub(crate) previous: Previous,
    /// Which set must be there.
    pub(crate) expects: Expects,
    /// A name that is new is refused where there would be no room to replace sets like it
    /// (`reserve`): a replacement is there before what it replaces goes.
    pub(crate) leaves_room: bool,
}

/// What becomes of the set that a publication replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Previous {
    /// The name keeps it as its previous one, while there is room.
    Keep,
    /// It is wiped, with the one that was kept before.
    Drop,
}

/// Which set a name must have for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expects {
    Any,
    /// None of any kind.
    Absent,
    /// The one of this generation.
    Generation(u64),
}

impl Expects {
    /// Fails with the generation that there is.
    pub(super) fn check(self, present: Option<u64>) -> Result<(), Fault> {
        let is_met = match self {
            Expects::Any => true,
            Expects::Absent => present.is_none(),
            Expects::Generation(generation) => present == Some(generation),
        };
        if is_met { Ok(()) } else { Err(Fault::Unexpected(present)) }
    }
}

/// Units that it takes when nothing of it is there yet. `u64::MAX` when something fits into no
/// block.
pub(super) fn needed_units(name: &str, record: &Record, served: &[&str]) -> u64 {
    let blobs = stage::distinct_blobs(record).into_iter();
    let units = blobs.map(|der| u64::from(blob::units_of(der))).sum::<u64>();
    units.saturating_add(own_units(name, record, served))
}

/// As `needed_units`, without the intermediates.
pub(super) fn own_units(name: &str, record: &Record, served: &[&str]) -> u64 {
    let aliases = served::aliases(name, record, served);
    let longest = aliases.iter().map(|alias| alias.len()).fold(name.len(), usize::max);
    let Some(set) = set::room_of(record).filter(|_| longest <= MAX_NAME) else {
        return u64::MAX;
    };
    let names = aliases.into_iter().map(alias::units_of).chain([name::units_of(name.as_bytes())]);
    names.chain([set]).map(u64::from).sum()
}

/// Publishes; the link to the set.
pub(super) fn run(zone: &Zone, publication: &Publication<'_>) -> Result<Link, Fault> {
    let Publication { record, ticket, now_msec, stat, seen, .. } = *publication;
    let name = publication.name.as_bytes();
    let needed = needed_units(publication.name, record, publication.served);
    let hash = hash::of_name(name);
    let old = index::locate(zone, name, hash)?;
    let present_generation = generation_of(zone, old.as_ref())?;
    publication.expects.check(present_generation)?;
    if old.is_some_and(|old| is_overtaken(publication, old.name.about, present_generation)) {
        return Err(Fault::Overtaken);
    }
    if needed > u64::from(zone.geometry.units()) {
        return Err(Fault::Full);
    }

    let present = old.map_or(0, |old| old.link.unit());
    let change = Change::of(zone, publication, present)?;
    let new_name = old.is_none().then_some(name);
    let leaves_room = publication.leaves_room && old.is_none();
    let plan = Plan { record, name: new_name, aliases: &change.added, needed, leaves_room };
    let staged = stage::run(zone, &plan, old.as_ref())?;

    let about = About { ticket, stat, looked: now_msec, seen, failure: 0 };
    let owner = match old {
        Some(old) => old.link,
        None => {
            name::fill(zone, staged.name, name, hash, about);
            node::enter(zone, staged.name, Kind::Name, hash)
        }
    };
    for (bytes, unit) in change.added.iter().zip(&staged.aliases) {
        alias::add(zone, *unit, bytes, owner);
    }
    let set = make_set(zone, publication, &staged, staged.set, owner);
    index::count_in(zone, owner.unit(), set);
    // Where the new set takes the place of the old one, that one cannot be kept.
    let previous_kind = if staged.is_in_reserve { Previous::Drop } else { publication.previous };
    // Staging may have dropped it for room.
    let before_old = name::previous(zone, owner.unit());
    if let Some(old) = old {
        let previous = match previous_kind {
            Previous::Keep => old.name.set.without_flags(),
            Previous::Drop => Link::NONE,
        };
        // First: a writer that dies leaves no set with one before it that is not the one before.
        name::set_previous(zone, owner.unit(), previous);
    }
    zone.set(zone.geometry.used + zone.geometry.bucket(hash), now_msec);
    // The one store: by its name and by all that it serves, the set is there. What is known of it
    // comes after it: whoever reads that, and the set after that, has the new set.
    name::set_set(zone, owner.unit(), set);
    name::set_about(zone, owner.unit(), about);
    index::announce(zone, &change.hashes);

    if let Some(old) = old {
        index::count_out(zone, owner.unit(), old.name.set);
        retire_old(zone, previous_kind, &old, before_old)?;
        alias::remove(zone, owner.unit(), &change.dropped)?;
    }
    let set = match staged.is_in_reserve {
        true => leave_reserve(zone, publication, &staged, owner, set, &change.hashes)?,
        false => set,
    };
    reserve::free_if_unused(zone)?;
    Ok(set)
}

/// Has a set that is in the reserve where there is room by now; the link to it.
fn leave_reserve(
    zone: &Zone,
    publication: &Publication<'_>,
    staged: &Staged,
    owner: Link,
    set: Link,
    hashes: &[u64],
) -> Result<Link, Fault> {
    let record = publication.record;
    let Some((own, room)) = set::units_of(record).zip(set::room_of(record)) else {
        return Err(Fault::Damaged);
    };
    let unit = match arena::alloc_up_to(zone, own, room) {
        Ok(unit) => unit,
        // It stays, and there is no reserve any more.
        Err(Fault::Full) => return Ok(set),
        Err(fault) => return Err(fault),
    };
    let moved = make_set(zone, publication, staged, unit, owner);
    index::count_in(zone, owner.unit(), moved);
    name::set_set(zone, owner.unit(), moved);
    index::announce(zone, hashes);
    index::count_out(zone, owner.unit(), set);
    reserve::put(zone, set.unit())?;
    Ok(moved)
}

/// What becomes of a set that was replaced, and of the one that was kept before it.
fn retire_old(zone: &Zone, previous: Previous, old: &Spot, before_old: Link) -> Result<(), Fault> {
    match previous {
        Previous::Keep => index::count_previous(zone, old.name.set)?,
        Previous::Drop => index::discard_set(zone, old.name.set, !old.name.is_lazy())?,
    }
    if before_old.is_none() {
        return Ok(());
    }
    index::discard_previous(zone, old.link.unit(), before_old)
}

/// The generation of the set that a name has.
pub(super) fn generation_of(zone: &Zone, spot: Option<&Spot>) -> Result<Option<u64>, Fault> {
    let generation = |spot: &Spot| set::generation(zone, spot.name.set).map_err(|_| Fault::Damaged);
    spot.map(generation).transpose()
}

/// Whether what is there is the newer one. A look at files gives a set that was read or pushed
/// another ticket, which says nothing of a push: that one goes by the order of generations.
fn is_overtaken(publication: &Publication<'_>, about: About, present: Option<u64>) -> bool {
    let is_below = |number: u64| present.is_some_and(|present| number < present);
    match publication.record.source {
        Source::Pushed => is_below(publication.generation),
        Source::Lazy | Source::Startup => {
            publication.ticket < about.ticket || is_below(publication.ticket)
        }
    }
}

/// Gives a name that keeps no previous set one, if there is room as it is; false when there is
/// not, when the name has no set or keeps one already, or when the record is not of an earlier
/// generation.
pub(super) fn add_previous(
    zone: &Zone,
    name: &str,
    generation: u64,
    record: &Record,
) -> Result<bool, Fault> {
    let Some(spot) = index::locate(zone, name.as_bytes(), hash::of_name(name.as_bytes()))? else {
        return Ok(false);
    };
    let is_later = generation_of(zone, Some(&spot))?.is_some_and(|now| generation < now);
    if !is_later || !name::previous(zone, spot.link.unit()).is_none() {
        return Ok(false);
    }
    let Some(staged) = stage::without_eviction(zone, record)? else { return Ok(false) };
    set::fill(zone, staged.set, record, generation, &staged.blobs, spot.link.unit());
    let link = zone.go_live(staged.set, Kind::Set);
    name::set_previous(zone, spot.link.unit(), link);
    index::count_previous(zone, link.with(Link::LAZY, true))?;
    Ok(true)
}

/// The set in its block, which no name links to yet.
fn make_set(
    zone: &Zone,
    publication: &Publication<'_>,
    staged: &Staged,
    unit: u32,
    owner: Link,
) -> Link {
    let Publication { record, generation, .. } = *publication;
    set::fill(zone, unit, record, generation, &staged.blobs, owner.unit());
    zone.go_live(unit, Kind::Set).with_source(record.source)
}
