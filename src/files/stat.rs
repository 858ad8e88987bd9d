//! What tells one state of a file from another.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustix::fs::Stat;
use rustix::io::Errno;

/// A file's identity and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileStat {
    dev: u64,
    ino: u64,
    size: u64,
    /// Nanoseconds since the epoch, as `ctime`.
    mtime: i128,
    ctime: i128,
}

impl FileStat {
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl From<&Stat> for FileStat {
    fn from(stat: &Stat) -> FileStat {
        // The fields differ in width between architectures.
        let nanoseconds = |s, ns| s * 1_000_000_000 + ns;
        FileStat {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: nanoseconds(i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            ctime: nanoseconds(i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
        }
    }
}

/// The certificate file and the key file of a pair; the errno where there is none.
pub(super) type PairStat = [Result<FileStat, i32>; 2];

/// All files of a name at one look. Equal to that of a later look when nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetStat {
    pub(super) pairs: Box<[PairStat]>,
    /// Something failed that another look may not fail at, with the files as they are.
    pub(super) may_pass: bool,
}

/// A clock of a file system may tick this slowly, s.
const SLOWEST_TICK: i128 = 2;

impl SetStat {
    /// A number for the files as they are and for `accepted_by`, what accepted them; 0, which tells
    /// nothing, while equal stats do not mean equal contents. Otherwise never below 2.
    pub(crate) fn mark(&self, now: i64, accepted_by: u64) -> u64 {
        if !self.is_settled(now) {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (self, accepted_by).hash(&mut hasher);
        hasher.finish().max(2)
    }

    /// Whether equal stats mean equal contents from now on: a file that was written within the
    /// last tick of its file system's clock may be written again with the same times.
    pub(crate) fn is_settled(&self, now: i64) -> bool {
        let limit = (i128::from(now) - SLOWEST_TICK) * 1_000_000_000;
        let future = (i128::from(now) + SLOWEST_TICK) * 1_000_000_000;
        // An mtime may be set to any time, also one that is yet to come; a ctime may not.
        let is_old =
            |stat: &FileStat| stat.ctime < limit && (stat.mtime < limit || stat.mtime > future);
        !self.may_pass && self.pairs.iter().flatten().flatten().all(is_old)
    }
}

/// Whether an error has its reason in the files and their directories, not in the system's state.
pub(super) fn is_lasting(errno: Errno) -> bool {
    is_absent(errno) || matches!(errno, Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NXIO)
}

/// Whether an error means that there is no such file.
pub(super) fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG)
}
