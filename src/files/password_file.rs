//! `password_file=`.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::error::{PathError, Reason};
use crate::certificate::{Passwords, TooLongLine};

/// No file of passwords is larger, bytes.
const MAX_SIZE: usize = 64 * 1024;

/// Why the file cannot be used, in NGINX's words (`ngx_ssl_read_password_file()`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PasswordFileError {
    Read(PathError),
    TooLongLine(PathBuf),
}

impl Passwords {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Passwords, PasswordFileError> {
        let text = read(path).map_err(PasswordFileError::Read)?;
        Passwords::from_lines(&text)
            .map_err(|TooLongLine| PasswordFileError::TooLongLine(path.to_owned()))
    }
}

/// The whole file, which may be a pipe; in a buffer that never moves.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PathError> {
    let failed = |call| move |errno| PathError::new(path, Reason::Call(call, errno));
    let file =
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed("open"))?;
    let mut text = Zeroizing::new(vec![0; MAX_SIZE + 1]);
    let mut filled = 0;
    while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("read")(errno)),
        }
    }
    if filled > MAX_SIZE {
        return Err(PathError::new(path, Reason::TooLarge(MAX_SIZE)));
    }
    text.truncate(filled);
    Ok(text)
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordFileError::Read(error) => error.fmt(f),
            PasswordFileError::TooLongLine(path) => {
                write!(f, "too long line in \"{}\"", path.display())
            }
        }
    }
}
