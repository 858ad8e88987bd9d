//! The chains of names, as a writer walks and changes them. Locked.

use super::layout::{CHANGES, LAZY_SETS, SETS, stripe};
use super::name::{self, MAX_CHAIN, Name};
use super::set::Shape;
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::{Torn, Zone};
use super::{arena, blob};
use std::sync::atomic::Ordering;

/// A name, and the word that links to it.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) holder: usize,
    pub(super) link: Link,
    pub(super) name: Name,
}

/// The names of a bucket.
pub(super) struct Chain<'a> {
    zone: &'a Zone,
    bucket: usize,
    holder: usize,
    hash: u64,
    wanted: &'a [u8],
    left: usize,
}

impl<'a> Chain<'a> {
    /// All names of a bucket, compared with none.
    pub(super) fn of(zone: &'a Zone, bucket: usize) -> Chain<'a> {
        let holder = zone.geometry.heads + bucket;
        Chain { zone, bucket, holder, hash: 0, wanted: b"", left: MAX_CHAIN }
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Spot, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let link = Link(self.zone.get(self.holder));
        if link.is_none() {
            return None;
        }
        let name = name::read(self.zone, link, self.hash, self.wanted);
        let good = |name: &Name| self.zone.geometry.bucket(name.hash) == self.bucket;
        let Some(name) = name.ok().filter(good).filter(|_| self.left > 0) else {
            return Some(Err(Fault::Damaged));
        };
        let spot = Spot { holder: self.holder, link, name };
        self.left -= 1;
        self.holder = self.zone.at(link.unit()) + name::NEXT;
        Some(Ok(spot))
    }
}

/// Where the name is; `None` when it is not there.
pub(super) fn locate(zone: &Zone, wanted: &[u8], hash: u64) -> Result<Option<Spot>, Fault> {
    let chain = Chain { hash, wanted, ..Chain::of(zone, zone.geometry.bucket(hash)) };
    for spot in chain {
        let spot = spot?;
        if spot.name.found {
            return Ok(Some(spot));
        }
    }
    Ok(None)
}

/// Makes cached answers for names of this hash look again.
pub(super) fn announce(zone: &Zone, hash: u64) {
    zone.region.fetch_add(Zone::stripe_word(stripe(hash)), 1, Ordering::Release);
    zone.region.fetch_add(CHANGES, 1, Ordering::Release);
}

/// Counts a set in or out.
pub(super) fn count_set(zone: &Zone, set: Link, difference: i64) {
    let add = |word| zone.set(word, zone.get(word).wrapping_add(difference as u64));
    add(SETS);
    if set.has(Link::LAZY) {
        add(LAZY_SETS);
    }
}

/// Unlinks a name by one store.
pub(super) fn unlink(zone: &Zone, spot: &Spot) {
    zone.publish(spot.holder, spot.name.next.0);
    count_set(zone, spot.name.set, -1);
}

/// Frees a name that was unlinked, with its set.
pub(super) fn discard(zone: &Zone, spot: &Spot) -> Result<(), Fault> {
    arena::free(zone, spot.link.unit())?;
    discard_set(zone, spot.name.set)
}

/// Frees a set that no name links to, with the blobs that were its alone.
pub(super) fn discard_set(zone: &Zone, set: Link) -> Result<(), Fault> {
    for link in free_set(zone, set)? {
        blob::release(zone, link)?;
    }
    Ok(())
}

/// Frees the block of the set alone; the links that it had.
fn free_set(zone: &Zone, set: Link) -> Result<Vec<Link>, Fault> {
    let links = set_links(zone, set).map_err(|_| Fault::Damaged)?;
    arena::free(zone, set.unit())?;
    Ok(links)
}

/// The links of a set to its blobs.
pub(super) fn set_links(zone: &Zone, set: Link) -> Result<Vec<Link>, Torn> {
    let block = zone.open(set, Kind::Set)?;
    Ok(Shape::read(&block)?.links(&block))
}
