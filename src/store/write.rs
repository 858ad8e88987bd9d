//! Writing, by whoever holds the zone's lock.

use crate::ffi::atomic::{Ordering, fence};

use super::groups::Hint;
use super::index::{self, Spot};
use super::layout::{BUSY, UNIT_BYTES};
use super::zone::Zone;
use super::{Expects, Publication, SetId, Store, groups, hash, publish, repair, reserve, served};
use crate::record::Record;

/// The lock of the zone: one that is freed when the process that holds it dies.
pub(crate) trait ZoneLock {
    /// Takes the lock unless another holds it. Never waits.
    fn try_lock(&self) -> bool;
    /// Frees the lock that this process holds.
    fn unlock(&self);
    /// Frees the lock where its holder is a child of this process and has ended, for who cannot be
    /// told of that while it waits.
    fn free_if_holder_died(&self) {}
}

/// Why a record was not published. Nothing of it is in the zone, and the set that the name had
/// before still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublishError {
    /// No room, also without previous and lazy sets. In bytes; `free` may be in pieces.
    Full { needed: u64, free: u64 },
    /// What is there was read later, or is a later generation.
    Overtaken,
    /// The present set is not the one that was expected.
    Unexpected { present: Option<u64> },
}

/// The generation that a name has, where another one was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unexpected {
    pub(crate) present: Option<u64>,
}

/// What stops a step of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Full,
    Overtaken,
    /// The generation that there is instead.
    Unexpected(Option<u64>),
    /// The zone is not as it should be: repair it, and do the whole write again.
    Damaged,
}

/// The right to write. The lock is held until it is dropped.
pub(crate) struct Writer<'a> {
    pub(super) zone: Zone,
    lock: &'a dyn ZoneLock,
}

impl<'a> Writer<'a> {
    /// Takes the lock, and repairs what a writer left that died. `None` when another holds the
    /// lock, when the zone is superseded, or when there is no memory to repair with.
    pub(super) fn begin(store: &Store, lock: &'a dyn ZoneLock) -> Option<Writer<'a>> {
        if !lock.try_lock() {
            return None;
        }
        if store.is_superseded() {
            lock.unlock();
            return None;
        }
        let writer = Writer { zone: store.zone, lock };
        if writer.zone.region.load(BUSY, Ordering::Acquire) != 0 {
            if !repair::run(&writer.zone) {
                // Still to be repaired: the drop must not clear BUSY.
                let writer = std::mem::ManuallyDrop::new(writer);
                writer.lock.unlock();
                return None;
            }
        } else {
            writer.zone.set(BUSY, 1);
            // A kill cuts the stores off in the order of the instructions: keep them behind.
            fence(Ordering::SeqCst);
        }
        Some(writer)
    }

    /// Makes the record the set of the name: readers see the one before or this one, whole. Drops
    /// previous sets and then evicts lazy ones for it if need be, and keeps the aliases that both serve.
    pub(crate) fn publish(&mut self, publication: &Publication<'_>) -> Result<SetId, PublishError> {
        let Publication { name, record, served, .. } = *publication;
        match self.repairing(|| publish::run(&self.zone, publication)) {
            Ok(set) => Ok(SetId(set.without_flags().0)),
            Err(Fault::Overtaken) => Err(PublishError::Overtaken),
            Err(Fault::Unexpected(present)) => Err(PublishError::Unexpected { present }),
            Err(_) => Err(PublishError::Full {
                needed: publish::needed_units(name, record, served).saturating_mul(UNIT_BYTES),
                free: super::free_bytes(&self.zone),
            }),
        }
    }

    /// Removes the name with its sets, and so also from all else that it serves. False when it has
    /// none.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        matches!(self.remove_if(name, Expects::Any), Ok(Some(_)))
    }

    /// As `remove()`, if the present set is the one that is expected; its generation, `None` when
    /// there was none.
    pub(crate) fn remove_if(
        &mut self,
        name: &str,
        expects: Expects,
    ) -> Result<Option<u64>, Unexpected> {
        let zone = self.zone;
        let hash = hash::of_name(name.as_bytes());
        let mut removed = None;
        let done = self.repairing(|| {
            let spot = index::locate(&zone, name.as_bytes(), hash)?;
            let present = publish::generation_of(&zone, spot.as_ref())?;
            // Not when the first attempt got as far as to remove it.
            if removed.is_none() {
                expects.check(present)?;
            }
            if let Some(spot) = spot {
                removed = present;
                remove(&zone, &spot)?;
            }
            Ok(())
        });
        match done {
            Err(Fault::Unexpected(present)) => Err(Unexpected { present }),
            Err(_) => Ok(None),
            Ok(()) => Ok(removed),
        }
    }

    /// Wipes the previous set of a name; false when it keeps none.
    pub(crate) fn drop_previous(&mut self, name: &str) -> bool {
        let zone = self.zone;
        let hash = hash::of_name(name.as_bytes());
        let mut dropped = false;
        let done = self.repairing(|| {
            if let Some(spot) = index::locate(&zone, name.as_bytes(), hash)? {
                dropped |= index::drop_previous(&zone, spot.link.unit())?;
            }
            Ok(())
        });
        dropped && done.is_ok()
    }

    /// Gives a name that keeps no previous set one that it had elsewhere, if there is room without
    /// an eviction. False when there is not, or when there is nothing to be before.
    pub(crate) fn add_previous(&mut self, name: &str, generation: u64, record: &Record) -> bool {
        self.repairing(|| publish::add_previous(&self.zone, name, generation, record))
            .unwrap_or(false)
    }

    /// Removes all lazy sets; how many.
    pub(crate) fn remove_lazy(&mut self) -> u64 {
        let zone = self.zone;
        let mut removed = 0;
        let _ = self.repairing(|| {
            for bucket in groups::marked(&zone, Hint::Lazy, 0, zone.geometry.buckets) {
                while let Some(spot) = first_lazy(&zone, bucket)? {
                    removed += 1;
                    remove(&zone, &spot)?;
                }
                groups::unmark(&zone, Hint::Lazy, bucket);
            }
            Ok(())
        });
        removed
    }

    /// Does it, once more after a repair when the zone turns out to be damaged.
    pub(super) fn repairing<T>(
        &self,
        mut write: impl FnMut() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match write() {
            Err(Fault::Damaged) if repair::run(&self.zone) => write(),
            done => done,
        }
    }
}

fn remove(zone: &Zone, spot: &Spot) -> Result<(), Fault> {
    let hashes = served::hashes_of(zone, spot.link.unit(), spot.hash)?;
    index::retire(zone, spot);
    index::announce(zone, &hashes);
    index::discard(zone, spot)?;
    reserve::free_if_unused(zone)
}

fn first_lazy(zone: &Zone, bucket: usize) -> Result<Option<Spot>, Fault> {
    for spot in index::names(zone, bucket) {
        let spot = spot?;
        if spot.name.is_lazy() {
            return Ok(Some(spot));
        }
    }
    Ok(None)
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // After a panic the write is half done, as after a kill.
        if !std::thread::panicking() {
            self.zone.publish(BUSY, 0);
        }
        self.lock.unlock();
    }
}
