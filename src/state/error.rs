//! What is wrong with the state directory, or with a file in it.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::entry::EntryError;
use crate::files::{failed_call, printable};

/// A path, which is no secret, and what is wrong with it: a line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StateError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A call of the system failed.
    Call(&'static str, Errno),
    /// The user that it is to belong to, and the one that it belongs to.
    Owner {
        wanted: u32,
        is: u32,
    },
    /// Group or others may do something; the permission bits.
    Mode(u32),
    NotRegular,
    /// Not one name but so many.
    Links(u64),
    /// The file's name is no server name in its normal form.
    Name,
    Entry(EntryError),
    /// A lock file of which nobody settled what the last writer did.
    Unsettled,
    /// The lock of another shard is held.
    OtherShard,
    /// Another process has held it for too long.
    Busy,
    /// The directory is not what is at its path any more.
    Moved,
    /// Somebody else has removed files of it.
    Emptied,
    /// A symbolic link.
    Link,
    /// Nothing could be written to it when NGINX was started.
    NotWritable,
}

impl StateError {
    pub(super) fn new(path: &Path, fault: Fault) -> StateError {
        StateError { path: path.to_owned(), fault }
    }

    /// What the call that failed said; `None` when none failed.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self.fault {
            Fault::Call(_, errno) => Some(errno),
            _ => None,
        }
    }

    /// Whether there is no room on the disk, or none for this user.
    pub(crate) fn is_out_of_room(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// Whether the directory takes nothing now that it may take later: for its file system, or for
    /// what is in the place of one of its own files.
    pub(crate) fn is_not_writable(&self) -> bool {
        self.is_out_of_room()
            || self.is_foreign()
            || matches!(
                self.errno(),
                Some(Errno::ROFS | Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::PERM)
            )
    }

    /// Whether another process has had a lock for too long.
    pub(crate) fn is_busy(&self) -> bool {
        self.fault == Fault::Busy
    }

    /// Whether it is about a file that has a NAME for its name, so that it is a set's.
    pub(crate) fn is_of_a_name(&self) -> bool {
        self.fault != Fault::Name
    }

    /// Whether the file is none of ours, whatever is tried.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_no_file()
            || self.errno() == Some(Errno::ACCESS)
            || matches!(self.fault, Fault::Owner { .. } | Fault::Mode(_) | Fault::Links(_))
    }

    /// Whether it is something else than a regular file.
    pub(super) fn is_no_file(&self) -> bool {
        self.fault == Fault::NotRegular
            || matches!(self.errno(), Some(Errno::LOOP | Errno::NXIO | Errno::ISDIR))
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = printable(&self.path);
        match &self.fault {
            Fault::Call(call, errno) => f.write_str(&failed_call(call, &self.path, *errno)),
            Fault::Owner { wanted, is } => {
                write!(f, "\"{path}\" belongs to user {is}, it has to belong to user {wanted}")
            }
            Fault::Mode(mode) => {
                write!(f, "\"{path}\" is open to group or others (mode {mode:04o})")
            }
            Fault::NotRegular => write!(f, "\"{path}\" is not a regular file"),
            Fault::Links(count) => write!(f, "\"{path}\" has {count} links"),
            Fault::Name => write!(f, "\"{path}\" has no server name for its name"),
            Fault::Entry(error) => write!(f, "\"{path}\": {error}"),
            Fault::Unsettled => write!(f, "\"{path}\": the last change was not settled"),
            Fault::OtherShard => write!(f, "\"{path}\": the lock is that of other names"),
            Fault::Busy => write!(f, "\"{path}\" is locked by another process"),
            Fault::Moved => {
                write!(f, "\"{path}\" is not the directory that NGINX has open, reload it")
            }
            Fault::Emptied => {
                write!(f, "\"{path}\" was emptied, reload NGINX to have its sets written again")
            }
            Fault::NotWritable => write!(
                f,
                "\"{path}\" could not be written to when NGINX was started, reload it once it can"
            ),
            Fault::Link => write!(f, "\"{path}\" is a symbolic link"),
        }
    }
}
