//! One certificate with its key and the intermediates it is sent with.

use std::rc::Rc;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::sha::Sha256;
use openssl::stack::StackRef;
use openssl::x509::{X509, X509Ref};

use super::Parser;
use super::chain::{Chain, ChainCache};
use super::error::{EmptyErrorQueue, SetError};
use super::key;
use super::names::Names;
use super::passwords::Passwords;
use super::pem::{self, Block, Kind};
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
    leaf: X509,
    key: PKey<Private>,
    chain: Chain,
    names: Names,
    fingerprint: [u8; 32],
    not_before: i64,
    not_after: i64,
    key_type: KeyType,
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
        let (leaf, chain) =
            certificates(&blocks, &mut parser.chains).map_err(MemberError::certificate)?;
        let public =
            leaf.public_key().map_err(|e| MemberError::certificate(SetError::certificate(e)))?;
        let key_type =
            key::key_type(&public).ok_or(MemberError::certificate(SetError::UnsupportedKey))?;

        let blocks = pem::blocks(input.key_pem).map_err(MemberError::key)?;
        let wanted = key::Wanted { public: &public, key_type };
        let key = key::matching(&blocks, &wanted, input.passwords, &mut parser.decoder)
            .map_err(MemberError::key)?;

        let new = || {
            let der = leaf.to_der()?;
            Member::new(key_type, leaf, &der, key, chain)
        };
        new().map_err(|e| MemberError::certificate(SetError::certificate(e)))
    }

    /// A member of parts that belong together; `der` is the leaf's.
    pub(super) fn new(
        key_type: KeyType,
        leaf: X509,
        der: &[u8],
        key: PKey<Private>,
        chain: Chain,
    ) -> Result<Member, ErrorStack> {
        let epoch = Asn1Time::from_unix(0)?;
        let mut hash = Sha256::new();
        hash.update(der);
        Ok(Member {
            names: Names::of(&leaf),
            fingerprint: hash.finish(),
            not_before: seconds(&epoch, leaf.not_before())?,
            not_after: seconds(&epoch, leaf.not_after())?,
            leaf,
            key,
            chain,
            key_type,
        })
    }

    pub(crate) fn leaf(&self) -> &X509Ref {
        &self.leaf
    }

    pub(crate) fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }

    /// Each the issuer of the one before; the first, of the leaf.
    pub(crate) fn chain(&self) -> &StackRef<X509> {
        &self.chain
    }

    pub(crate) fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Whether leaf and chain are the same; the key then is.
    pub(super) fn is_same_as(&self, other: &Member) -> bool {
        let same_chain = || self.chain.iter().eq(other.chain.iter());
        self.key_type == other.key_type
            && self.fingerprint == other.fingerprint
            && (Rc::ptr_eq(&self.chain, &other.chain) || same_chain())
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// SHA-256 of the leaf's DER.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Seconds since the epoch, as `not_after`.
    pub(crate) fn not_before(&self) -> i64 {
        self.not_before
    }

    pub(crate) fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(crate) fn expired_at(&self, now: i64) -> bool {
        now > self.not_after
    }

    pub(crate) fn not_yet_valid_at(&self, now: i64) -> bool {
        now < self.not_before
    }
}

/// The leaf, which is the first, and its chain.
fn certificates(blocks: &[Block<'_>], chains: &mut ChainCache) -> Result<(X509, Chain), SetError> {
    let blocks = blocks.iter().filter(|block| block.kind == Kind::Certificate);
    let ders = blocks.map(Block::der).collect::<Result<Vec<_>, _>>()?;
    let (leaf, chain) = ders.split_first().ok_or(SetError::NoCertificate)?;
    let leaf = X509::from_der(leaf).map_err(SetError::certificate)?;
    let chain = chains.checked(&leaf, chain)?;
    Ok((leaf, chain))
}

fn seconds(epoch: &Asn1TimeRef, time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = epoch.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
