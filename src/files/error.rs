//! What is wrong with a file of a name.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::stat::{is_absent, is_lasting};
use crate::certificate::SetError;
use crate::failure;

/// A path, which is no secret, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathError {
    pub(super) path: PathBuf,
    pub(super) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// A call of the system failed.
    Call(&'static str, Errno),
    /// The directory that all names have in common may not be searched.
    Unsearchable(Errno),
    NotRegular,
    /// More bytes than this.
    TooLarge(usize),
    ChangedWhileRead,
    Content(SetError),
}

impl PathError {
    pub(super) fn new(path: &Path, reason: Reason) -> PathError {
        PathError { path: path.to_owned(), reason }
    }

    /// Whether it is the same for all names.
    pub(crate) fn is_common(&self) -> bool {
        matches!(self.reason, Reason::Unsearchable(_))
    }

    /// The kind of failure.
    pub(crate) fn kind(&self) -> failure::Reason {
        match self.reason {
            Reason::Content(error) => error.kind(),
            Reason::Call(_, errno) if is_absent(errno) => failure::Reason::Absent,
            _ => failure::Reason::Unreadable,
        }
    }

    /// Whether another look may succeed with the same files.
    pub(super) fn may_pass(&self) -> bool {
        match self.reason {
            Reason::Call(_, errno) | Reason::Unsearchable(errno) => !is_lasting(errno),
            Reason::ChangedWhileRead => true,
            Reason::NotRegular | Reason::TooLarge(_) | Reason::Content(_) => false,
        }
    }
}

impl Reason {
    /// The call that failed, and how.
    fn call(&self) -> (&'static str, Errno) {
        match *self {
            Reason::Call(call, errno) => (call, errno),
            Reason::Unsearchable(errno) => ("open", errno),
            _ => ("", Errno::from_raw_os_error(0)),
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = printable(&self.path);
        match &self.reason {
            Reason::Call(..) | Reason::Unsearchable(_) => {
                let (call, errno) = self.reason.call();
                f.write_str(&failed_call(call, &self.path, errno))
            }
            Reason::NotRegular => write!(f, "\"{path}\" is not a regular file"),
            Reason::TooLarge(limit) => {
                write!(f, "\"{path}\" is larger than {}k", limit / 1024)
            }
            Reason::ChangedWhileRead => write!(f, "\"{path}\" changed while it was read"),
            Reason::Content(error) => write!(f, "\"{path}\": {error}"),
        }
    }
}

/// As NGINX logs it.
pub(crate) fn failed_call(call: &str, path: &Path, errno: Errno) -> String {
    let path = printable(path);
    let number = errno.raw_os_error();
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("{call}() \"{path}\" failed ({number}: {text})")
}

/// A path for the log: without control characters, which would make lines of their own.
pub(crate) fn printable(path: &Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
