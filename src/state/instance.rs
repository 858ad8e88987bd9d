//! Which of two NGINX instances may write, while one binary takes over from another.
//!
//! Each master holds a lock on a file of its own, which says by that that it lives, and `.owner` has
//! the name of the file whose master may write. Nobody has to end in good order: an owner whose lock
//! is free is dead.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::process::getpid;

use super::directory::StateDirectory;
use super::error::{Fault, StateError};
use super::own_file::{self, OwnFile};

const INSTANCE: &str = ".instance-";
const OWNER: &[u8] = b".owner";
/// What becomes `.owner`; only who holds the claim writes it.
const NEW_OWNER: &[u8] = b".owner-new";
const CLAIM: &[u8] = b".claim";

/// Longer than any instance's name.
const MAX_NAME: usize = 64;

/// Ends the list in an owner's file of the instances that lived when it claimed.
const END: u8 = b'.';
/// A longer list is none.
const MAX_LIST: usize = 4_096;

/// How often a claim is tried, and how long it waits in between: another's takes some file
/// operations.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// A master that uses the directory, for as long as this is open in its process. It outlives
/// reloads.
///
/// A worker inherits it by fork and has to close it, or the master would live on in the worker; that
/// leaves the master's lock alone, as both descriptors are of one opening, and the lock goes with
/// the last of them. For the same reason dropping never unlocks; it removes the file of one that claimed
/// and did not stay, which no worker has.
pub(crate) struct Instance {
    directory: StateDirectory,
    name: String,
    /// Its lock is the proof of life.
    #[cfg_attr(not(test), allow(dead_code, reason = "held, not used"))]
    file: OwnFile,
    /// Who may write again when this one does not stay: the instance that lived when it claimed.
    before: Option<Vec<u8>>,
    /// The instances that lived when it claimed, until somebody asked.
    others: Vec<Vec<u8>>,
}

/// What the master knows of the processes that may have the directory with right.
pub(crate) struct Relatives {
    /// Itself, its parent, and a binary that it started.
    pub(crate) pids: Vec<i32>,
    /// One binary is taking over from another.
    pub(crate) is_upgrade: bool,
}

/// Who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    Mine,
    /// An instance that lives.
    Other,
    /// One whose master is gone.
    Dead,
    /// Nobody: the directory is new, or was emptied.
    Nobody,
}

impl Instance {
    /// For the master: a file of its own, locked. It may not write before it claims.
    pub(crate) fn begin(directory: &StateDirectory) -> Result<Instance, StateError> {
        for _ in 0..ATTEMPTS {
            let name = new_name();
            match OwnFile::create(directory, name.as_bytes()) {
                Err(error) if error.errno() == Some(Errno::EXIST) => continue,
                created => drop(created?),
            }
            // To read only: nothing that is kept open keeps a file system from becoming read-only.
            let Some(file) = OwnFile::open(directory, name.as_bytes(), OFlags::RDONLY)? else {
                continue;
            };
            // Another's claim may have found it not locked yet, and removed it.
            let is_locked = file.try_lock(FlockOperation::NonBlockingLockExclusive)?;
            if is_locked && file.is_linked()? {
                let directory = directory.clone();
                return Ok(Instance { directory, name, file, before: None, others: vec![] });
            }
        }
        Err(directory.error(INSTANCE.as_bytes(), Fault::Busy))
    }

    /// By which its workers know that they may write.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For the master: this instance may write, and no other. Files of dead instances are removed.
    /// Dropped before `stay()`, it gives that back.
    pub(crate) fn claim(&mut self) -> Result<(), StateError> {
        let claim = Claim::wait(&self.directory)?;
        self.before = claim.living_owner()?.filter(|name| name != self.name.as_bytes());
        self.others = claim.make_owner(&self.name)?;
        Ok(())
    }

    /// The instances that live besides this one, since it claimed, and are none of its relatives': their
    /// processes, `None` for one that cannot be seen from here. To be asked once.
    ///
    /// By the name of its file an instance has the process that made it, which is not the master where
    /// that became a daemon afterwards. So it is looked for who has that file open.
    pub(crate) fn strangers(&mut self, relatives: &Relatives) -> Vec<Option<i32>> {
        let mut strangers = Vec::new();
        for name in std::mem::take(&mut self.others) {
            let is_relative = relatives.pids.iter().any(|pid| has_open(*pid, &name));
            if is_relative || is_free(&self.directory, &name) != Ok(false) {
                continue;
            }
            let process = processes().find(|pid| has_open(*pid, &name));
            // What cannot be seen is taken for what is to be expected.
            if process.is_some() || !relatives.is_upgrade {
                strangers.push(process);
            }
        }
        strangers
    }

    /// The configuration that claimed has come to stay.
    pub(crate) fn stay(&mut self) {
        self.before = None;
    }

    fn give_back(&self, before: &[u8]) -> Result<(), StateError> {
        let claim = Claim::wait(&self.directory)?;
        let owner = written_owner(&self.directory)?;
        let is_owner = owner.as_deref() == Some(self.name.as_bytes());
        if is_owner && !is_free(&self.directory, before)? {
            claim.write_owner(before)?;
        }
        own_file::remove(&self.directory, self.name.as_bytes()).map(drop)
    }

    /// For a worker: closes what it inherited. The master's lock stays.
    pub(crate) fn close_inherited(self) {}

    #[cfg(test)]
    pub(super) fn file(&self) -> &OwnFile {
        &self.file
    }
}

impl Drop for Instance {
    /// Of a start or a reload that failed. No worker has one that might: they are forked later.
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // Where this fails, the owner is found dead, and its place is taken.
            let _ = self.give_back(&before);
        }
    }
}

fn new_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{INSTANCE}{}-{:x}", getpid().as_raw_nonzero(), now.as_nanos())
}

/// Who may write, as seen by who belongs to the instance of that name.
pub(crate) fn owner(directory: &StateDirectory, my_name: &str) -> Result<Ownership, StateError> {
    let Some(name) = written_owner(directory)? else { return Ok(Ownership::Nobody) };
    if name == my_name.as_bytes() {
        return Ok(Ownership::Mine);
    }
    Ok(if is_free(directory, &name)? { Ownership::Dead } else { Ownership::Other })
}

/// Which instance the owner file names; `None` where there is none, or one that makes no sense.
fn written_owner(directory: &StateDirectory) -> Result<Option<Vec<u8>>, StateError> {
    let Some(file) = OwnFile::open(directory, OWNER, OFlags::RDONLY)? else { return Ok(None) };
    let name = file.read(MAX_NAME)?;
    Ok(is_instance(&name).then(|| name.to_vec()))
}

/// Makes the instance of that name the owner when the one that was is dead, once `load` has read the
/// directory: who dies in the middle of that, or has it return false, leaves it to the next. Of two
/// that try, one does; false when it was the other, or is one that lives.
pub(crate) fn take_over_if_dead(
    directory: &StateDirectory,
    my_name: &str,
    load: impl FnOnce() -> Result<bool, StateError>,
) -> Result<bool, StateError> {
    let Some(claim) = Claim::take(directory)? else { return Ok(false) };
    match owner(directory, my_name)? {
        Ownership::Mine => Ok(true),
        Ownership::Other | Ownership::Nobody => Ok(false),
        Ownership::Dead => Ok(load()? && claim.make_owner(my_name).map(|_| true)?),
    }
}

/// The right to change who the owner is, until it is dropped.
struct Claim<'a> {
    directory: &'a StateDirectory,
    lock: OwnFile,
}

impl Claim<'_> {
    /// `None` while another has it.
    fn take(directory: &StateDirectory) -> Result<Option<Claim<'_>>, StateError> {
        let lock = OwnFile::open_or_create(directory, CLAIM)?;
        let is_ours =
            lock.try_lock(FlockOperation::NonBlockingLockExclusive)? && lock.is_linked()?;
        Ok(is_ours.then_some(Claim { directory, lock }))
    }

    /// As `take()`; waits for another, but not for ever.
    fn wait(directory: &StateDirectory) -> Result<Claim<'_>, StateError> {
        for _ in 0..ATTEMPTS {
            if let Some(claim) = Claim::take(directory)? {
                return Ok(claim);
            }
            std::thread::sleep(PAUSE);
        }
        Err(directory.error(CLAIM, Fault::Busy))
    }

    /// The owner, where that is an instance that lives.
    fn living_owner(&self) -> Result<Option<Vec<u8>>, StateError> {
        match written_owner(self.directory)? {
            Some(name) if !is_free(self.directory, &name)? => Ok(Some(name)),
            _ => Ok(None),
        }
    }

    /// The instances that live besides that one.
    fn make_owner(&self, name: &str) -> Result<Vec<Vec<u8>>, StateError> {
        let others = self.remove_dead(name)?;
        // Without a list, who wants to know reads the directory.
        let _ = self.list_others(name, &others);
        self.write_owner(name.as_bytes())?;
        Ok(others)
    }

    /// In the owner's own file: whoever comes later claims, too.
    fn list_others(&self, name: &str, others: &[Vec<u8>]) -> Result<(), StateError> {
        let Some(file) = OwnFile::open(self.directory, name.as_bytes(), OFlags::RDWR)? else {
            return Ok(());
        };
        let mut list: Vec<u8> =
            others.iter().flat_map(|other| [other, &b"\n"[..]]).flatten().copied().collect();
        list.push(END);
        file.make_empty()?;
        file.write(&list)
    }

    fn write_owner(&self, name: &[u8]) -> Result<(), StateError> {
        // Not synced: an owner does not outlive the machine.
        own_file::replace(self.directory, OWNER, NEW_OWNER, name, false)
    }

    /// Removes the files of instances that are no more; the names of those that are.
    fn remove_dead(&self, my_name: &str) -> Result<Vec<Vec<u8>>, StateError> {
        let mut living = Vec::new();
        for name in self.directory.names()? {
            if !is_instance(&name) || name == my_name.as_bytes() {
                continue;
            }
            // The lock is kept meanwhile, so that one that is just beginning notices.
            let Ok(Some(file)) = OwnFile::open(self.directory, &name, OFlags::RDWR) else {
                continue;
            };
            if file.try_lock(FlockOperation::NonBlockingLockExclusive)? {
                own_file::remove(self.directory, &name)?;
                file.unlock();
            } else {
                living.push(name);
            }
        }
        Ok(living)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.lock.unlock();
    }
}

impl StateDirectory {
    /// Whether an instance lives besides the one that may write; by a few files, however many sets
    /// there are.
    pub(crate) fn has_other_instance(&self) -> Result<bool, StateError> {
        if let Some(others) = self.listed_others()? {
            for name in others {
                if !is_free(self, &name)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let mut living = 0;
        for name in self.names()?.iter().filter(|name| is_instance(name)) {
            living += u32::from(!is_free(self, name)?);
        }
        Ok(living > 1)
    }

    /// Those that lived when the owner claimed; `None` when that is not known.
    fn listed_others(&self) -> Result<Option<Vec<Vec<u8>>>, StateError> {
        let Some(owner) = written_owner(self)? else { return Ok(None) };
        let Some(file) = OwnFile::open(self, &owner, OFlags::RDONLY)? else { return Ok(None) };
        let list = file.read(MAX_LIST)?;
        let Some((&END, lines)) = list.split_last() else { return Ok(None) };
        let names = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
        Ok(names.iter().all(|name| is_instance(name)).then_some(names))
    }
}

/// Whether the name is that of a file which instances have in the directory.
pub(super) fn is_own(name: &[u8]) -> bool {
    [OWNER, NEW_OWNER, CLAIM].contains(&name) || is_instance(name)
}

fn is_instance(name: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_hexdigit() || *b == b'-';
    name.strip_prefix(INSTANCE.as_bytes()).is_some_and(|rest| rest.iter().all(is_plain))
}

/// All that can be seen from here, in order.
fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter()
}

/// Whether a process has an instance's file open. By the links' text, which no file system has to be
/// asked for; no two instances have one name.
fn has_open(pid: i32, name: &[u8]) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut paths = files.filter_map(|file| fs::read_link(file.path()).ok());
    paths.any(|path| path.file_name().is_some_and(|file| file.as_bytes() == name))
}

/// Whether nobody holds the lock of an instance's file.
fn is_free(directory: &StateDirectory, name: &[u8]) -> Result<bool, StateError> {
    let Some(file) = OwnFile::open(directory, name, OFlags::RDONLY)? else { return Ok(true) };
    // Shared: two that ask at the same time must not take each other for the owner.
    let is_free = file.try_lock(FlockOperation::NonBlockingLockShared)?;
    if is_free {
        file.unlock();
    }
    Ok(is_free)
}

#[cfg(test)]
mod tests;
