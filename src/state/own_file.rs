//! Files of the directory that are ours and nobody else's.
//!
//! The master works with the rights of root in a directory of the workers' user. So nothing is
//! opened through a link, and a file is read, changed or trusted only when it is a regular one of
//! that user, closed to others, and has no second name, by which it might be something else's.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, Uid, fchown, flock, fstat, ftruncate,
    openat, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::directory::StateDirectory;
use super::error::{Fault, StateError};

/// O_NONBLOCK: a FIFO must not stop the worker.
const OPEN: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// A file that was checked, open.
pub(super) struct OwnFile {
    directory: StateDirectory,
    name: Vec<u8>,
    fd: OwnedFd,
    stat: Stat,
}

impl OwnFile {
    /// A file that is there; `None` when it is not.
    pub(super) fn open(
        directory: &StateDirectory,
        name: &[u8],
        access: OFlags,
    ) -> Result<Option<OwnFile>, StateError> {
        match openat(directory.fd(), name, OPEN | access, Mode::empty()) {
            Ok(fd) => OwnFile::checked(directory, name, fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(directory.error(name, Fault::Call("open", errno))),
        }
    }

    /// A new file; `EEXIST` when there is one.
    pub(super) fn create(directory: &StateDirectory, name: &[u8]) -> Result<OwnFile, StateError> {
        let failed = |call| move |errno| directory.error(name, Fault::Call(call, errno));
        let access = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = openat(directory.fd(), name, OPEN | access, mode).map_err(failed("open"))?;
        // The master's file is for the workers too.
        let owner = Uid::from_raw(directory.owner());
        if geteuid() != owner {
            fchown(&fd, Some(owner), None).map_err(failed("fchown")).inspect_err(|_| {
                let _ = remove(directory, name);
            })?;
        }
        OwnFile::checked(directory, name, fd)
    }

    /// A file that is there, or a new one, to read and write.
    pub(super) fn open_or_create(
        directory: &StateDirectory,
        name: &[u8],
    ) -> Result<OwnFile, StateError> {
        if let Some(file) = OwnFile::open(directory, name, OFlags::RDWR)? {
            return Ok(file);
        }
        match OwnFile::create(directory, name) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                let missing = || directory.error(name, Fault::Call("open", Errno::NOENT));
                OwnFile::open(directory, name, OFlags::RDWR)?.ok_or_else(missing)
            }
            created => created,
        }
    }

    fn checked(
        directory: &StateDirectory,
        name: &[u8],
        fd: OwnedFd,
    ) -> Result<OwnFile, StateError> {
        let stat =
            fstat(&fd).map_err(|errno| directory.error(name, Fault::Call("fstat", errno)))?;
        check(&stat, directory.owner()).map_err(|fault| directory.error(name, fault))?;
        Ok(OwnFile { directory: directory.clone(), name: name.to_vec(), fd, stat })
    }

    /// Bytes, when it was opened.
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or_default()
    }

    pub(super) fn error(&self, fault: Fault) -> StateError {
        self.directory.error(&self.name, fault)
    }

    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> StateError + '_ {
        move |errno| self.error(Fault::Call(call, errno))
    }

    /// The first bytes, `limit` at the most. The buffer never moves: it may hold keys.
    pub(super) fn read(&self, limit: usize) -> Result<Zeroizing<Vec<u8>>, StateError> {
        let mut bytes = Zeroizing::new(vec![0; limit]);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.fd, rest, filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error(Fault::Call("pread", errno))),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// From the beginning on.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), StateError> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pwrite(&self.fd, rest, written as u64) {
                Ok(0) => return Err(self.error(Fault::Call("pwrite", Errno::IO))),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error(Fault::Call("pwrite", errno))),
            }
        }
        Ok(())
    }

    pub(super) fn make_empty(&self) -> Result<(), StateError> {
        ftruncate(&self.fd, 0).map_err(self.failed("ftruncate"))
    }

    pub(super) fn sync(&self) -> Result<(), StateError> {
        rustix::fs::fsync(&self.fd).map_err(self.failed("fsync"))
    }

    /// Locks the file until it is closed or unlocked; false when another has it. It is the lock of this opening
    /// of the file: another one, also of the same process, is another's.
    pub(super) fn try_lock(&self, operation: FlockOperation) -> Result<bool, StateError> {
        match flock(&self.fd, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(self.error(Fault::Call("flock", errno))),
        }
    }

    /// Frees the lock at once, also for copies of the descriptor: a process that is forked meanwhile
    /// has some until it calls exec.
    pub(super) fn unlock(&self) {
        let _ = flock(&self.fd, FlockOperation::Unlock);
    }

    /// Whether the file still has a name: a lock on one that has none is nobody's.
    pub(super) fn is_linked(&self) -> Result<bool, StateError> {
        fstat(&self.fd).map(|stat| stat.st_nlink > 0).map_err(self.failed("fstat"))
    }

    #[cfg(test)]
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// A file with these bytes takes the place of what has the name; through a file of another name,
/// which is not there afterwards, so that the change is whole or none. It is on disk when `durable`,
/// but for its name.
pub(super) fn replace(
    directory: &StateDirectory,
    name: &[u8],
    through: &[u8],
    bytes: &[u8],
    durable: bool,
) -> Result<(), StateError> {
    let put = || {
        remove(directory, through)?;
        let file = OwnFile::create(directory, through)?;
        file.write(bytes)?;
        if durable {
            file.sync()?;
        }
        renameat(directory.fd(), through, directory.fd(), name)
            .map_err(|errno| directory.error(name, Fault::Call("rename", errno)))
    };
    put().inspect_err(|_| {
        let _ = remove(directory, through);
    })
}

/// Whether there was something of that name, which is gone now.
pub(super) fn remove(directory: &StateDirectory, name: &[u8]) -> Result<bool, StateError> {
    match unlinkat(directory.fd(), name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(directory.error(name, Fault::Call("unlink", errno))),
    }
}

/// Whether a file is ours and nobody else's.
fn check(stat: &Stat, owner: u32) -> Result<(), Fault> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::NotRegular);
    }
    check_access(stat, owner)?;
    // The field differs in width between architectures.
    #[allow(clippy::useless_conversion)]
    match u64::from(stat.st_nlink) {
        0 | 1 => Ok(()),
        count => Err(Fault::Links(count)),
    }
}

/// Whether it belongs to the user, and nobody else may do anything with it.
pub(super) fn check_access(stat: &Stat, owner: u32) -> Result<(), Fault> {
    if stat.st_uid != owner {
        return Err(Fault::Owner { wanted: owner, is: stat.st_uid });
    }
    match stat.st_mode & 0o7777 {
        mode if mode & 0o077 != 0 => Err(Fault::Mode(mode)),
        _ => Ok(()),
    }
}
