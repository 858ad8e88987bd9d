//! The passphrases that encrypted keys may have.

use zeroize::Zeroizing;

/// Longer than any passphrase that OpenSSL takes (`PEM_BUFSIZE`).
pub(crate) const MAX_PASSWORD: usize = 1024;

/// Passphrases in the order in which they are tried; wiped when dropped.
#[derive(Default)]
pub(crate) struct Passwords(Vec<Zeroizing<Vec<u8>>>);

/// A line is longer than `MAX_PASSWORD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLongLine;

impl Passwords {
    /// One passphrase a line, as in NGINX's `ssl_password_file`: a CR at the end of a line is no
    /// part of it, and empty lines are left out.
    pub(crate) fn from_lines(text: &[u8]) -> Result<Passwords, TooLongLine> {
        let mut passwords = Vec::new();
        for line in text.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > MAX_PASSWORD {
                return Err(TooLongLine);
            }
            if !line.is_empty() {
                passwords.push(Zeroizing::new(line.to_vec()));
            }
        }
        Ok(Passwords(passwords))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|password| password.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let read = |text: &[u8]| {
            Passwords::from_lines(text).map(|p| p.iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let words = |words: &[&str]| Ok(words.iter().map(|w| w.as_bytes().to_vec()).collect());
        assert_eq!(read(b""), words(&[]));
        assert_eq!(read(b"\n\r\n"), words(&[]));
        assert_eq!(read(b"one"), words(&["one"]));
        assert_eq!(read(b"one\r\n\ntwo words \n"), words(&["one", "two words "]));
        assert_eq!(read(&[b'x'; MAX_PASSWORD + 1]), Err(TooLongLine));
        assert_eq!(read(&[b'x'; MAX_PASSWORD]).map(|p| p.len()), Ok(1));
    }
}
