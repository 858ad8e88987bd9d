//! Writing, by whoever holds the zone's lock.

use std::sync::atomic::{Ordering, fence};

use super::layout::BUSY;
use super::word::Link;
use super::zone::Zone;
use super::{SetId, Store, hash, index, name, publish, repair};
use crate::record::Record;

/// The lock of the zone: one that is freed when the process that holds it dies.
pub(crate) trait ZoneLock {
    /// Takes the lock unless another holds it. Never waits.
    fn try_lock(&self) -> bool;
    /// Frees the lock that this process holds.
    fn unlock(&self);
}

/// Why a record was not published. Nothing of it is in the zone, and the set that the name had
/// before still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublishError {
    /// No room, also without the lazy sets. In bytes; `free` may be in pieces.
    Full { needed: u64, free: u64 },
    /// What is there was read later.
    Overtaken,
}

/// What stops a step of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Full,
    Overtaken,
    /// The zone is not as it should be: repair it, and do the whole write again.
    Damaged,
}

/// The right to write. The lock is held until it is dropped.
pub(crate) struct Writer<'a> {
    zone: Zone,
    lock: &'a dyn ZoneLock,
}

impl<'a> Writer<'a> {
    /// Takes the lock, and repairs what a writer left that died. `None` when another holds the
    /// lock, or when there is no memory to repair with.
    pub(super) fn begin(store: &Store, lock: &'a dyn ZoneLock) -> Option<Writer<'a>> {
        if !lock.try_lock() {
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

    /// Makes `record` the set of `name`: readers see the one before or this one, whole. Evicts
    /// lazy sets for it if need be. `ticket` was drawn before the record was read, `now_msec` is
    /// the time of its first use.
    pub(crate) fn publish(
        &mut self,
        name: &str,
        record: &Record,
        ticket: u64,
        now_msec: u64,
    ) -> Result<SetId, PublishError> {
        let needed = publish::needed_units(name, record);
        let publish = || publish::run(&self.zone, name, record, ticket, now_msec);
        match self.repairing(publish) {
            Ok(set) => Ok(SetId(set.without_flags().0)),
            Err(Fault::Overtaken) => Err(PublishError::Overtaken),
            Err(_) => Err(PublishError::Full {
                needed: needed.saturating_mul(super::layout::UNIT_BYTES),
                free: super::free_bytes(&self.zone),
            }),
        }
    }

    /// Notes that the same content was read again, with `ticket` drawn before: the set is as fresh
    /// as that, and no longer a last good one. False when the name has another set by now.
    pub(crate) fn restamp(&mut self, name: &str, id: SetId, ticket: u64) -> bool {
        let Some(spot) = self.locate(name) else {
            return false;
        };
        if spot.name.set.without_flags().0 != id.0 {
            return false;
        }
        if ticket >= spot.name.ticket {
            let at = self.zone.at(spot.link.unit());
            self.zone.publish(at + name::SET, spot.name.set.with(Link::LAST_GOOD, false).0);
            self.zone.publish(at + name::TICKET, ticket);
        }
        true
    }

    /// Notes whether the set serves only because what came after it is bad or gone: such a set is
    /// evicted last. Nothing when the name has no set.
    pub(crate) fn set_last_good(&mut self, name: &str, last_good: bool) {
        if let Some(spot) = self.locate(name) {
            let set = spot.name.set.with(Link::LAST_GOOD, last_good);
            self.zone.publish(self.zone.at(spot.link.unit()) + name::SET, set.0);
        }
    }

    /// Removes the name with its set. False when it has none.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let zone = self.zone;
        let hash = hash::of_name(name.as_bytes());
        let mut removed = false;
        let done = self.repairing(|| {
            if let Some(spot) = index::locate(&zone, name.as_bytes(), hash)? {
                index::unlink(&zone, &spot);
                index::announce(&zone, hash);
                removed = true;
                index::discard(&zone, &spot)?;
            }
            Ok(())
        });
        removed && done.is_ok()
    }

    fn locate(&self, name: &str) -> Option<index::Spot> {
        let hash = hash::of_name(name.as_bytes());
        self.repairing(|| index::locate(&self.zone, name.as_bytes(), hash)).ok().flatten()
    }

    /// Does it, once more after a repair when the zone turns out to be damaged.
    fn repairing<T>(&self, mut write: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        match write() {
            Err(Fault::Damaged) if repair::run(&self.zone) => write(),
            done => done,
        }
    }
}

#[cfg(test)]
impl Writer<'_> {
    pub(super) fn test_zone(&self) -> Zone {
        self.zone
    }
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
