//! One certificate with its key and the intermediates it is sent with.

use std::cmp::Ordering;
use std::rc::Rc;

use openssl::pkey::{PKeyRef, Private};
use openssl::stack::StackRef;
use openssl::x509::{X509, X509Ref};
use zeroize::Zeroizing;

use super::Parser;
use super::chain::{Chain, Digest};
use super::error::{EmptyErrorQueue, SetError};
use super::key::{self, Key, PublicKey};
use super::leaf::Leaf;
use super::names::Names;
use super::passwords::Passwords;
use super::pem::{self, Block, Kind};
use crate::ffi::undecoded::undecoded_certificate;
use crate::record::KeyType;

/// What a member is read from. Both may be the same text.
#[derive(Clone, Copy)]
pub(crate) struct MemberInput<'a> {
    /// The leaf, then its chain, each the issuer of the one before.
    pub(crate) certificate_pem: &'a [u8],
    /// The leaf's key, among others perhaps.
    pub(crate) key_pem: &'a [u8],
    /// For a key that is encrypted.
    pub(crate) passwords: &'a Passwords,
}

/// Which of the two something is wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Certificate,
    Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberError {
    pub(crate) input: Input,
    pub(crate) error: SetError,
}

impl MemberError {
    fn certificate(error: SetError) -> MemberError {
        MemberError { input: Input::Certificate, error }
    }

    fn key(error: SetError) -> MemberError {
        MemberError { input: Input::Key, error }
    }
}

/// A leaf with its key and chain: the key is the leaf's, the chain is in order. OpenSSL counts the
/// references to its parts.
#[derive(Clone)]
pub(crate) struct Member {
    key_type: KeyType,
    leaf: Leaf,
    key: Key,
    chain: Rc<Chain>,
}

/// All that OpenSSL's security level looks at in a member (`ssl_security_cert()` in `ssl/t1_lib.c`):
/// where one member of a class is accepted, all are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SecurityClass {
    key_type: KeyType,
    bits: u32,
    security_bits: u32,
    signature_algorithm: Box<[u8]>,
    chain: Digest,
}

impl Member {
    /// Parses and checks what an operator wrote. An expired certificate is no error. Leaves
    /// OpenSSL's error queue empty.
    pub(crate) fn check(
        input: &MemberInput<'_>,
        parser: &mut Parser,
    ) -> Result<Member, MemberError> {
        let _queue = EmptyErrorQueue;
        let blocks = pem::blocks(input.certificate_pem).map_err(MemberError::certificate)?;
        let (leaf, chain) = certificates(&blocks, parser).map_err(MemberError::certificate)?;
        let public = PublicKey::of(&leaf).map_err(MemberError::certificate)?;

        let blocks = pem::blocks(input.key_pem).map_err(MemberError::key)?;
        let key =
            key::matching(&blocks, &public, input.passwords, parser).map_err(MemberError::key)?;

        let leaf = Leaf::undecoded(&leaf)
            .map_err(|e| MemberError::certificate(SetError::certificate(e)))?;
        Ok(Member::new(public.key_type, leaf, key, chain))
    }

    /// A member of parts that belong together.
    pub(super) fn new(key_type: KeyType, leaf: Leaf, key: Key, chain: Rc<Chain>) -> Member {
        Member { key_type, leaf, key, chain }
    }

    /// For a connection; `None` when memory is short.
    pub(crate) fn leaf(&self) -> Option<&X509Ref> {
        self.leaf.x509()
    }

    /// The leaf's DER.
    pub(super) fn leaf_der(&self) -> Result<Vec<u8>, SetError> {
        self.leaf.to_der().map_err(SetError::certificate)
    }

    pub(crate) fn key(&self) -> &PKeyRef<Private> {
        &self.key.key
    }

    /// As `Key::take_pkcs8()`.
    pub(super) fn take_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SetError> {
        self.key.take_pkcs8()
    }

    /// Each the issuer of the one before; the first, of the leaf.
    pub(crate) fn chain(&self) -> &StackRef<X509> {
        &self.chain.certificates
    }

    pub(crate) fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Whether the leaf names as its issuer itself, or what the chain of `other` ends below.
    pub(crate) fn is_below_root_of(&self, other: &Member) -> bool {
        let _queue = EmptyErrorQueue;
        let has_one_issuer = |leaf: &X509Ref, last: &X509Ref| {
            leaf.issuer_name().try_cmp(last.issuer_name()).is_ok_and(Ordering::is_eq)
        };
        let last = other.chain().iter().last();
        self.leaf.is_self_issued()
            || self.leaf().zip(last).is_some_and(|(leaf, last)| has_one_issuer(leaf, last))
    }

    /// Whether leaf and chain are the same; the key then is.
    pub(super) fn is_same_as(&self, other: &Member) -> bool {
        self.key_type == other.key_type
            && self.fingerprint() == other.fingerprint()
            && self.chain.digest == other.chain.digest
    }

    /// `None` when nothing can be said of others: what signed itself is judged by other rules.
    pub(crate) fn security_class(&self) -> Option<SecurityClass> {
        if self.leaf.is_self_issued() {
            return None;
        }
        Some(SecurityClass {
            key_type: self.key_type,
            bits: self.key().bits(),
            security_bits: self.key().security_bits(),
            signature_algorithm: self.leaf.signature_algorithm()?,
            chain: self.chain.digest,
        })
    }

    pub(super) fn names(&self) -> &Names {
        self.leaf.names()
    }

    /// SHA-256 of the leaf's DER.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        self.leaf.fingerprint()
    }

    /// Seconds since the epoch, as `not_after`.
    pub(crate) fn not_before(&self) -> i64 {
        self.leaf.not_before()
    }

    pub(crate) fn not_after(&self) -> i64 {
        self.leaf.not_after()
    }

    pub(crate) fn expired_at(&self, now: i64) -> bool {
        now > self.not_after()
    }

    pub(crate) fn not_yet_valid_at(&self, now: i64) -> bool {
        now < self.not_before()
    }
}

/// The leaf, which is the first, and its chain.
fn certificates(blocks: &[Block<'_>], parser: &mut Parser) -> Result<(X509, Rc<Chain>), SetError> {
    let blocks = blocks.iter().filter(|block| block.kind == Kind::Certificate);
    let ders = blocks.map(Block::der).collect::<Result<Vec<_>, _>>()?;
    let (leaf, chain) = ders.split_first().ok_or(SetError::NoCertificate)?;
    let leaf = undecoded_certificate(leaf).map_err(SetError::certificate)?;
    let chain = parser.chains.checked(&leaf, chain)?;
    Ok((leaf, chain))
}
