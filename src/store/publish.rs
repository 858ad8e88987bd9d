//! Publishing a set: all blocks first, then one store, then the old set's end. Locked.

use super::name::{self, About};
use super::node::{self, MAX_NAME};
use super::served::{self, Change};
use super::stage::{self, Plan, Staged};
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::Zone;
use super::{alias, blob, hash, index, set};
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
    let Some(set) = set::units_of(record).filter(|_| longest <= MAX_NAME) else {
        return u64::MAX;
    };
    let names = aliases.into_iter().map(alias::units_of).chain([name::units_of(name.as_bytes())]);
    names.chain([set]).map(u64::from).sum()
}

/// Publishes; the link to the set.
pub(super) fn run(zone: &Zone, publication: &Publication<'_>) -> Result<Link, Fault> {
    let Publication { record, ticket, now_msec, stat, .. } = *publication;
    let name = publication.name.as_bytes();
    let needed = needed_units(publication.name, record, publication.served);
    let hash = hash::of_name(name);
    let old = index::locate(zone, name, hash)?;
    if old.is_some_and(|old| ticket < old.name.about.ticket) {
        return Err(Fault::Overtaken);
    }
    if needed > u64::from(zone.geometry.units()) {
        return Err(Fault::Full);
    }

    let present = old.map_or(0, |old| old.link.unit());
    let change = Change::of(zone, publication, present)?;
    let new_name = old.is_none().then_some(name);
    let plan = Plan { record, name: new_name, aliases: &change.added, needed };
    let staged = stage::run(zone, &plan, old.as_ref())?;

    let about = About { ticket, stat, looked: now_msec };
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
    let set = make_set(zone, record, &staged, owner);
    index::count_in(zone, owner.unit(), set);
    // The one store: by its name and by all that it serves, the set is there. What is known of it
    // comes after it: whoever reads that, and the set after that, has the new set.
    name::set_set(zone, owner.unit(), set);
    name::set_about(zone, owner.unit(), about);
    zone.set(zone.geometry.used + zone.geometry.bucket(hash), now_msec);
    index::announce(zone, &change.hashes);

    if let Some(old) = old {
        index::count_out(zone, owner.unit(), old.name.set);
        index::discard_set(zone, old.name.set)?;
        alias::remove(zone, owner.unit(), &change.dropped)?;
    }
    Ok(set)
}

/// The set's block, which no name links to yet.
fn make_set(zone: &Zone, record: &Record, staged: &Staged, owner: Link) -> Link {
    set::fill(zone, staged.set, record, &staged.blobs, owner.unit());
    zone.go_live(staged.set, Kind::Set).with(Link::LAZY, record.source == Source::Lazy)
}
