//! The directories that all names have in common: whether files that are not there are gone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Dir, Mode, OFlags, accessat, openat, statat};
use rustix::io::Errno;

use super::error::{PathError, Reason};
use super::read::PairLook;
use super::{Files, Pair};

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directories as they were at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directories {
    /// Which directories they are, as a number that is not 0; `None` when one is missing.
    pub(crate) identity: Option<u64>,
    /// Whether one of them has no entry at all, as a mount point that nothing is mounted on.
    pub(crate) is_one_empty: bool,
}

impl Directories {
    /// Whether a file that was not there is gone. An unmounted file system says nothing of the
    /// files on it: it leaves no directory, or another one, which is empty. `seen` is the identity
    /// of the directories when there were files in them, 0 when that is not known.
    pub(crate) fn can_tell(&self, seen: u64) -> bool {
        self.identity.is_some_and(|identity| identity == seen || !self.is_one_empty)
    }
}

impl Files {
    /// Looks at the directories.
    pub(crate) fn directories(&self) -> Directories {
        let is_one_empty = self.fixed_directories().iter().any(|path| is_empty(path));
        Directories { identity: self.directories_identity(), is_one_empty }
    }

    /// The directories that are not there, or cannot be read.
    pub(crate) fn missing_directories(&self) -> Vec<PathError> {
        let missing = |path: &&Path| openat(CWD, *path, OPEN, Mode::empty()).err();
        let paths = self.fixed_directories().into_iter();
        paths
            .filter_map(|path| {
                missing(&path).map(|errno| PathError::new(path, Reason::Call("open", errno)))
            })
            .collect()
    }

    /// As `Directories::identity`, without a look into them.
    pub(crate) fn directories_identity(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        for path in self.fixed_directories() {
            let stat = statat(CWD, path, AtFlags::empty()).ok()?;
            (stat.st_dev, stat.st_ino).hash(&mut hasher);
        }
        Some(hasher.finish().max(1))
    }

    /// Each once.
    pub(super) fn fixed_directories(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.templates().map(|t| t.fixed_directory()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

/// Where no name's files may be read, it is the directory's fault: told of once, not for each name.
pub(super) fn blame(look: PairLook, pair: &Pair) -> PairLook {
    let PairLook::Bad(error) = look else { return look };
    if let Reason::Call(_, Errno::ACCESS) = error.reason {
        let directories = pair.templates().map(|template| template.fixed_directory());
        let is_closed = |path: &&Path| {
            accessat(CWD, *path, Access::EXEC_OK, AtFlags::EACCESS) == Err(Errno::ACCESS)
        };
        if let Some(directory) = directories.into_iter().find(is_closed) {
            return PairLook::Bad(PathError::new(directory, Reason::Unsearchable(Errno::ACCESS)));
        }
    }
    PairLook::Bad(error)
}

/// Whether there is nothing in a directory; one that cannot be read counts as empty.
fn is_empty(path: &Path) -> bool {
    !entries(path).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok()))
}

/// The entries of a directory but `.` and `..`.
pub(super) fn entries(
    path: &Path,
) -> rustix::io::Result<impl Iterator<Item = rustix::io::Result<Vec<u8>>>> {
    let directory = Dir::new(openat(CWD, path, OPEN, Mode::empty())?)?;
    let names = directory.map(|entry| entry.map(|entry| entry.file_name().to_bytes().to_vec()));
    Ok(names.filter(|name| !matches!(name.as_deref(), Ok(b"." | b".."))))
}
