//! Bytes of a ClientHello to a host name that may become part of a path.

use std::fmt;

/// A host name: 1 to 253 bytes of lower-case labels (1 to 63 letters, digits, `-`, `_`) with no
/// trailing dot, whose first label is not just `_`. Nothing else ever becomes a path (P11).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServerName(Box<str>);

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

impl ServerName {
    /// The name that a client sent (RFC 6066, section 3); one trailing dot is dropped. `None` when
    /// the bytes are no host name.
    pub(crate) fn from_client(bytes: &[u8]) -> Option<ServerName> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        let name = Self::checked(bytes)?;
        (!name.starts_with("_.") && &*name != "_").then_some(ServerName(name))
    }

    /// A name written by an operator: as from a client, and `*.x` or `_.x` for a wildcard.
    pub(crate) fn from_operator(bytes: &[u8]) -> Option<ServerName> {
        match bytes.strip_prefix(b"*.").or_else(|| bytes.strip_prefix(b"_.")) {
            Some(parent) => Self::from_client(parent)?.under_wildcard(),
            None => Self::from_client(bytes),
        }
    }

    fn checked(bytes: &[u8]) -> Option<Box<str>> {
        if bytes.is_empty() || bytes.len() > MAX_NAME {
            return None;
        }

        let good_byte = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_';
        let good_label =
            |l: &[u8]| !l.is_empty() && l.len() <= MAX_LABEL && l.iter().all(good_byte);
        if !bytes.split(|b| *b == b'.').all(good_label) {
            return None;
        }

        let mut name = std::str::from_utf8(bytes).ok()?.to_owned();
        name.make_ascii_lowercase();
        Some(name.into_boxed_str())
    }

    fn under_wildcard(&self) -> Option<ServerName> {
        let name = format!("_.{}", self.0);
        (name.len() <= MAX_NAME).then(|| ServerName(name.into_boxed_str()))
    }

    /// The wildcard that covers this name, `_.PARENT`; `None` when there is no parent, and of a wildcard.
    pub(crate) fn wildcard(&self) -> Option<ServerName> {
        self.parent().filter(|_| !self.is_wildcard())?.under_wildcard()
    }

    /// The name without its first label; `None` when it has one label only, or when what is left
    /// would read as a wildcard.
    pub(crate) fn parent(&self) -> Option<ServerName> {
        let (_, parent) = self.0.split_once('.')?;
        (parent != "_" && !parent.starts_with("_.")).then(|| ServerName(parent.into()))
    }

    /// Whether it stands for all names that are one label longer than its parent.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.0.starts_with("_.")
    }

    /// The name as it is written in paths, logs and answers.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host name in its normal form, without an allocation: what a handshake begins with.
pub(crate) struct NameBuffer {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl NameBuffer {
    /// As `ServerName::from_client()`.
    #[inline]
    pub(crate) fn from_client(bytes: &[u8]) -> Option<NameBuffer> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        let mut buffer = NameBuffer { bytes: [0; MAX_NAME], len: bytes.len() };
        let slots = buffer.bytes.get_mut(..bytes.len())?;
        let mut label = 0;
        for (slot, byte) in slots.iter_mut().zip(bytes) {
            *slot = byte.to_ascii_lowercase();
            match byte {
                b'.' if label == 0 => return None,
                b'.' => label = 0,
                b'-' | b'_' => label += 1,
                b if b.is_ascii_alphanumeric() => label += 1,
                _ => return None,
            }
            if label > MAX_LABEL {
                return None;
            }
        }
        (label > 0 && !bytes.starts_with(b"_.") && bytes != b"_").then_some(buffer)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_names() {
        let label63 = "a".repeat(63);
        let name253 = format!("{label63}.{label63}.{label63}.{}", "b".repeat(61));
        let cases: &[(&str, Option<&str>)] = &[
            ("a.test", Some("a.test")),
            ("A.TeSt", Some("a.test")),
            ("a.test.", Some("a.test")),
            ("a.test..", None),
            ("localhost", Some("localhost")),
            ("_dmarc.a.test", Some("_dmarc.a.test")),
            ("xn--bcher-kva.test", Some("xn--bcher-kva.test")),
            (&name253, Some(&name253)),
            (&format!("{name253}b"), None),
            (&format!("{label63}a.test"), None),
            ("", None),
            (".", None),
            ("_", None),
            ("_.test", None),
            ("*.test", None),
            ("a..test", None),
            (".a.test", None),
            ("../../etc/passwd", None),
            ("a/b.test", None),
            ("a\0b.test", None),
            ("a b.test", None),
            ("b\u{fc}cher.test", None),
            ("a.test:443", None),
            ("[::1]", None),
        ];
        for (input, expected) in cases {
            let name = ServerName::from_client(input.as_bytes());
            assert_eq!(name.as_ref().map(ServerName::as_str), *expected, "{input:?}");
            let buffer = NameBuffer::from_client(input.as_bytes());
            assert_eq!(
                buffer.as_ref().map(NameBuffer::as_bytes),
                expected.map(str::as_bytes),
                "{input:?}"
            );
        }
    }

    #[test]
    fn wildcards_are_one_name() {
        for input in ["*.a.test", "_.a.test", "*.A.test."] {
            let name = ServerName::from_operator(input.as_bytes());
            assert_eq!(name.as_ref().map(ServerName::as_str), Some("_.a.test"), "{input:?}");
        }
        assert_eq!(ServerName::from_operator(b"*"), None);
        assert_eq!(ServerName::from_operator(b"*.*.test"), None);
    }

    #[test]
    fn parents() {
        let name = ServerName::from_client(b"www.a.test").unwrap();
        assert_eq!(name.parent().unwrap().as_str(), "a.test");
        let wildcard = name.wildcard().unwrap();
        assert_eq!(wildcard.as_str(), "_.a.test");
        assert!(wildcard.is_wildcard() && !name.is_wildcard());
        assert_eq!(wildcard.wildcard(), None);
        assert_eq!(ServerName::from_client(b"test").unwrap().parent(), None);
        assert_eq!(ServerName::from_client(b"a._.test").unwrap().parent(), None);
    }
}
