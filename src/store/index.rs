//! The chains of names and aliases, as a writer walks and changes them. Locked.

use crate::ffi::atomic::Ordering;

use super::groups::Hint;
use super::layout::{
    CHANGES, FIXED_SETS, FIXED_UNITS, LAZY_SETS, PREVIOUS_SETS, PUSHED_SETS, stripe,
};
use super::name::{self, Name};
use super::node::{self, Node, Role};
use super::set::{self, Shape};
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::{Torn, Zone};
use super::{alias, arena, blob, groups};

/// A block of a chain, and the word that links to it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) holder: usize,
    pub(super) link: Link,
    pub(super) node: Node,
}

impl Place {
    /// `None` when it is an alias.
    pub(super) fn spot(&self) -> Option<Spot> {
        let Place { holder, link, node } = *self;
        match node.role {
            Role::Name(name) => Some(Spot { holder, link, next: node.next, hash: node.hash, name }),
            Role::Alias { .. } => None,
        }
    }
}

/// A name, and the word that links to it.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) holder: usize,
    pub(super) link: Link,
    pub(super) next: Link,
    pub(super) hash: u64,
    pub(super) name: Name,
}

/// The names and aliases of a bucket.
pub(super) struct Chain<'a> {
    zone: &'a Zone,
    bucket: usize,
    holder: usize,
    hash: u64,
    wanted: &'a [u8],
    left: usize,
}

impl<'a> Chain<'a> {
    /// All of a bucket, compared with none.
    pub(super) fn of(zone: &'a Zone, bucket: usize) -> Chain<'a> {
        let holder = zone.geometry.heads + bucket;
        Chain { zone, bucket, holder, hash: 0, wanted: b"", left: zone.geometry.longest_chain() }
    }

    /// All of a bucket of which a repair knows that it ends.
    pub(super) fn unbounded(zone: &'a Zone, bucket: usize) -> Chain<'a> {
        Chain { left: usize::MAX, ..Chain::of(zone, bucket) }
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Place, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let link = Link(self.zone.get(self.holder));
        if link.is_none() {
            return None;
        }
        let node = node::read(self.zone, link, self.hash, self.wanted);
        let good = |node: &Node| self.zone.geometry.bucket(node.hash) == self.bucket;
        let Some(node) = node.ok().filter(good).filter(|_| self.left > 0) else {
            return Some(Err(Fault::Damaged));
        };
        let place = Place { holder: self.holder, link, node };
        self.left -= 1;
        self.holder = self.zone.at(link.unit()) + node::NEXT;
        Some(Ok(place))
    }
}

/// The names of a bucket.
pub(super) fn names(zone: &Zone, bucket: usize) -> impl Iterator<Item = Result<Spot, Fault>> + '_ {
    Chain::of(zone, bucket).filter_map(|place| place.map(|place| place.spot()).transpose())
}

/// Where the name is, and its set; `None` when it is not there.
pub(super) fn locate(zone: &Zone, wanted: &[u8], hash: u64) -> Result<Option<Spot>, Fault> {
    let chain = Chain { hash, wanted, ..Chain::of(zone, zone.geometry.bucket(hash)) };
    for place in chain {
        let place = place?;
        if let Some(spot) = place.spot().filter(|_| place.node.found) {
            // Only a write that is under way, or a dead one, leaves a name without.
            let has_set = !spot.name.set.is_none();
            return if has_set { Ok(Some(spot)) } else { Err(Fault::Damaged) };
        }
    }
    Ok(None)
}

/// Makes cached answers for names of these hashes look again. One change of each stripe, however
/// many of the names share it: `Stamp::is_just_before` counts.
pub(super) fn announce(zone: &Zone, hashes: &[u64]) {
    let mut stripes: Vec<u16> = hashes.iter().map(|hash| stripe(*hash)).collect();
    stripes.sort_unstable();
    stripes.dedup();
    for stripe in stripes {
        zone.region.fetch_add(Zone::stripe_word(stripe), 1, Ordering::Release);
    }
    zone.region.fetch_add(CHANGES, 1, Ordering::Release);
}

/// Counts the set of the name at a unit in, before it is published.
pub(super) fn count_in(zone: &Zone, owner: u32, set: Link) {
    if set.has(Link::LAZY) {
        groups::mark(zone, Hint::Lazy, node::bucket(zone, owner));
        zone.set(LAZY_SETS, zone.get(LAZY_SETS).wrapping_add(1));
    } else {
        zone.set(FIXED_SETS, zone.get(FIXED_SETS).wrapping_add(1));
        let pushed = u64::from(set.has(Link::PUSHED));
        zone.set(PUSHED_SETS, zone.get(PUSHED_SETS).wrapping_add(pushed));
        add_fixed(zone, zone.header(owner).units());
        add_fixed(zone, zone.header(set.unit()).units());
    }
}

/// Counts it out, once readers do not find it any more and before its blocks are freed.
pub(super) fn count_out(zone: &Zone, owner: u32, set: Link) {
    if set.has(Link::LAZY) {
        zone.set(LAZY_SETS, zone.get(LAZY_SETS).wrapping_sub(1));
    } else {
        zone.set(FIXED_SETS, zone.get(FIXED_SETS).wrapping_sub(1));
        let pushed = u64::from(set.has(Link::PUSHED));
        zone.set(PUSHED_SETS, zone.get(PUSHED_SETS).wrapping_sub(pushed));
        take_fixed(zone, zone.header(owner).units());
        take_fixed(zone, zone.header(set.unit()).units());
    }
}

/// Counts units that are not evicted in.
pub(super) fn add_fixed(zone: &Zone, units: u32) {
    zone.set(FIXED_UNITS, zone.get(FIXED_UNITS).wrapping_add(u64::from(units)));
}

/// Counts units that were not evicted out.
pub(super) fn take_fixed(zone: &Zone, units: u32) {
    zone.set(FIXED_UNITS, zone.get(FIXED_UNITS).wrapping_sub(u64::from(units)));
}

/// Takes the set from readers, by its own name and by all aliases, by one store.
pub(super) fn retire(zone: &Zone, spot: &Spot) {
    let unit = spot.link.unit();
    name::set_set(zone, unit, Link::NONE);
    count_out(zone, unit, spot.name.set);
}

/// Frees a name that was retired: the set first, as it has the key.
pub(super) fn discard(zone: &Zone, spot: &Spot) -> Result<(), Fault> {
    let unit = spot.link.unit();
    discard_set(zone, spot.name.set, !spot.name.is_lazy())?;
    drop_previous(zone, unit)?;
    zone.publish(spot.holder, spot.next.0);
    alias::remove_all(zone, unit)?;
    arena::free(zone, unit)
}

/// Takes a block out of its bucket's chain, by one store.
pub(super) fn cut(zone: &Zone, link: Link) -> Result<(), Fault> {
    let node = node::read(zone, link, 0, b"").map_err(|_| Fault::Damaged)?;
    for place in Chain::of(zone, zone.geometry.bucket(node.hash)) {
        let place = place?;
        if place.link == link {
            zone.publish(place.holder, place.node.next.0);
            return Ok(());
        }
    }
    Err(Fault::Damaged)
}

/// Frees a set that no name links to, with the blobs that were its alone.
pub(super) fn discard_set(zone: &Zone, set: Link, is_fixed: bool) -> Result<(), Fault> {
    let links = set_links(zone, set).map_err(|_| Fault::Damaged)?;
    arena::free(zone, set.unit())?;
    for link in links {
        blob::release(zone, link, is_fixed)?;
    }
    Ok(())
}

/// Counts a set that its name links to as its previous one, and was not counted out for.
pub(super) fn count_previous(zone: &Zone, set: Link) -> Result<(), Fault> {
    zone.set(PREVIOUS_SETS, zone.get(PREVIOUS_SETS).wrapping_add(1));
    if !set.has(Link::LAZY) {
        for link in set_links(zone, set).map_err(|_| Fault::Damaged)? {
            blob::unfix(zone, link)?;
        }
    }
    Ok(())
}

/// Frees the previous set of the name at a unit; false when it keeps none.
pub(super) fn drop_previous(zone: &Zone, owner: u32) -> Result<bool, Fault> {
    let previous = name::previous(zone, owner);
    if previous.is_none() {
        return Ok(false);
    }
    if previous == name::set(zone, owner).without_flags() {
        // What only a dead writer leaves.
        return Err(Fault::Damaged);
    }
    name::set_previous(zone, owner, Link::NONE);
    discard_previous(zone, owner, previous)?;
    Ok(true)
}

/// Frees a set that was the previous one of the name at a unit until now.
pub(super) fn discard_previous(zone: &Zone, owner: u32, previous: Link) -> Result<(), Fault> {
    // The set of another name would go on to be linked to.
    if set::owner(zone, previous.unit()) != owner {
        return Err(Fault::Damaged);
    }
    zone.set(PREVIOUS_SETS, zone.get(PREVIOUS_SETS).wrapping_sub(1));
    discard_set(zone, previous, false)
}

/// The links of a set to its blobs.
pub(super) fn set_links(zone: &Zone, set: Link) -> Result<Vec<Link>, Torn> {
    let block = zone.open(set, Kind::Set)?;
    Ok(Shape::read(&block)?.links(&block))
}
