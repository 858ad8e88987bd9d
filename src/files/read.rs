//! One file or a pair of files, read so that what was read belongs together.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// The largest file that is read, bytes.
const MAX_SIZE: u64 = 256 * 1024;
/// How often a pair that changes while it is read is read again.
const TRIES: usize = 3;

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileStat {
    dev: u64,
    ino: u64,
    size: i64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl FileStat {
    fn of(stat: &Stat) -> FileStat {
        FileStat {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as i64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// Whether a change after this state would show: the clock of a file system ticks slowly.
    pub(super) fn is_settled(&self, now: i64) -> bool {
        now - self.ctime.0 >= 2
    }
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    Open(Errno),
    Read(Errno),
    NotRegular,
    TooLarge,
    Changing,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = |f: &mut fmt::Formatter<'_>, call: &str, errno: &Errno| {
            let error = std::io::Error::from(*errno);
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            write!(f, "{call} failed ({}: {text})", errno.raw_os_error())
        };
        match self {
            ReadError::Open(errno) => system(f, "open()", errno),
            ReadError::Read(errno) => system(f, "read()", errno),
            ReadError::NotRegular => f.write_str("is not a regular file"),
            ReadError::TooLarge => f.write_str("is too large (more than 256k)"),
            ReadError::Changing => f.write_str("changes while it is read"),
        }
    }
}

impl ReadError {
    fn is_absent(&self) -> bool {
        matches!(self, ReadError::Open(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG))
    }
}

/// What a file was like: absent, or in a state.
pub(super) type Seen = Option<FileStat>;

/// A pair that was read, or the file that stood in the way.
pub(super) enum PairLook {
    Read {
        certificates: Zeroizing<Vec<u8>>,
        key: Zeroizing<Vec<u8>>,
    },
    /// Neither file is there. `is_certain`: their directory is.
    Absent {
        is_certain: bool,
    },
    Bad {
        path: PathBuf,
        error: ReadError,
    },
}

/// Two paths, and their directory where it is one.
pub(super) struct PairPaths {
    certificates: PathBuf,
    key: PathBuf,
}

impl PairPaths {
    pub(super) fn new(certificates: PathBuf, key: PathBuf) -> PairPaths {
        PairPaths { certificates, key }
    }

    /// The state of both files, following links.
    pub(super) fn seen(&self) -> [Seen; 2] {
        [&self.certificates, &self.key].map(|path| {
            statat(CWD, path.as_path(), AtFlags::empty()).ok().map(|s| FileStat::of(&s))
        })
    }

    /// Reads both, again while they change; in a swap one of them may even be absent.
    pub(super) fn read(&self) -> (PairLook, [Seen; 2]) {
        let mut before = self.seen();
        for _ in 0..TRIES {
            let look = self.read_once();
            let after = self.seen();
            if before == after {
                return (look, after);
            }
            before = after;
        }
        let path = self.certificates.clone();
        (PairLook::Bad { path, error: ReadError::Changing }, before)
    }

    fn read_once(&self) -> PairLook {
        let directory = self.certificates.parent();
        // One descriptor for both: when the directory is swapped, both come from the same one.
        let shared = directory.filter(|d| self.key.parent() == Some(d)).map(open_directory);
        let dir = shared.as_ref().and_then(|opened| opened.as_ref().ok());

        let certificates = read_file(dir, &self.certificates);
        let key = match &certificates {
            Ok(text) if self.certificates == self.key => Ok(text.clone()),
            _ => read_file(dir, &self.key),
        };
        match (certificates, key) {
            (Ok(certificates), Ok(key)) => PairLook::Read { certificates, key },
            (Err(a), Err(b)) if a.is_absent() && b.is_absent() => {
                let is_certain = dir.is_some()
                    || directory.and_then(Path::parent).is_some_and(|d| open_directory(d).is_ok());
                PairLook::Absent { is_certain }
            }
            (Err(error), Ok(_)) => PairLook::Bad { path: self.certificates.clone(), error },
            (Err(error), Err(other)) if !error.is_absent() || other.is_absent() => {
                PairLook::Bad { path: self.certificates.clone(), error }
            }
            (_, Err(error)) => PairLook::Bad { path: self.key.clone(), error },
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a regular file of at most `MAX_SIZE`. Not blocked by a FIFO, and no byte of a key is
/// left behind in a buffer that was outgrown.
fn read_file(dir: Option<&OwnedFd>, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match (dir, path.file_name()) {
        (Some(dir), Some(name)) => openat(dir, name as &OsStr, flags, Mode::empty()),
        _ => open(path, flags, Mode::empty()),
    };
    let file = file.map_err(ReadError::Open)?;
    let before = fstat(&file).map_err(ReadError::Read)?;
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotRegular);
    }
    let size = u64::try_from(before.st_size).unwrap_or(u64::MAX);
    if size > MAX_SIZE {
        return Err(ReadError::TooLarge);
    }

    // One byte more than the file has: it shows when the file grows.
    let mut text = Zeroizing::new(vec![0; size as usize + 1]);
    let mut len = 0;
    while let Some(room) = text.get_mut(len..).filter(|room| !room.is_empty()) {
        match rustix::io::read(&file, room) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(ReadError::Read(errno)),
        }
    }
    let after = fstat(&file).map_err(ReadError::Read)?;
    if len as u64 != size || FileStat::of(&before) != FileStat::of(&after) {
        return Err(ReadError::Changing);
    }
    text.truncate(len);
    Ok(text)
}
