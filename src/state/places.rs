//! The places of the files that a directory has for itself.
//!
//! The workers' user may write to the directory, and with it each of its processes: one of them can
//! put a link, a directory or a FIFO where a lock is to be. Nothing of that is ever opened as a file of
//! ours, so left there it would keep all from writing, for ever. By its name it is removed, whatever it
//! leads to; what is a regular file is somebody's, and stays.

use rustix::fs::{AtFlags, FileType, statat, unlinkat};
use rustix::io::Errno;

use super::directory::StateDirectory;
use super::error::{Fault, StateError};
use super::{instance, shard};

/// What was in such places that is no regular file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Misplaced {
    /// The first one.
    pub(crate) first: Option<StateError>,
    /// How many there are: anybody who can make one can make many.
    pub(crate) count: usize,
    /// Why one of them is there still.
    pub(crate) failed: Option<StateError>,
}

impl StateDirectory {
    /// What is in the places of own files and is no regular file, which nobody can have in use.
    pub(crate) fn misplaced(&self) -> Misplaced {
        self.look_at_places(|_, _| Ok(()))
    }

    /// Removes that: links, what is no file, and directories that are empty.
    pub(crate) fn remove_misplaced(&self) -> Misplaced {
        self.look_at_places(|name, file_type| {
            // Neither follows a link. Should something else be in its place by now, it was put there
            // by who may remove it.
            let (call, flags) = match file_type {
                FileType::Directory => ("rmdir", AtFlags::REMOVEDIR),
                _ => ("unlink", AtFlags::empty()),
            };
            match unlinkat(self.fd(), name, flags) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(self.error(name, Fault::Call(call, errno))),
            }
        })
    }

    fn look_at_places(
        &self,
        remove: impl Fn(&[u8], FileType) -> Result<(), StateError>,
    ) -> Misplaced {
        let mut found = Misplaced::default();
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => return Misplaced { failed: Some(error), ..found },
        };
        for name in names.iter().filter(|name| instance::is_own(name) || shard::is_own(name)) {
            // One that is gone meanwhile is in nobody's way.
            let Ok(stat) = statat(self.fd(), name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let file_type = FileType::from_raw_mode(stat.st_mode);
            if file_type == FileType::RegularFile {
                continue;
            }
            match remove(name, file_type) {
                Ok(()) => {
                    found.count += 1;
                    found.first.get_or_insert_with(|| self.error(name, Fault::NotRegular));
                }
                Err(error) => drop(found.failed.get_or_insert(error)),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
