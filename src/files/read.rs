//! One pair of files, read as it was at one moment.
//!
//! Both files are opened through one descriptor of their directory, so a directory that is swapped
//! does not give the certificate of one and the key of the other. Below that, names may be links
//! into a directory that is swapped (Kubernetes' `..data`): after both files are read, both names
//! are looked up again and must still be what was read.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::error::{PathError, Reason};
use super::stat::{FileStat, PairStat, is_absent};

/// A file of PEM is not larger, and a worker reads no more at a handshake.
const MAX_FILE_SIZE: usize = 256 * 1024;

/// How often files are read that change meanwhile.
const ATTEMPTS: usize = 3;

/// Where the two files of a name are.
pub(super) struct PairPaths {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// What the files held, both at one moment.
pub(super) struct PairContent {
    pub(super) cert: Zeroizing<Vec<u8>>,
    /// `None` when both are one file.
    pub(super) own_key: Option<Zeroizing<Vec<u8>>>,
    pub(super) stat: PairStat,
}

impl PairContent {
    pub(super) fn key(&self) -> &[u8] {
        self.own_key.as_ref().unwrap_or(&self.cert)
    }
}

/// What a look at a pair found.
pub(super) enum PairLook {
    Read(PairContent),
    /// Neither file is there.
    Absent,
    Bad(PathError),
}

/// Reads both files.
pub(super) fn read_pair(paths: &PairPaths) -> PairLook {
    for _ in 0..ATTEMPTS {
        match Opened::new(paths).and_then(|opened| opened.read()) {
            Ok(look) => return look,
            Err(PathError { reason: Reason::ChangedWhileRead, .. }) => {}
            Err(error) => return PairLook::Bad(error),
        }
    }
    PairLook::Bad(PathError::new(&paths.cert, Reason::ChangedWhileRead))
}

/// The stat of a pair of which `read_pair()` would find neither file, where that can be said without
/// opening anything: no entry has their names, not even a link that leads nowhere, and nothing is at
/// fault above them. It is most of what a handshake for a name that nobody has costs.
pub(super) fn stat_absent_pair(paths: &PairPaths) -> Option<PairStat> {
    let PairPaths { cert, key } = paths;
    let of_cert = absent_in_directory(cert)?;
    let of_key = match cert == key {
        true => of_cert,
        false if cert.parent() == key.parent() => absent(key)?,
        false => absent_in_directory(key)?,
    };
    Some([Err(of_cert), Err(of_key)])
}

/// The errno that says that there is no entry.
fn absent(path: &Path) -> Option<i32> {
    let errno = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).err()?;
    is_absent(errno).then_some(errno.raw_os_error())
}

/// As `absent()`, also for the directory of the path; `None` where that is a link to none.
fn absent_in_directory(path: &Path) -> Option<i32> {
    let directory = path.parent()?;
    match statat(CWD, directory, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => absent(path),
        Ok(_) => {
            let stat = statat(CWD, directory, AtFlags::empty()).ok()?;
            let leads_to = FileType::from_raw_mode(stat.st_mode);
            if leads_to == FileType::Directory { absent(path) } else { None }
        }
        Err(errno) => is_absent(errno).then_some(errno.raw_os_error()),
    }
}

/// What `read_pair()` would give as the files' stat, without reading them.
pub(super) fn stat_pair(paths: &PairPaths) -> PairStat {
    let stat_of = |path: &Path| stat_at(rustix::fs::CWD, path.as_os_str());
    [stat_of(&paths.cert), stat_of(&paths.key)]
}

fn stat_at(directory: impl AsFd, name: &OsStr) -> Result<FileStat, i32> {
    let stat = statat(directory, name, AtFlags::empty());
    stat.map(|s| FileStat::from(&s)).map_err(Errno::raw_os_error)
}

/// A path whose directory is open.
struct Entry<'a> {
    path: &'a Path,
    name: &'a OsStr,
    /// The errno when there is no directory.
    directory: Result<&'a OwnedFd, Errno>,
}

/// The directories of a pair; one descriptor where both are one.
struct Opened<'a> {
    paths: &'a PairPaths,
    cert: Result<OwnedFd, Errno>,
    /// `None` for the certificate's.
    key: Option<Result<OwnedFd, Errno>>,
}

impl<'a> Opened<'a> {
    fn new(paths: &'a PairPaths) -> Result<Opened<'a>, PathError> {
        let cert = open_directory(&paths.cert)?;
        let is_one = paths.cert.parent() == paths.key.parent();
        let key = if is_one { None } else { Some(open_directory(&paths.key)?) };
        Ok(Opened { paths, cert, key })
    }

    fn read(&self) -> Result<PairLook, PathError> {
        let PairPaths { cert, key } = self.paths;
        let cert = entry(cert, &self.cert);
        let key = entry(key, self.key.as_ref().unwrap_or(&self.cert));

        let cert_file = cert.read()?;
        let is_one = cert.path == key.path;
        let key_file = if is_one { None } else { Some(key.read()?) };
        let (cert_read, key_read) = match (cert_file, key_file) {
            (Some(cert_read), None) => (cert_read, None),
            (Some(cert_read), Some(Some(key_read))) => (cert_read, Some(key_read)),
            (None, None | Some(None)) => {
                // A link that leads nowhere is no file that was removed: what it leads to may be on
                // a file system that is not there.
                return match [&cert, &key].into_iter().find(|entry| entry.is_dangling()) {
                    Some(entry) => Err(entry.missing()),
                    None => Ok(PairLook::Absent),
                };
            }
            (Some(_), Some(None)) => return Err(key.missing()),
            (None, Some(Some(_))) => return Err(cert.missing()),
        };

        cert.expect(&cert_read.stat)?;
        if let Some(key_read) = &key_read {
            key.expect(&key_read.stat)?;
        }
        let key_stat = key_read.as_ref().map_or(cert_read.stat, |key| key.stat);
        Ok(PairLook::Read(PairContent {
            stat: [Ok(cert_read.stat), Ok(key_stat)],
            cert: cert_read.bytes,
            own_key: key_read.map(|key| key.bytes),
        }))
    }
}

/// The directory of a path: the inner error when there is none.
fn open_directory(path: &Path) -> Result<Result<OwnedFd, Errno>, PathError> {
    match open_path(path.parent().unwrap_or(path)) {
        Err(errno) if !is_absent(errno) => Err(PathError::new(path, Reason::Call("open", errno))),
        opened => Ok(opened),
    }
}

/// A directory to look names up in. O_PATH, so that search permission is enough, as for `open()`
/// of a file in it.
fn open_path(directory: &Path) -> Result<OwnedFd, Errno> {
    open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn entry<'a>(path: &'a Path, directory: &'a Result<OwnedFd, Errno>) -> Entry<'a> {
    let name = path.file_name().unwrap_or_default();
    Entry { path, name, directory: directory.as_ref().map_err(|errno| *errno) }
}

/// A file's bytes as they were when its stat was this.
struct FileRead {
    bytes: Zeroizing<Vec<u8>>,
    stat: FileStat,
}

impl Entry<'_> {
    fn error(&self, reason: Reason) -> PathError {
        PathError::new(self.path, reason)
    }

    fn missing(&self) -> PathError {
        self.error(Reason::Call("open", self.directory.err().unwrap_or(Errno::NOENT)))
    }

    /// Whether what is not there has a name all the same: a link, or a directory that is one.
    fn is_dangling(&self) -> bool {
        let stat = match (self.directory, self.path.parent()) {
            (Ok(directory), _) => statat(directory, self.name, AtFlags::SYMLINK_NOFOLLOW),
            (Err(_), Some(parent)) => statat(CWD, parent, AtFlags::SYMLINK_NOFOLLOW),
            (Err(_), None) => return false,
        };
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    }

    /// The whole file; `None` when it is not there.
    fn read(&self) -> Result<Option<FileRead>, PathError> {
        let Ok(directory) = self.directory else { return Ok(None) };
        // O_NONBLOCK: a FIFO must not stop the worker.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match openat(directory, self.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(errno) if is_absent(errno) => return Ok(None),
            Err(errno) => return Err(self.error(Reason::Call("open", errno))),
        };

        let stat = self.regular(&file)?;
        if stat.size() > MAX_FILE_SIZE as u64 {
            return Err(self.error(Reason::TooLarge(MAX_FILE_SIZE)));
        }
        let bytes = self.read_to_end(&file, stat.size())?;
        if bytes.len() as u64 != stat.size() || self.regular(&file)? != stat {
            return Err(self.error(Reason::ChangedWhileRead));
        }
        Ok(Some(FileRead { bytes, stat }))
    }

    fn regular(&self, file: &OwnedFd) -> Result<FileStat, PathError> {
        let stat = fstat(file).map_err(|errno| self.error(Reason::Call("fstat", errno)))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.error(Reason::NotRegular));
        }
        Ok(FileStat::from(&stat))
    }

    /// At most `size` bytes and one, which tells that the file has grown. The buffer never moves:
    /// it may hold a key.
    fn read_to_end(&self, file: &OwnedFd, size: u64) -> Result<Zeroizing<Vec<u8>>, PathError> {
        let size = usize::try_from(size).unwrap_or_default();
        let mut bytes = Zeroizing::new(vec![0; size + 1]);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(file, rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error(Reason::Call("read", errno))),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Whether the name still stands for the file that was read.
    fn expect(&self, read: &FileStat) -> Result<(), PathError> {
        let changed = || self.error(Reason::ChangedWhileRead);
        let directory = self.directory.map_err(|_| changed())?;
        if stat_at(directory, self.name) == Ok(*read) { Ok(()) } else { Err(changed()) }
    }
}
