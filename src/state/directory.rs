//! The directory, and the sets in it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Dir, Mode, OFlags, Stat, Uid, fchown, fstat, fsync, mkdir, open, stat, syncfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::entry::{self, EntryError, HEADER_SIZE, Header, MAX_SIZE};
use super::error::{Fault, StateError};
use super::own_file::{self, OwnFile};
use super::shard::{self, ShardId};
use super::{StateEntry, own_file::check_access};
use crate::server_name::ServerName;

/// An open state directory; all that have a clone use one descriptor.
#[derive(Clone)]
pub(crate) struct StateDirectory(Arc<Inner>);

struct Inner {
    fd: OwnedFd,
    /// For the log, and to see that it is still there.
    path: PathBuf,
    owner: u32,
}

/// What a file in the directory turned out to be.
pub(crate) enum Loaded {
    Entry(StateEntry),
    /// Nothing that could be used; the error names the file.
    Skipped(StateError),
}

/// What a directory has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The NAMEs that have an entry, or what might be one, in order.
    pub(crate) entries: Vec<ServerName>,
    /// Whether there is a note of a set that was removed.
    pub(crate) has_removed: bool,
}

impl StateDirectory {
    /// Opens the directory, which has to belong to `owner`, `None` for whoever it belongs to, and be
    /// closed to everybody else: who can write to it can put certificates into the zone.
    pub(crate) fn open(path: &Path, owner: Option<u32>) -> Result<StateDirectory, StateError> {
        let failed = |call| move |errno| StateError::new(path, Fault::Call(call, errno));
        let fd = open_directory(path)?;
        let stat = fstat(&fd).map_err(failed("fstat"))?;
        let owner = owner.unwrap_or(stat.st_uid);
        check_access(&stat, owner).map_err(|fault| StateError::new(path, fault))?;
        Ok(StateDirectory(Arc::new(Inner { fd, path: path.to_owned(), owner })))
    }

    /// Makes the directory, closed to everybody but `owner` from the first moment.
    pub(crate) fn create(path: &Path, owner: u32) -> Result<StateDirectory, StateError> {
        let failed = |call| move |errno| StateError::new(path, Fault::Call(call, errno));
        mkdir(path, Mode::RWXU).map_err(failed("mkdir"))?;
        // Whoever may write to the directory above it might put something else in its place: only one
        // of this user's, and an empty one, is given away.
        let fd = open_directory(path)?;
        let stat = fstat(&fd).map_err(failed("fstat"))?;
        let own = geteuid().as_raw();
        check_access(&stat, own).map_err(|fault| StateError::new(path, fault))?;
        let directory = StateDirectory(Arc::new(Inner { fd, path: path.to_owned(), owner }));
        if !directory.names()?.is_empty() {
            return Err(StateError::new(path, Fault::Call("mkdir", Errno::EXIST)));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // What is in it is synced with it; this is its own name.
            if let Ok(parent) = open(parent, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                let _ = fsync(parent);
            }
        }
        if own != owner {
            fchown(directory.fd(), Some(Uid::from_raw(owner)), None).map_err(failed("fchown"))?;
        }
        Ok(directory)
    }

    /// The user whose files these are.
    pub(crate) fn owner(&self) -> u32 {
        self.0.owner
    }

    /// Fails when something else is at its path: what is written here would not be found there.
    pub(crate) fn check_place(&self) -> Result<(), StateError> {
        let is_moved = match (stat(&self.0.path), fstat(&self.0.fd)) {
            (Ok(there), Ok(own)) => !is_same(&there, &own),
            (Err(errno), _) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
            // This user may not look there; the master, which could, had it open.
            (Ok(_), Err(_)) => false,
        };
        if is_moved { Err(StateError::new(&self.0.path, Fault::Moved)) } else { Ok(()) }
    }

    /// The error of one that has lost its files while NGINX runs.
    pub(crate) fn emptied(&self) -> StateError {
        StateError::new(&self.0.path, Fault::Emptied)
    }

    /// The error of one in which another process has been writing for too long.
    pub(crate) fn busy(&self) -> StateError {
        StateError::new(&self.0.path, Fault::Busy)
    }

    /// The error of one that is open to read only.
    pub(super) fn not_writable(&self) -> StateError {
        StateError::new(&self.0.path, Fault::NotWritable)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether both are the same.
    pub(crate) fn is_same_as(&self, other: &StateDirectory) -> bool {
        match (fstat(&self.0.fd), fstat(&other.0.fd)) {
            (Ok(own), Ok(other)) => is_same(&own, &other),
            _ => false,
        }
    }

    /// Reads all entries, in the order of their names. What writers left that died is removed. An
    /// error says that the directory could not be listed.
    pub(crate) fn load(&self, visit: &mut dyn FnMut(Loaded)) -> Result<(), StateError> {
        for name in self.names()? {
            if name.starts_with(b".") {
                self.sweep(&name);
                continue;
            }
            match self.load_entry(&name) {
                Ok(Some(entry)) => visit(Loaded::Entry(entry)),
                // It was removed meanwhile.
                Ok(None) => {}
                Err(error) => visit(Loaded::Skipped(error)),
            }
        }
        Ok(())
    }

    fn load_entry(&self, file: &[u8]) -> Result<Option<StateEntry>, StateError> {
        match ServerName::from_operator(file) {
            Some(name) if name.as_str().as_bytes() == file => self.read(&name),
            _ => Err(self.error(file, Fault::Name)),
        }
    }

    /// Removes a temporary file that nobody is writing.
    fn sweep(&self, name: &[u8]) {
        let Some(rest) = name.strip_prefix(shard::TEMPORARY.as_bytes()) else { return };
        let lock = ShardId::from_hex(rest).map(|id| self.lock_if_there(id));
        match lock {
            // Another process is in the middle of it, or might be.
            Some(Ok(Some(None)) | Err(_)) => {}
            Some(Ok(Some(Some(_)) | None)) | None => {
                let _ = own_file::remove(self, name);
            }
        }
    }

    /// The entry of a name; `None` when there is none.
    pub(super) fn read(&self, name: &ServerName) -> Result<Option<StateEntry>, StateError> {
        let file = name.as_str().as_bytes();
        let Some(open) = OwnFile::open(self, file, OFlags::RDONLY)? else { return Ok(None) };
        let bad = |error| open.error(Fault::Entry(error));
        let size = usize::try_from(open.size()).unwrap_or(usize::MAX);
        if size > MAX_SIZE {
            return Err(bad(EntryError::TooLarge));
        }
        // One more tells that the file has grown.
        let entry = entry::decode(&open.read(size + 1)?).map_err(bad)?;
        if entry.name == *name { Ok(Some(entry)) } else { Err(bad(EntryError::OtherName)) }
    }

    /// The generation of a name's entry; `None` when there is none, or nothing that `read()` could
    /// ever make sense of.
    pub(super) fn generation(&self, name: &ServerName) -> Result<Option<u64>, StateError> {
        let file = name.as_str().as_bytes();
        let open = match OwnFile::open(self, file, OFlags::RDONLY) {
            Ok(Some(open)) => open,
            Ok(None) => return Ok(None),
            Err(error) if error.is_foreign() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Header::decode(&open.read(HEADER_SIZE)?).ok().map(|header| header.generation))
    }

    /// Brings the names in the directory to the disk.
    pub(super) fn sync(&self) -> Result<(), StateError> {
        match fsync(&self.0.fd) {
            // Of file systems that cannot: there is nothing more that could be done.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(StateError::new(&self.0.path, Fault::Call("fsync", errno))),
        }
    }

    /// Brings all that was written to the file system to the disk.
    pub(crate) fn sync_all(&self) -> Result<(), StateError> {
        syncfs(&self.0.fd)
            .map_err(|errno| StateError::new(&self.0.path, Fault::Call("syncfs", errno)))
    }

    /// The sets that were removed while another instance lived, and which generation at the most.
    pub(crate) fn removed(&self) -> Result<Vec<(ServerName, u64)>, StateError> {
        let mut removed = Vec::new();
        for file in self.names()? {
            let Some(name) = shard::removed_name(&file) else { continue };
            let open = match OwnFile::open(self, &file, OFlags::RDONLY) {
                Ok(Some(open)) => open,
                Ok(None) => continue,
                // It is no note of ours, and must not keep anybody from reading the directory.
                Err(error) if error.is_foreign() => continue,
                Err(error) => return Err(error),
            };
            let text = open.read(32)?;
            let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            removed.extend(number.map(|number| (name, number)));
        }
        Ok(removed)
    }

    /// Forgets what was removed, for who has no other instance beside it.
    pub(crate) fn forget_removed(&self) -> Result<(), StateError> {
        for file in self.names()? {
            if file.starts_with(shard::REMOVED.as_bytes()) {
                own_file::remove(self, &file)?;
            }
        }
        Ok(())
    }

    /// What there is, by its names.
    pub(crate) fn list(&self) -> Result<Listing, StateError> {
        let files = self.names()?;
        let has_removed = files.iter().any(|file| file.starts_with(shard::REMOVED.as_bytes()));
        let own = |file: Vec<u8>| {
            ServerName::from_operator(&file).filter(|name| name.as_str().as_bytes() == file)
        };
        Ok(Listing { entries: files.into_iter().filter_map(own).collect(), has_removed })
    }

    /// The names of all files, in order.
    pub(super) fn names(&self) -> Result<Vec<Vec<u8>>, StateError> {
        let failed = |errno| StateError::new(&self.0.path, Fault::Call("opendir", errno));
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    pub(super) fn error(&self, name: &[u8], fault: Fault) -> StateError {
        StateError::new(&self.0.path.join(OsStr::from_bytes(name)), fault)
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn open_directory(path: &Path) -> Result<OwnedFd, StateError> {
    // With a slash at its end, a link would be followed.
    let name = path.components().as_path();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(name, flags, Mode::empty()).map_err(|errno| {
        let is_link = path.symlink_metadata().is_ok_and(|stat| stat.is_symlink());
        let fault = if is_link { Fault::Link } else { Fault::Call("open", errno) };
        StateError::new(path, fault)
    })
}

#[cfg(test)]
mod tests;
