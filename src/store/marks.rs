//! Which blocks a repair keeps: names and aliases that readers can reach, with what they link to.
//! Locked.

use super::layout::FIRST_UNIT;
use super::node::{self, Node, Role};
use super::set::{self, Shape};
use super::word::{Kind, Link};
use super::zone::{Torn, Zone};
use super::{alias, blob, hash, name};
use crate::record::Source;

/// One bit per unit, in this process.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn new(bits: usize) -> Option<Bits> {
        let mut words = Vec::new();
        words.try_reserve_exact(bits.div_ceil(64)).ok()?;
        words.resize(bits.div_ceil(64), 0);
        Some(Bits(words))
    }

    pub(super) fn has(&self, unit: u32) -> bool {
        self.0.get(unit as usize / 64).is_some_and(|word| word >> (unit % 64) & 1 != 0)
    }

    fn put(&mut self, unit: u32, on: bool) {
        if let Some(word) = self.0.get_mut(unit as usize / 64) {
            let bit = 1 << (unit % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

pub(super) struct Marks<'a> {
    zone: &'a Zone,
    /// Where a block starts that may still be claimed: all but blobs are claimed once.
    starts: Bits,
    live: Bits,
}

impl Marks<'_> {
    /// `None` when there is no memory for two bits per unit.
    pub(super) fn new(zone: &Zone) -> Option<Marks<'_>> {
        let units = zone.geometry.end as usize;
        Some(Marks { zone, starts: Bits::new(units)?, live: Bits::new(units)? })
    }

    /// The blocks that stay.
    pub(super) fn live(&self) -> &Bits {
        &self.live
    }

    /// Fails when the blocks do not lie one behind another.
    pub(super) fn find_starts(&mut self) -> Result<(), Torn> {
        let mut unit = FIRST_UNIT;
        while unit < self.zone.geometry.end {
            let (_, units) = self.zone.block(unit)?;
            self.starts.put(unit, true);
            unit += units;
        }
        Ok(())
    }

    /// Cuts off the names that are not whole, then the aliases of those that do not stay and the
    /// previous sets that are not whole, and marks the rest.
    pub(super) fn prune(&mut self) {
        for bucket in 0..self.zone.geometry.buckets {
            self.prune_names(bucket);
        }
        for bucket in 0..self.zone.geometry.buckets {
            self.prune_previous(bucket);
            self.prune_aliases(bucket);
        }
    }

    /// Ends, as each block of a chain is claimed.
    fn prune_names(&mut self, bucket: usize) {
        let mut holder = self.zone.geometry.heads + bucket;
        loop {
            let found = Link(self.zone.get(holder));
            if found == Link::NONE {
                return;
            }
            // Writers compare such links as a whole.
            let link = found.without_flags();
            if link != found {
                self.zone.publish(holder, link.0);
            }
            match self.claim(link, bucket) {
                Ok(node) if self.is_whole(link, &node) => {
                    holder = self.zone.at(link.unit()) + node::NEXT;
                }
                Ok(node) => self.zone.publish(holder, node.next.0),
                Err(Torn) => break,
            }
        }
        self.zone.publish(holder, Link::NONE.0);
    }

    /// Claims a name or an alias, which is where its bytes belong.
    fn claim(&mut self, link: Link, bucket: usize) -> Result<Node, Torn> {
        let bytes = node::bytes(self.zone, link)?;
        let hash = hash::of_name(&bytes);
        let node = node::read(self.zone, link, hash, &bytes)?;
        let good = node.found && self.zone.geometry.bucket(hash) == bucket;
        if !good || !self.starts.has(link.unit()) {
            return Err(Torn);
        }
        self.starts.put(link.unit(), false);
        Ok(node)
    }

    /// Whether a block that was claimed may stay: an alias, for now, or a name with its set.
    fn is_whole(&mut self, link: Link, node: &Node) -> bool {
        let Role::Name(name) = node.role else {
            return true;
        };
        let unit = link.unit();
        let is_whole = self.claim_set(link, name.set).is_ok();
        if is_whole {
            self.live.put(unit, true);
            alias::forget_siblings(self.zone, unit);
        } else {
            // Readers may come by an alias: they shall not look for the set again and again.
            name::set_set(self.zone, unit, Link::NONE);
        }
        is_whole
    }

    fn claim_set(&mut self, owner: Link, set: Link) -> Result<(), Torn> {
        let source = self.claim_block(owner, set)?;
        let flagged = set.with_source(source);
        if flagged != set {
            name::set_set(self.zone, owner.unit(), flagged);
        }
        Ok(())
    }

    /// Claims the block of a set with its blobs; where the set came from.
    fn claim_block(&mut self, owner: Link, set: Link) -> Result<Source, Torn> {
        let block = self.zone.open(set, Kind::Set)?;
        let shape = Shape::read(&block)?;
        let links = shape.links(&block);
        let whole = |link: &Link| self.starts.has(link.unit()) && blob::is_whole(self.zone, *link);
        if !self.starts.has(set.unit()) || !links.iter().all(whole) {
            return Err(Torn);
        }

        self.starts.put(set.unit(), false);
        self.live.put(set.unit(), true);
        for link in links {
            self.live.put(link.unit(), true);
        }
        set::set_owner(self.zone, set.unit(), owner.unit());
        Ok(shape.source)
    }

    /// Claims previous sets, now that none is claimed that a name serves. A name stays without.
    fn prune_previous(&mut self, bucket: usize) {
        let mut link = Link(self.zone.get(self.zone.geometry.heads + bucket));
        while let Ok(node) = node::read(self.zone, link, 0, b"") {
            if let Role::Name(name) = node.role {
                let is_whole = name.previous().is_some_and(|previous| {
                    previous == previous.without_flags() && self.claim_block(link, previous).is_ok()
                });
                if !is_whole && name.previous != Link::NONE {
                    name::set_previous(self.zone, link.unit(), Link::NONE);
                }
            }
            link = node.next;
        }
    }

    /// All blocks of the chain were claimed, so it ends.
    fn prune_aliases(&mut self, bucket: usize) {
        let mut holder = self.zone.geometry.heads + bucket;
        loop {
            let link = Link(self.zone.get(holder));
            let Ok(node) = node::read(self.zone, link, 0, b"") else {
                return;
            };
            if let Role::Alias { owner } = node.role {
                if !self.is_served(owner) {
                    self.zone.publish(holder, node.next.0);
                    continue;
                }
                self.live.put(link.unit(), true);
                alias::join_siblings(self.zone, link.unit(), owner.unit());
            }
            holder = self.zone.at(link.unit()) + node::NEXT;
        }
    }

    /// Whether the owner of an alias stays, with a set that has aliases.
    fn is_served(&self, owner: Link) -> bool {
        let name = name::read_owner(self.zone, owner);
        let is_live = self.live.has(owner.unit()) && owner == owner.without_flags();
        is_live && name.is_ok_and(|name| !name.is_lazy())
    }
}
