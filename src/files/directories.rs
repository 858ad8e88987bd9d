//! The directories that all names have in common: whether files that are not there are gone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Dir, Mode, OFlags, accessat, openat, statat};
use rustix::io::Errno;

use super::error::{PathError, Reason};
use super::read::PairLook;
use super::{Files, Pair};

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a zone knows of the directories: by index in their order, which ones they were when there were
/// files in them, as a number; 0 where that is not known.
pub(crate) trait SeenDirectories {
    fn seen(&self, index: usize) -> u64;
    fn note(&self, index: usize, identity: u64);
}

impl Files {
    /// Whether a file that was not there is gone. An unmounted file system says nothing of the files
    /// on it: it leaves no directory, or another one, which is empty. A directory in which nobody
    /// ever saw a file has no say.
    pub(crate) fn can_tell(&self, zone: &dyn SeenDirectories) -> bool {
        let mut is_one_there = false;
        for (index, path) in self.fixed_directories().into_iter().enumerate() {
            let seen = zone.seen(index);
            let is_there = identity(path).is_some_and(|now| now == seen || !is_empty(path));
            if !is_there && seen != 0 {
                return false;
            }
            is_one_there |= is_there;
        }
        is_one_there
    }

    /// Whether a directory is away in which there were files: what was in it is not known then.
    pub(super) fn is_one_away(&self, zone: &dyn SeenDirectories) -> bool {
        self.fixed_directories().into_iter().enumerate().any(|(index, path)| {
            let seen = zone.seen(index);
            seen != 0 && !identity(path).is_some_and(|now| now == seen || !is_empty(path))
        })
    }

    /// Notes the directories in which there are files.
    pub(crate) fn note_directories(&self, zone: &dyn SeenDirectories) {
        for (index, path) in self.fixed_directories().into_iter().enumerate() {
            let Some(now) = identity(path) else { continue };
            if now != zone.seen(index) && !is_empty(path) {
                zone.note(index, now);
            }
        }
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

    /// Each once, in order.
    pub(super) fn fixed_directories(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.templates().map(|t| t.fixed_directory()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

/// Which directory a path leads to, as a number that is not 0; `None` when there is none.
fn identity(path: &Path) -> Option<u64> {
    let stat = statat(CWD, path, AtFlags::empty()).ok()?;
    let mut hasher = DefaultHasher::new();
    (path, stat.st_dev, stat.st_ino).hash(&mut hasher);
    Some(hasher.finish().max(1))
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
