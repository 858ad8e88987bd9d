//! Certificate sets in a shared memory zone: read by all workers without a lock, written by one.
//!
//! - `layout`, `word`, `zone`: where everything is, the packed words, and blocks by number.
//! - `arena`, `bins`: space. `node`, `name`, `alias`, `set`, `blob`: what is in the blocks.
//! - `groups`: what spares searches. `control`: words that stand for themselves. `size`: how large a zone has to be.
//! - `read`: lookups. `walk`: all there is, and pages of it. `survey`: what it comes to.
//! - `write`, `publish`, `served`, `stage`, `looks`, `index`, `evict`: changes.
//! - `repair`, `marks`: after a kill.
//!
//! Whatever a process that is killed or stopped leaves behind, readers go on at once: a set is
//! published by one store and never changed, and its block is told to be gone before it is wiped.

#![allow(dead_code, unused_imports, reason = "not everything has a caller yet")]

mod alias;
mod arena;
mod bins;
mod blob;
#[cfg(test)]
mod check;
mod control;
mod evict;
mod groups;
mod hash;
mod index;
mod layout;
mod looks;
mod marks;
mod name;
mod node;
mod publish;
mod read;
mod repair;
mod reserve;
mod served;
mod set;
mod size;
mod stage;
mod survey;
#[cfg(test)]
mod tests;
mod walk;
mod word;
mod write;
mod zone;

use std::sync::atomic::Ordering;

pub(crate) use self::control::{Counter, FAILURE_COUNTERS, HANDSHAKE_COUNTERS, Superseded};
pub(crate) use self::looks::Look;
pub(crate) use self::publish::{Expects, Previous, Publication};
pub(crate) use self::size::{Need, region_bytes_for};
pub(crate) use self::survey::{IDLE_MSEC, Survey, Totals};
pub(crate) use self::write::{PublishError, Unexpected, Writer, ZoneLock};

use self::layout::{
    BUCKETS, EVICTIONS, FIXED_SETS, FIXED_UNITS, FREE_UNITS, Geometry, LAYOUT, LAZY_SETS, MAGIC,
    MAGIC_VALUE, PREVIOUS_SETS, PUSHED_SETS, REPAIRS, RESETS, UNIT_BYTES, UNITS, VERSION, WORDS,
};
use self::zone::Zone;
use crate::ffi::region::Region;
use crate::record::{KeyType, Record, Source};

/// Why a region is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// Less than 24 KiB (or more than 64 GiB).
    TooSmall,
    /// The bytes are none of ours.
    NotAStore,
    /// Written by a module with another layout.
    OtherLayout,
    /// Formatted for a region of another size.
    OtherSize,
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup<T> {
    Absent,
    /// The name changed too often to be read, or its bytes are damaged: as good as absent, but no
    /// proof that there is nothing.
    Contended,
    Found(T),
}

/// One publication of a set: another content, or the same one published again, has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetId(u64);

/// What is known of a set without copying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: SetId,
    /// Drawn before the set was read: a lazy one is fresh while this is above the clear epoch.
    pub(crate) ticket: u64,
    /// What came after it is bad or gone.
    pub(crate) last_good: bool,
    /// Where it came from, and so what it serves and whether it may be evicted.
    pub(crate) source: Source,
    /// A hash of what stat said of its files; 0 when that is not known.
    pub(crate) stat: u64,
    /// The last look at its files, monotonic milliseconds.
    pub(crate) looked_at: u64,
    /// What the files of the name held at the last look, whatever serves: 0 is not known, 1 that
    /// there were none, everything else a tag of their content.
    pub(crate) seen: u64,
    /// Why the last change of the set failed, as a number of those who noted it; 0 when none did.
    pub(crate) failure: u64,
}

impl Entry {
    /// Whether it was read for a handshake, may be evicted, and serves its own name only.
    pub(crate) fn is_lazy(&self) -> bool {
        self.source == Source::Lazy
    }
}

/// A name with all that there is of it, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) entry: Entry,
    /// As `Publication::generation`.
    pub(crate) generation: u64,
    pub(crate) record: Record,
    /// The set before it, with its generation, where it is kept.
    pub(crate) previous: Option<(u64, Record)>,
}

/// A set as metrics tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surveyed {
    pub(crate) name: String,
    pub(crate) source: Source,
    /// When it, or another of its bucket, was used last; monotonic milliseconds.
    pub(crate) used_msec: u64,
    /// As in `Entry`.
    pub(crate) last_good: bool,
    pub(crate) failure: u64,
    pub(crate) members: Vec<Validity>,
}

/// From when to when a member of a set is valid, seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) key_type: KeyType,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// A set that is not lazy, as one that a name may be served from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    /// The name that the set is read, replaced and removed by.
    pub(crate) name: String,
    pub(crate) entry: Entry,
    /// The latest notBefore of its leaves, seconds since the epoch.
    pub(crate) not_before: i64,
    /// The latest notAfter of its leaves, seconds since the epoch.
    pub(crate) not_after: i64,
}

/// What there is to copy of a set besides its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) name: String,
    pub(crate) entry: Entry,
    /// The further names that it has an alias for, sorted; after a kill maybe some that it does not
    /// serve any more. None for a lazy set.
    pub(crate) served: Vec<String>,
}

/// A moment in the history of the names that share a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    stripe: u16,
    value: u64,
}

impl Stamp {
    /// Whether `later` is of the same stripe, with one change between.
    pub(crate) fn is_just_before(&self, later: &Stamp) -> bool {
        self.stripe == later.stripe && self.value.wrapping_add(1) == later.value
    }
}

/// Numbers for people and metrics; each is right by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) sets: u64,
    /// Those of `sets` that were loaded lazily.
    pub(crate) lazy_sets: u64,
    /// Those that were pushed.
    pub(crate) pushed_sets: u64,
    /// Those that were read at a start.
    pub(crate) startup_sets: u64,
    /// Previous sets that are kept; not among `sets`.
    pub(crate) previous_sets: u64,
    /// Bytes of blocks in use, their headers counted.
    pub(crate) used_bytes: u64,
    pub(crate) free_bytes: u64,
    /// Since the zone was made, as are the next two.
    pub(crate) evictions: u64,
    pub(crate) repairs: u64,
    /// Repairs that had to leave an empty zone.
    pub(crate) resets: u64,
    pub(crate) clear_epoch: u64,
    pub(crate) changes: u64,
}

/// A handle on a zone; copies are handles on the same one. Except for `write`, nothing here takes
/// a lock or waits.
#[derive(Clone, Copy)]
pub(crate) struct Store {
    zone: Zone,
}

impl Store {
    /// Makes an empty store of the region. Nobody else uses it yet. What was in the arena is
    /// neither read nor wiped.
    pub(crate) fn format(region: Region) -> Result<Store, StoreError> {
        let geometry = Geometry::of(region.words()).ok_or(StoreError::TooSmall)?;
        let zone = Zone { region, geometry };

        region.wipe(0, geometry.arena);
        repair::empty(&zone);
        for (word, value) in identity(&geometry) {
            zone.set(word, value);
        }
        zone.publish(MAGIC, MAGIC_VALUE);
        Ok(Store { zone })
    }

    /// The store that was formatted in the region, by this process or another. What is in it is
    /// trusted no further than its size.
    pub(crate) fn attach(region: Region) -> Result<Store, StoreError> {
        let geometry = Geometry::of(region.words()).ok_or(StoreError::TooSmall)?;
        let zone = Zone { region, geometry };

        if region.load(MAGIC, Ordering::Acquire) != MAGIC_VALUE {
            return Err(StoreError::NotAStore);
        }
        if zone.get(VERSION) != LAYOUT {
            return Err(StoreError::OtherLayout);
        }
        if identity(&geometry).into_iter().any(|(word, value)| zone.get(word) != value) {
            return Err(StoreError::OtherSize);
        }
        Ok(Store { zone })
    }

    /// Looks the name up without copying its set.
    pub(crate) fn find(&self, name: &str) -> Lookup<Entry> {
        read::find(&self.zone, name)
    }

    /// Looks the name up and copies its set, which is the one that the entry's id says.
    pub(crate) fn read(&self, name: &str) -> Lookup<(Entry, Record)> {
        read::read(&self.zone, name)
    }

    /// The generation of the name's set.
    pub(crate) fn generation(&self, name: &str) -> Lookup<u64> {
        read::generation(&self.zone, name)
    }

    /// Copies the name's set, with the one before it, as they are at one moment.
    pub(crate) fn details(&self, name: &str) -> Lookup<Details> {
        read::details(&self.zone, name)
    }

    /// Up to `limit` names that have a set, in an order of their own: those that come after
    /// `after`, which need not be there any more. Costs no more than what it gives.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> Vec<String> {
        walk::page(&self.zone, after, limit)
    }

    /// Visits all sets, in no order, without copying what is in them. Of those that come and go
    /// meanwhile, some.
    pub(crate) fn survey(&self, visit: &mut dyn FnMut(&Surveyed)) {
        walk::survey(&self.zone, 0..self.zone.geometry.buckets, visit);
    }

    /// All sets that are not lazy and serve the name, as their own or by an alias; in no order. That
    /// a set has an alias is a hint: whether it serves the name, its certificate says.
    pub(crate) fn serving(&self, name: &str) -> Lookup<Vec<Serving>> {
        read::serving(&self.zone, name)
    }

    /// All names that have a set; in no order. Of those that come and go meanwhile, some.
    pub(crate) fn names(&self) -> Vec<(String, Entry)> {
        walk::names(&self.zone)
    }

    /// All sets with what they serve, those first that were used last. Of those that come and go
    /// meanwhile, some.
    pub(crate) fn export(&self) -> Vec<Exported> {
        walk::export(&self.zone)
    }

    /// Notes that the name was used; the set that was not for longest is evicted first.
    pub(crate) fn touch(&self, name: &str, now_msec: u64) {
        let bucket = self.zone.geometry.bucket(hash::of_name(name.as_bytes()));
        let word = self.zone.geometry.used + bucket;
        let used = self.zone.get(word);
        // Spares the cache line when a worker serves the name again within its tick.
        if used == now_msec {
            return;
        }
        self.zone.set(word, now_msec);
        if used == 0 || now_msec.saturating_sub(used) > IDLE_MSEC {
            groups::note_change(&self.zone, bucket);
        }
    }

    /// The right to write, once a repair is done that is due. `None` when another process has it,
    /// or when the zone is superseded; also when there is no memory for that repair.
    pub(crate) fn write<'a>(&self, lock: &'a dyn ZoneLock) -> Option<Writer<'a>> {
        Writer::begin(self, lock)
    }

    /// Repairs what a writer left that was killed, unless another process has the lock. Until then
    /// some workers may go by what it changed and some not, and what it replaced is not wiped.
    pub(crate) fn finish_left_write(&self, lock: &dyn ZoneLock) {
        if self.zone.get(layout::BUSY) != 0 {
            drop(self.write(lock));
        }
    }

    /// What to take before a lookup of `name`, to know later whether its answer still holds.
    pub(crate) fn stamp(&self, name: &str) -> Stamp {
        let stripe = layout::stripe(hash::of_name(name.as_bytes()));
        Stamp { stripe, value: self.stripe(stripe) }
    }

    /// Whether no name of the stripe was published or removed since. An evicted name's stamp
    /// stays current, and a clear is not in it.
    #[inline]
    pub(crate) fn is_current(&self, stamp: &Stamp) -> bool {
        self.stripe(stamp.stripe) == stamp.value
    }

    #[inline]
    fn stripe(&self, stripe: u16) -> u64 {
        self.zone.region.load(Zone::stripe_word(stripe), Ordering::Acquire)
    }

    /// Bytes of the arena: all blocks, used or free, with their headers.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.zone.geometry.units()) * UNIT_BYTES
    }

    /// Those of the arena's bytes that the sets that are not lazy take, with their names, their
    /// aliases, and the intermediates that they link to; without previous sets. Right while nobody
    /// writes.
    pub(crate) fn fixed_bytes(&self) -> u64 {
        self.zone.get(FIXED_UNITS).saturating_mul(UNIT_BYTES)
    }

    pub(crate) fn stats(&self) -> Stats {
        let free_bytes = free_bytes(&self.zone);
        let bytes = self.capacity();
        let lazy_sets = self.zone.get(LAZY_SETS);
        let (fixed_sets, pushed_sets) = (self.zone.get(FIXED_SETS), self.zone.get(PUSHED_SETS));
        Stats {
            sets: lazy_sets.wrapping_add(fixed_sets),
            lazy_sets,
            pushed_sets,
            startup_sets: fixed_sets.saturating_sub(pushed_sets),
            previous_sets: self.zone.get(PREVIOUS_SETS),
            used_bytes: bytes.saturating_sub(free_bytes),
            free_bytes,
            evictions: self.zone.get(EVICTIONS),
            repairs: self.zone.get(REPAIRS),
            resets: self.zone.get(RESETS),
            clear_epoch: self.clear_epoch(),
            changes: self.changes(),
        }
    }
}

fn free_bytes(zone: &Zone) -> u64 {
    zone.get(FREE_UNITS).saturating_mul(UNIT_BYTES)
}

/// What must be the same for the layout to be the same.
fn identity(geometry: &Geometry) -> [(usize, u64); 4] {
    [
        (VERSION, LAYOUT),
        (WORDS, geometry.words as u64),
        (UNITS, u64::from(geometry.units())),
        (BUCKETS, geometry.buckets as u64),
    ]
}
