//! The region with its layout: blocks by unit number, for readers and writers alike.

use crate::ffi::atomic::{Ordering, fence};

use super::layout::{FIRST_UNIT, Geometry, MIN_UNITS, STRIPES, UNIT_WORDS};
use super::word::{Header, Kind, Link};
use crate::ffi::region::Region;

/// A handle; copies are handles on the same zone.
#[derive(Clone, Copy)]
pub(super) struct Zone {
    pub(super) region: Region,
    pub(super) geometry: Geometry,
}

/// What was read is not what was linked to: it changed meanwhile, or the zone is damaged. A reader
/// looks again from the start, a writer has the zone repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

impl Zone {
    #[inline]
    pub(super) fn get(&self, word: usize) -> u64 {
        self.region.load(word, Ordering::Relaxed)
    }

    pub(super) fn set(&self, word: usize, value: u64) {
        self.region.store(word, value, Ordering::Relaxed);
    }

    /// Makes what was stored before visible to whoever loads this value with Acquire.
    pub(super) fn publish(&self, word: usize, value: u64) {
        self.region.store(word, value, Ordering::Release);
    }

    /// The word where a block starts.
    #[inline]
    pub(super) fn at(&self, unit: u32) -> usize {
        self.geometry.arena + UNIT_WORDS * unit as usize
    }

    pub(super) fn header(&self, unit: u32) -> Header {
        Header(self.region.load(self.at(unit), Ordering::Acquire))
    }

    pub(super) fn set_header(&self, unit: u32, header: Header) {
        self.publish(self.at(unit), header.0);
    }

    /// The header of a block that lies within the arena as a whole.
    pub(super) fn block(&self, unit: u32) -> Result<(Kind, u32), Torn> {
        let header = self.header(unit);
        let units = header.units();
        let end = unit.checked_add(units).ok_or(Torn)?;
        if unit < FIRST_UNIT || units < MIN_UNITS || end > self.geometry.end {
            return Err(Torn);
        }
        Ok((header.kind().ok_or(Torn)?, units))
    }

    /// Starts reading the block that was linked to as `kind`; `Open::close` says whether what was
    /// read is that block's. Everything in between is loaded relaxed and may be torn.
    pub(super) fn open(&self, link: Link, kind: Kind) -> Result<Open, Torn> {
        self.open_if(link, |found| found == kind)
    }

    /// As `open`, for a block that may be of more than one kind.
    pub(super) fn open_if(
        &self,
        link: Link,
        is_wanted: impl FnOnce(Kind) -> bool,
    ) -> Result<Open, Torn> {
        let unit = link.unit();
        let header = self.header(unit);
        let units = header.units();
        let end = unit.checked_add(units).ok_or(Torn)?;
        if !header.kind().is_some_and(is_wanted)
            || header.generation() != link.generation()
            || unit < FIRST_UNIT
            || end > self.geometry.end
        {
            return Err(Torn);
        }
        Ok(Open { zone: *self, at: self.at(unit), words: UNIT_WORDS * units as usize, header })
    }

    /// Lets readers open a block that was filled, once something links to it. Locked.
    pub(super) fn go_live(&self, unit: u32, kind: Kind) -> Link {
        let header = self.header(unit).with_kind(kind);
        self.set_header(unit, header);
        Link::new(unit, header.generation())
    }

    /// The word of the epoch stripe.
    #[inline]
    pub(super) fn stripe_word(stripe: u16) -> usize {
        STRIPES + usize::from(stripe)
    }
}

/// A block that is being read.
pub(super) struct Open {
    pub(super) zone: Zone,
    /// The word where it starts.
    pub(super) at: usize,
    /// How many words it has.
    pub(super) words: usize,
    header: Header,
}

impl Open {
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.header.is(kind)
    }

    /// The word at `offset` in the block; 0 outside of it.
    #[inline]
    pub(super) fn get(&self, offset: usize) -> u64 {
        if offset < self.words { self.zone.get(self.at + offset) } else { 0 }
    }

    /// Fails unless `len` bytes from `offset` on are inside of the block; gives their first word.
    pub(super) fn bytes(&self, offset: usize, len: usize) -> Result<usize, Torn> {
        let end = offset.checked_add(len.div_ceil(8)).ok_or(Torn)?;
        if end <= self.words { Ok(self.at + offset) } else { Err(Torn) }
    }

    /// Fails when the block changed since it was opened. A writer stores another header before it
    /// changes a block's bytes, with a fence between; so with the one here, whoever loaded a
    /// changed byte also loads the changed header.
    pub(super) fn close(&self) -> Result<(), Torn> {
        fence(Ordering::Acquire);
        if self.zone.region.load(self.at, Ordering::Relaxed) == self.header.0 {
            Ok(())
        } else {
            Err(Torn)
        }
    }
}
