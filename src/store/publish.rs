//! Publishing a set: all blocks first, then one store, then the old set's end. Locked.

use super::name::{self, About, MAX_NAME, Name};
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::Zone;
use super::{arena, blob, evict, hash, index, set};
use crate::record::{Record, Source};

/// A set to publish.
#[derive(Clone, Copy)]
pub(crate) struct Publication<'a> {
    pub(crate) name: &'a str,
    pub(crate) record: &'a Record,
    /// Drawn before the record was read.
    pub(crate) ticket: u64,
    /// The time of its first use, and of the look at its files; monotonic.
    pub(crate) now_msec: u64,
    /// As `Entry::stat`.
    pub(crate) stat: u64,
}

/// Units that it takes when nothing of it is there yet. `u64::MAX` when something fits into no
/// block.
pub(super) fn needed_units(publication: &Publication<'_>) -> u64 {
    let Publication { name, record, .. } = publication;
    let Some(set) = set::units_of(record).filter(|_| name.len() <= MAX_NAME) else {
        return u64::MAX;
    };
    let mut blobs: Vec<&Vec<u8>> = record.members.iter().flat_map(|m| &m.chain).collect();
    blobs.sort_unstable();
    blobs.dedup();
    let blobs = blobs.into_iter().map(|der| u64::from(blob::units_of(der))).sum::<u64>();
    blobs + u64::from(set) + u64::from(name::units_of(name.as_bytes()))
}

/// Blocks of a set that is not published yet.
#[derive(Default)]
struct Staged {
    blobs: Vec<Link>,
    set: u32,
    /// 0 when the name is there already.
    name: u32,
}

impl Staged {
    /// Allocates everything, the largest part first. `present` is the name's block, which is not
    /// evicted.
    fn fill(
        &mut self,
        zone: &Zone,
        name: &[u8],
        record: &Record,
        present: u32,
    ) -> Result<(), Fault> {
        let alloc = |units| evict::until_fit(zone, units, present, || arena::alloc(zone, units));
        self.set = alloc(set::units_of(record).ok_or(Fault::Full)?)?;
        if present == 0 {
            self.name = alloc(name::units_of(name))?;
        }
        for der in record.members.iter().flat_map(|m| &m.chain) {
            let units = blob::units_of(der);
            self.blobs.push(evict::until_fit(zone, units, present, || blob::intern(zone, der))?);
        }
        Ok(())
    }

    fn discard(self, zone: &Zone) -> Result<(), Fault> {
        for unit in [self.set, self.name] {
            if unit != 0 {
                arena::free(zone, unit)?;
            }
        }
        for link in self.blobs {
            blob::release(zone, link)?;
        }
        Ok(())
    }
}

/// All blocks of the record, or none.
fn stage(zone: &Zone, name: &[u8], record: &Record, present: u32) -> Result<Staged, Fault> {
    let mut staged = Staged::default();
    match staged.fill(zone, name, record, present) {
        Ok(()) => Ok(staged),
        Err(Fault::Full) => {
            staged.discard(zone)?;
            Err(Fault::Full)
        }
        Err(fault) => Err(fault),
    }
}

/// Publishes; the link to the set.
pub(super) fn run(zone: &Zone, publication: &Publication<'_>) -> Result<Link, Fault> {
    let Publication { record, ticket, now_msec, stat, .. } = *publication;
    let name = publication.name.as_bytes();
    let needed = needed_units(publication);
    let hash = hash::of_name(name);
    let old = index::locate(zone, name, hash)?;
    if old.is_some_and(|old| ticket < old.name.about.ticket) {
        return Err(Fault::Overtaken);
    }
    // The old set stays until the new one is published.
    let staying = old.map_or(0, |old| u64::from(zone.header(old.name.set.unit()).units()));
    if needed.saturating_add(staying) > u64::from(zone.geometry.units()) {
        return Err(Fault::Full);
    }

    let present = old.map_or(0, |old| old.link.unit());
    // When all is evicted and it does not fit, what was staged first may lie in the middle.
    let staged = match stage(zone, name, record, present) {
        Err(Fault::Full) => stage(zone, name, record, present)?,
        staged => staged?,
    };

    let unit = if present == 0 { staged.name } else { present };
    set::fill(zone, staged.set, record, &staged.blobs, unit);
    let set = go_live(zone, staged.set, Kind::Set).with(Link::LAZY, record.source == Source::Lazy);
    let about = About { ticket, stat, looked: now_msec };
    if old.is_some() {
        // What is known comes after the set: whoever reads it, and the set after it, has the new set.
        name::set_set(zone, present, set);
        name::set_about(zone, present, about);
    } else {
        let name_ = Name { next: Link::NONE, hash, about, set, found: true };
        insert(zone, unit, name, name_);
    }
    index::count_set(zone, set, 1);
    zone.set(zone.geometry.used + zone.geometry.bucket(hash), now_msec);
    index::announce(zone, hash);

    if let Some(old) = old {
        index::count_set(zone, old.name.set, -1);
        index::discard_set(zone, old.name.set)?;
    }
    Ok(set)
}

/// Lets readers open a block that was filled.
fn go_live(zone: &Zone, unit: u32, kind: Kind) -> Link {
    let header = zone.header(unit).with_kind(kind);
    zone.set_header(unit, header);
    Link::new(unit, header.generation())
}

fn insert(zone: &Zone, unit: u32, bytes: &[u8], content: Name) {
    let head = zone.geometry.heads + zone.geometry.bucket(content.hash);
    name::fill(zone, unit, bytes, Name { next: Link(zone.get(head)), ..content });
    let link = go_live(zone, unit, Kind::Name);
    zone.publish(head, link.0);
}
