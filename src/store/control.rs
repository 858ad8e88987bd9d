//! The words of a zone that stand for themselves: tickets, the clear epoch, configurations. Atomic
//! operations, one each; nothing here takes a lock.

use crate::ffi::atomic::Ordering;

use super::Store;
use super::layout::{
    CHANGES, CLEAR_EPOCH, CLOCK, CONFIGURATION, COUNTER_COUNT, COUNTERS, DIRECTORIES,
    DIRECTORY_COUNT, EVICTIONS, REPAIRS, REPORTED, REPORTED_COUNT, RESETS, SUPERSEDED,
};

/// Whether another zone is in use in the place of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Superseded {
    No = 0,
    /// It is being copied: the reload may yet fail.
    Copied = 1,
    /// For good.
    Left = 2,
}

/// How many kinds of handshakes, and of reasons why files are not loaded, can be counted.
pub(crate) const HANDSHAKE_COUNTERS: u8 = 8;
pub(crate) const FAILURE_COUNTERS: u8 = 24;

/// Something that is counted since the zone was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// Handshakes of one kind, below `HANDSHAKE_COUNTERS`.
    Handshakes(u8),
    /// Files that are not loaded for one reason, below `FAILURE_COUNTERS`.
    LoadFailures(u8),
    /// Pushes that were refused for want of room.
    NoRoom,
    /// What failed in the directory of the state.
    StateErrors,
}

impl Counter {
    /// The word; `None` for a number that is out of bounds.
    fn word(self) -> Option<usize> {
        let place = match self {
            Counter::Handshakes(kind) => (kind < HANDSHAKE_COUNTERS).then_some(kind)?,
            Counter::LoadFailures(reason) => {
                HANDSHAKE_COUNTERS + (reason < FAILURE_COUNTERS).then_some(reason)?
            }
            Counter::NoRoom => HANDSHAKE_COUNTERS + FAILURE_COUNTERS,
            Counter::StateErrors => HANDSHAKE_COUNTERS + FAILURE_COUNTERS + 1,
        };
        const { assert!((HANDSHAKE_COUNTERS + FAILURE_COUNTERS + 2) as usize <= COUNTER_COUNT) };
        Some(COUNTERS + usize::from(place))
    }
}

impl Store {
    /// Counts `count` more of something.
    #[inline]
    pub(crate) fn add(&self, counter: Counter, count: u64) {
        if let Some(word) = counter.word() {
            self.zone.region.fetch_add(word, count, Ordering::Relaxed);
        }
    }

    /// How many of something were counted.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        counter.word().map_or(0, |word| self.zone.get(word))
    }

    /// Has the tickets that are drawn from now on, and so the generations, be above a number that
    /// was drawn before this zone was made.
    pub(crate) fn start_clock(&self, at_least: u64) {
        self.zone.region.fetch_max(CLOCK, at_least, Ordering::AcqRel);
    }

    /// A number above all that were drawn before.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.zone.region.fetch_add(CLOCK, 1, Ordering::AcqRel).wrapping_add(1)
    }

    /// Makes all lazy sets stale whose ticket was drawn before; the new epoch.
    pub(crate) fn clear(&self) -> u64 {
        let epoch = self.next_ticket();
        self.zone.region.fetch_max(CLEAR_EPOCH, epoch, Ordering::AcqRel);
        self.zone.region.fetch_add(CHANGES, 1, Ordering::Release);
        epoch
    }

    /// Begins another configuration, whose number it returns. To be followed by a clear: what is
    /// read with a ticket from before, by workers that have not seen the number, is then stale.
    pub(crate) fn next_configuration(&self) -> u64 {
        self.zone.region.fetch_add(CONFIGURATION, 1, Ordering::SeqCst).wrapping_add(1)
    }

    /// The number of the present configuration.
    pub(crate) fn configuration(&self) -> u64 {
        self.zone.region.load(CONFIGURATION, Ordering::SeqCst)
    }

    /// Lazy sets with a ticket up to this one are stale.
    #[inline]
    pub(crate) fn clear_epoch(&self) -> u64 {
        self.zone.region.load(CLEAR_EPOCH, Ordering::Acquire)
    }

    /// Whether this is to be logged: true unless it was the last one reported in its slot. Two
    /// workers at the same moment get one true between them.
    pub(crate) fn report_once(&self, hash: u64) -> bool {
        let hash = hash.max(1);
        let word = REPORTED + (hash ^ hash >> 32) as usize % REPORTED_COUNT;
        let found = self.zone.get(word);
        found != hash && self.zone.region.compare_exchange(word, found, hash) != Err(hash)
    }

    /// Publishes, removes and clears so far: unchanged means that nothing was.
    pub(crate) fn changes(&self) -> u64 {
        self.zone.region.load(CHANGES, Ordering::Acquire)
    }

    /// Says whether another zone is in use, so that nobody writes to this one any more. A write that
    /// is under way still comes to its end.
    pub(crate) fn set_superseded(&self, superseded: Superseded) {
        self.zone.region.store(SUPERSEDED, superseded as u64, Ordering::SeqCst);
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.zone.region.load(SUPERSEDED, Ordering::SeqCst) != Superseded::No as u64
    }

    /// Whether it is superseded for good.
    pub(crate) fn is_left(&self) -> bool {
        self.zone.region.load(SUPERSEDED, Ordering::SeqCst) == Superseded::Left as u64
    }

    /// Which directory the files of sets were last seen in, as a number; 0 is not known, and what
    /// there is for an index out of bounds.
    pub(crate) fn directory(&self, index: usize) -> u64 {
        if index >= DIRECTORY_COUNT {
            return 0;
        }
        self.zone.region.load(DIRECTORIES + index, Ordering::Acquire)
    }

    pub(crate) fn set_directory(&self, index: usize, directory: u64) {
        if index < DIRECTORY_COUNT {
            self.zone.region.store(DIRECTORIES + index, directory, Ordering::Release);
        }
    }

    /// Goes on where `old` is, in a store that was just formatted: its clock, so that the tickets of
    /// sets that are copied keep their meaning, its clear epoch, its configuration, and what it
    /// counted. To be called again after the copy when the old store was still written to.
    pub(crate) fn continue_from(&self, old: &Store) {
        let (from, to) = (&old.zone.region, &self.zone.region);
        for index in 0..DIRECTORY_COUNT {
            self.set_directory(index, old.directory(index));
        }
        let counters = COUNTERS..COUNTERS + COUNTER_COUNT;
        // The clock last: it is ahead of every epoch.
        let words = [EVICTIONS, REPAIRS, RESETS, CONFIGURATION, CLEAR_EPOCH, CLOCK];
        for word in counters.chain(words) {
            to.fetch_max(word, from.load(word, Ordering::SeqCst), Ordering::SeqCst);
        }
    }
}
