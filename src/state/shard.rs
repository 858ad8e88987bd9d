//! One writer at a time, and what a writer that died left.
//!
//! Names share 64 locks. The kernel frees the lock of a process that ends. The lock file has the NAME
//! in it from before the change on disk until after the change in memory: whoever takes the lock and
//! finds a NAME in it knows that the two may differ. A removal has its generation behind the NAME: that
//! there is no entry is else no reason to remove a set. That is for a process that dies; when the
//! machine does, memory is read from disk anyway, so the mark need not get there.

use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, OFlags, statat};

use super::StateEntry;
use super::directory::StateDirectory;
use super::entry::{self, EntryError, MAX_SIZE};
use super::error::{Fault, StateError};
use super::own_file::{self, OwnFile};
use crate::server_name::ServerName;

const LOCK: &str = ".lock-";
/// The NAME of a set that was removed while another instance lived follows.
pub(super) const REMOVED: &str = ".removed-";
/// What all files begin with that are of no use when their writer is gone.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Between two looks at a lock that another holds.
const PAUSE: Duration = Duration::from_millis(2);

/// More than any name has, with a number.
const MARK_SIZE: usize = 320;

/// A change that may be on disk and not in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) name: ServerName,
    /// The set was to be removed, where it was of this generation or an older one.
    pub(crate) removed: Option<u64>,
}

impl Unsettled {
    /// `None` for half a name, which was left by a writer that did not get further.
    fn parse(mark: &[u8]) -> Option<Unsettled> {
        let mut parts = mark.splitn(2, |byte| *byte == b' ');
        let name = ServerName::from_operator(parts.next()?)?;
        let generation = parts.next().and_then(|digits| std::str::from_utf8(digits).ok());
        Some(Unsettled { name, removed: generation.and_then(|digits| digits.parse().ok()) })
    }
}

/// One of the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardId(u8);

impl ShardId {
    const COUNT: u8 = 64;

    /// FNV-1a over the name: the same in each build, which finds what another one left.
    pub(crate) fn of(name: &ServerName) -> ShardId {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.as_str().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        ShardId(((hash ^ (hash >> 32)) % u64::from(Self::COUNT)) as u8)
    }

    pub(crate) fn all() -> impl Iterator<Item = ShardId> {
        (0..Self::COUNT).map(ShardId)
    }

    /// Below the number of all.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn from_hex(digits: &[u8]) -> Option<ShardId> {
        Self::all().find(|id| id.hex().as_bytes() == digits)
    }

    fn hex(self) -> String {
        format!("{:02x}", self.0)
    }

    fn lock_file(self) -> Vec<u8> {
        format!("{LOCK}{}", self.hex()).into_bytes()
    }

    fn temporary_file(self) -> Vec<u8> {
        format!("{TEMPORARY}{}", self.hex()).into_bytes()
    }
}

/// Whether the name is that of a file which writers have in the directory besides entries.
pub(super) fn is_own(name: &[u8]) -> bool {
    let is_shards = |prefix: &str| {
        name.strip_prefix(prefix.as_bytes()).is_some_and(|rest| ShardId::from_hex(rest).is_some())
    };
    is_shards(LOCK) || is_shards(TEMPORARY) || removed_name(name).is_some()
}

/// Of which NAME a file notes that it was removed.
pub(super) fn removed_name(file: &[u8]) -> Option<ServerName> {
    ServerName::from_operator(file.strip_prefix(REMOVED.as_bytes())?)
}

/// A lock that is held until this is dropped. It may go from one thread to another.
pub(crate) struct Shard {
    directory: StateDirectory,
    id: ShardId,
    lock: OwnFile,
}

/// Whether a change has to be on disk before it is said to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Now,
    /// By `StateDirectory::sync_all()`, or not at all.
    Later,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    /// Nothing: this higher generation is there.
    Older(u64),
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    Done,
    /// There was nothing.
    Absent,
    /// Nothing: this higher generation is there.
    Older(u64),
}

impl StateDirectory {
    /// The lock that a name shares with others; `None` while another holds it.
    pub(crate) fn lock(&self, name: &ServerName) -> Result<Option<Shard>, StateError> {
        self.lock_shard(ShardId::of(name))
    }

    pub(crate) fn lock_shard(&self, id: ShardId) -> Result<Option<Shard>, StateError> {
        let lock = OwnFile::open_or_create(self, &id.lock_file())?;
        self.locked(id, lock)
    }

    /// As `lock_shard()`; the outer `None` when there is no lock file, so that nobody holds it.
    pub(super) fn lock_if_there(&self, id: ShardId) -> Result<Option<Option<Shard>>, StateError> {
        match OwnFile::open(self, &id.lock_file(), OFlags::RDWR)? {
            Some(lock) => self.locked(id, lock).map(Some),
            None => Ok(None),
        }
    }

    /// As `lock()`, waited for until `deadline`.
    pub(crate) fn lock_until(
        &self,
        name: &ServerName,
        deadline: Instant,
    ) -> Result<Option<Shard>, StateError> {
        loop {
            if let Some(shard) = self.lock(name)? {
                return Ok(Some(shard));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for writes that are under way, until `deadline`; false when one still is then. Those
    /// that come later see who the owner is.
    pub(crate) fn wait_for_writers(&self, deadline: Instant) -> Result<bool, StateError> {
        for id in ShardId::all() {
            loop {
                match self.lock_if_there(id) {
                    Ok(Some(None)) if Instant::now() >= deadline => return Ok(false),
                    Ok(Some(None)) => std::thread::sleep(PAUSE),
                    Ok(_) => break,
                    // Nobody writes by what cannot be locked.
                    Err(error) if error.is_no_file() => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(true)
    }

    /// Whether each lock can be had, for who is to write.
    pub(crate) fn check_locks(&self) -> Result<(), StateError> {
        ShardId::all()
            .try_for_each(|id| OwnFile::open(self, &id.lock_file(), OFlags::RDWR).map(drop))
    }

    fn locked(&self, id: ShardId, lock: OwnFile) -> Result<Option<Shard>, StateError> {
        let is_ours =
            lock.try_lock(FlockOperation::NonBlockingLockExclusive)? && lock.is_linked()?;
        Ok(is_ours.then(|| Shard { directory: self.clone(), id, lock }))
    }

    /// The locks in whose files there is a NAME: of a change that is under way, or that died.
    pub(crate) fn unsettled_shards(&self) -> Vec<ShardId> {
        let is_unsettled = |id: &ShardId| {
            let stat = statat(self.fd(), id.lock_file(), AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| stat.st_size > 0)
        };
        ShardId::all().filter(is_unsettled).collect()
    }
}

impl Shard {
    /// The last change, which may be on disk and not in memory. Its name is to be read, brought to
    /// memory and settled before anything else is changed. With `None` there may still be something
    /// to settle, of a writer that did not get as far as a change.
    pub(crate) fn unsettled(&self) -> Result<Option<Unsettled>, StateError> {
        Ok(Unsettled::parse(&self.lock.read(MARK_SIZE)?))
    }

    /// The change is in memory too.
    pub(crate) fn settle(&mut self) -> Result<(), StateError> {
        self.lock.make_empty()
    }

    /// The generation on disk; `None` when there is nothing that can be used.
    pub(crate) fn generation(&self, name: &ServerName) -> Result<Option<u64>, StateError> {
        self.directory.generation(name)
    }

    /// What is on disk; `None` when there is nothing.
    pub(crate) fn read(&self, name: &ServerName) -> Result<Option<StateEntry>, StateError> {
        self.directory.read(name)
    }

    /// Takes an entry to the disk, to stay there; `settle()` when it is in memory too. After an error
    /// the old one is there; but when it was the directory that could not be synced, nobody knows
    /// which is, and the name stays unsettled.
    pub(crate) fn write(
        &mut self,
        entry: &StateEntry,
        flush: Flush,
    ) -> Result<Written, StateError> {
        let file = entry.name.as_str().as_bytes();
        self.expect_change_of(&entry.name)?;
        match self.generation(&entry.name)? {
            Some(there) if there > entry.current.number => return Ok(Written::Older(there)),
            _ => {}
        }
        let bytes = entry::encode(entry);
        if bytes.len() > MAX_SIZE {
            return Err(self.directory.error(file, Fault::Entry(EntryError::TooLarge)));
        }

        self.mark(entry.name.as_str())?;
        let through = self.id.temporary_file();
        let is_durable = flush == Flush::Now;
        let replaced = own_file::replace(&self.directory, file, &through, &bytes, is_durable);
        self.unmark_if_failed(replaced)?;
        self.sync_directory(flush)?;
        Ok(Written::Done)
    }

    /// After a `write()` or `remove()` whose change memory does not take: what was on disk before is
    /// there again. Until `settle()` the name stays marked, so that whoever comes next looks.
    pub(crate) fn undo(
        &mut self,
        name: &ServerName,
        before: Option<&StateEntry>,
        flush: Flush,
    ) -> Result<(), StateError> {
        let file = name.as_str().as_bytes();
        match before {
            Some(entry) => {
                let bytes = entry::encode(entry);
                let through = self.id.temporary_file();
                let is_durable = flush == Flush::Now;
                own_file::replace(&self.directory, file, &through, &bytes, is_durable)?;
            }
            None => {
                own_file::remove(&self.directory, file)?;
            }
        }
        self.sync_directory(flush)
    }

    /// Takes an entry of this generation or an older one, or what is in its place, from the disk.
    /// `settle()` and errors as for `write()`.
    pub(crate) fn remove(
        &mut self,
        name: &ServerName,
        generation: u64,
        flush: Flush,
    ) -> Result<Removed, StateError> {
        self.expect_change_of(name)?;
        match self.generation(name)? {
            Some(there) if there > generation => return Ok(Removed::Older(there)),
            _ => {}
        }
        self.mark(&format!("{name} {generation}"))?;
        let noted = self.note_removed(name, generation);
        self.unmark_if_failed(noted)?;
        let removed = own_file::remove(&self.directory, name.as_str().as_bytes());
        let was_there = self.unmark_if_failed(removed)?;
        self.sync_directory(flush)?;
        Ok(if was_there { Removed::Done } else { Removed::Absent })
    }

    /// For another instance, which has the set in memory and may take the directory over: what is
    /// absent may be so for any reason.
    fn note_removed(&self, name: &ServerName, generation: u64) -> Result<(), StateError> {
        if !self.directory.has_other_instance()? {
            return Ok(());
        }
        let file = format!("{REMOVED}{name}").into_bytes();
        let text = generation.to_string();
        own_file::replace(&self.directory, &file, &self.id.temporary_file(), text.as_bytes(), false)
    }

    fn sync_directory(&self, flush: Flush) -> Result<(), StateError> {
        match flush {
            Flush::Now => self.directory.sync(),
            Flush::Later => Ok(()),
        }
    }

    /// A second mark would hide the first.
    fn expect_change_of(&self, name: &ServerName) -> Result<(), StateError> {
        if ShardId::of(name) != self.id {
            return Err(self.lock.error(Fault::OtherShard));
        }
        match self.unsettled()? {
            Some(_) => Err(self.lock.error(Fault::Unsettled)),
            None => Ok(()),
        }
    }

    fn mark(&self, text: &str) -> Result<(), StateError> {
        self.lock.make_empty()?;
        self.unmark_if_failed(self.lock.write(text.as_bytes()))
    }

    fn unmark_if_failed<T>(&self, result: Result<T, StateError>) -> Result<T, StateError> {
        // What failed first is what is reported; a mark that stays is looked after by the next.
        result.inspect_err(|_| drop(self.lock.make_empty()))
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.lock.unlock();
    }
}

#[cfg(test)]
mod tests;
