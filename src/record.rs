//! A certificate set as plain bytes: what the zone keeps and what a set is decoded from.

use std::fmt;

use zeroize::Zeroizing;

/// The kind of key, as OpenSSL tells them apart: one certificate each can be installed on an SSL
/// (`ssl_cert_info` in `ssl/ssl_cert_table.h`). P-256 and P-384 share one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum KeyType {
    Rsa = 1,
    RsaPss = 2,
    Ec = 3,
    Ed25519 = 4,
    Ed448 = 5,
}

impl KeyType {
    /// How many kinds there are, and so the most members that a set can have.
    pub(crate) const COUNT: usize = 5;

    /// As in logs and answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            KeyType::Rsa => "RSA",
            KeyType::RsaPss => "RSA-PSS",
            KeyType::Ec => "EC",
            KeyType::Ed25519 => "Ed25519",
            KeyType::Ed448 => "Ed448",
        }
    }

    /// Those that were there and are not any more.
    pub(crate) fn lost(
        before: impl Iterator<Item = KeyType>,
        now: impl Iterator<Item = KeyType>,
    ) -> impl Iterator<Item = KeyType> {
        let now: Vec<KeyType> = now.collect();
        before.filter(move |key_type| !now.contains(key_type))
    }

    /// The kind that was written as `value`; `None` when no kind was.
    pub(crate) fn from_u8(value: u8) -> Option<KeyType> {
        match value {
            1 => Some(KeyType::Rsa),
            2 => Some(KeyType::RsaPss),
            3 => Some(KeyType::Ec),
            4 => Some(KeyType::Ed25519),
            5 => Some(KeyType::Ed448),
            _ => None,
        }
    }
}

/// Where a set came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Source {
    /// Read from files by a worker; may be evicted and is read again.
    Lazy = 1,
    /// Read from files by the master at a start or reload. Serves all names of its certificate,
    /// and is never evicted.
    Startup = 2,
    /// Pushed or rolled back through the API. Serves all names of its certificate, is never
    /// evicted, and a reload leaves it.
    Pushed = 3,
}

impl Source {
    /// The source that was written as `value`; `None` when no source was.
    pub(crate) fn from_u8(value: u8) -> Option<Source> {
        match value {
            1 => Some(Source::Lazy),
            2 => Some(Source::Startup),
            3 => Some(Source::Pushed),
            _ => None,
        }
    }
}

/// One certificate with its key and the intermediates it is sent with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MemberRecord {
    pub(crate) key_type: KeyType,
    /// The leaf's notBefore, seconds since the epoch.
    pub(crate) not_before: i64,
    /// The leaf's notAfter, seconds since the epoch.
    pub(crate) not_after: i64,
    /// The leaf certificate, DER.
    pub(crate) leaf: Vec<u8>,
    /// The private key, PKCS #8 PrivateKeyInfo in DER (RFC 5208), not encrypted.
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// The intermediates, DER, each the issuer of the one before.
    pub(crate) chain: Vec<Vec<u8>>,
}

/// Without the key, which must not get into a log (P7).
impl fmt::Debug for MemberRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberRecord").field("key_type", &self.key_type).finish_non_exhaustive()
    }
}

/// A whole set: one member per key type at most. It is replaced as one unit (P1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) source: Source,
    /// The first 16 bytes of the SHA-256 over the files or the body that the set was read from.
    pub(crate) digest: [u8; 16],
    /// The latest notBefore of the leaves, seconds since the epoch.
    pub(crate) not_before: i64,
    /// The latest notAfter of the leaves, seconds since the epoch.
    pub(crate) not_after: i64,
    pub(crate) members: Vec<MemberRecord>,
}

impl Record {
    /// Of its members.
    pub(crate) fn key_types(&self) -> impl Iterator<Item = KeyType> {
        self.members.iter().map(|member| member.key_type)
    }
}
