//! What is wrong with a file of a name.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::read::MAX_FILE_SIZE;
use super::stat::is_lasting;
use crate::certificate::SetError;

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
    NotRegular,
    TooLarge,
    ChangedWhileRead,
    Content(SetError),
}

impl PathError {
    pub(super) fn new(path: &Path, reason: Reason) -> PathError {
        PathError { path: path.to_owned(), reason }
    }

    /// Whether another look may succeed with the same files.
    pub(super) fn may_pass(&self) -> bool {
        match self.reason {
            Reason::Call(_, errno) => !is_lasting(errno),
            Reason::ChangedWhileRead => true,
            Reason::NotRegular | Reason::TooLarge | Reason::Content(_) => false,
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Call(call, errno) => {
                let number = errno.raw_os_error();
                let text = std::io::Error::from(*errno).to_string();
                let text = text.split(" (os error").next().unwrap_or_default();
                write!(f, "{call}() \"{path}\" failed ({number}: {text})")
            }
            Reason::NotRegular => write!(f, "\"{path}\" is not a regular file"),
            Reason::TooLarge => {
                write!(f, "\"{path}\" is larger than {}k", MAX_FILE_SIZE / 1024)
            }
            Reason::ChangedWhileRead => write!(f, "\"{path}\" changed while it was read"),
            Reason::Content(error) => write!(f, "\"{path}\": {error}"),
        }
    }
}
