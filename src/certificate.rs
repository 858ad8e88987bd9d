//! What makes a good certificate set: PEM or DER to checked, parsed certificates and keys.

mod chain;
mod check;
mod names;
mod pem;

use std::fmt;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::stack::StackRef;
use openssl::x509::{X509, X509Ref};
use zeroize::Zeroizing;

pub(crate) use chain::ChainCache;
use pem::PemError;

use crate::ffi::decoder::KeyDecoder;
use crate::record::{KeyType, MemberRecord, Record, Source};
use crate::server_name::ServerName;
use chain::Chain;
use names::Names;

/// Why certificates and keys are no set. Holds no byte of the input.
#[derive(Debug)]
pub(crate) enum SetError {
    CertificatePem(PemError),
    KeyPem(PemError),
    NoCertificate,
    NoKey,
    KeyMismatch,
    WrongOrder,
    EncryptedKey,
    UnsupportedKey,
    OpenSsl(ErrorStack),
}

impl From<ErrorStack> for SetError {
    fn from(stack: ErrorStack) -> SetError {
        SetError::OpenSsl(stack)
    }
}

impl SetError {
    /// Whether the key's file is to blame, rather than the certificate's.
    pub(crate) fn is_about_key(&self) -> bool {
        matches!(
            self,
            SetError::KeyPem(_) | SetError::NoKey | SetError::KeyMismatch | SetError::EncryptedKey
        )
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::CertificatePem(error) | SetError::KeyPem(error) => write!(f, "{error}"),
            SetError::NoCertificate => f.write_str("holds no certificate"),
            SetError::NoKey => f.write_str("holds no private key"),
            SetError::KeyMismatch => f.write_str("key does not match the certificate"),
            SetError::WrongOrder => f.write_str("certificate chain is out of order"),
            SetError::EncryptedKey => f.write_str("private key is encrypted"),
            SetError::UnsupportedKey => f.write_str("type of key is not supported"),
            SetError::OpenSsl(stack) => {
                let reason = stack.errors().first().and_then(|e| e.reason());
                write!(f, "cannot be decoded ({})", reason.unwrap_or("unknown reason"))
            }
        }
    }
}

/// One certificate with its key and the intermediates that it is sent with.
pub(crate) struct Member {
    leaf: X509,
    key: PKey<Private>,
    chain: Chain,
    names: Names,
    key_type: KeyType,
    fingerprint: [u8; 32],
    not_before: i64,
    not_after: i64,
}

impl Member {
    fn new(leaf: X509, key: PKey<Private>, chain: Chain) -> Result<Member, SetError> {
        let key_type = match key.id() {
            Id::RSA => KeyType::Rsa,
            Id::RSA_PSS => KeyType::RsaPss,
            Id::EC => KeyType::Ec,
            Id::ED25519 => KeyType::Ed25519,
            Id::ED448 => KeyType::Ed448,
            _ => return Err(SetError::UnsupportedKey),
        };
        let digest = leaf.digest(MessageDigest::sha256())?;
        let fingerprint = <[u8; 32]>::try_from(&*digest).map_err(|_| SetError::NoCertificate)?;
        let not_before = seconds(leaf.not_before())?;
        let not_after = seconds(leaf.not_after())?;
        let names = Names::of(&leaf);
        Ok(Member { leaf, key, chain, names, key_type, fingerprint, not_before, not_after })
    }

    pub(crate) fn leaf(&self) -> &X509Ref {
        &self.leaf
    }

    pub(crate) fn key(&self) -> &PKeyRef<Private> {
        &self.key
    }

    /// The intermediates, in the order in which they are sent.
    pub(crate) fn chain(&self) -> &StackRef<X509> {
        &self.chain
    }

    pub(crate) fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// SHA-256 of the leaf's DER.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Seconds since the epoch.
    pub(crate) fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Seconds since the epoch; the certificate is valid in this second (RFC 5280, 4.1.2.5).
    pub(crate) fn not_after(&self) -> i64 {
        self.not_after
    }

    fn to_record(&self) -> Result<MemberRecord, ErrorStack> {
        let chain = self.chain.iter().map(|c| c.to_der()).collect::<Result<_, _>>()?;
        let key = Zeroizing::new(self.key.private_key_to_pkcs8()?);
        Ok(MemberRecord { key_type: self.key_type, leaf: self.leaf.to_der()?, key, chain })
    }
}

/// Seconds since the epoch.
fn seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}

/// A whole set: one member per key type, each checked.
pub(crate) struct CertificateSet {
    members: Vec<Member>,
}

impl CertificateSet {
    /// Checks a certificate with its chain against its key, both PEM, and makes a set of them. An
    /// expired certificate is taken too: the caller decides.
    pub(crate) fn from_pem(certificates: &[u8], key: &[u8]) -> Result<CertificateSet, SetError> {
        let checked = check::member(certificates, key).and_then(|m| CertificateSet::of(vec![m]));
        // What OpenSSL tried in between may have left errors behind.
        drop(ErrorStack::get());
        checked
    }

    /// One set of several; `None` of none. Of two members with one type of key the one that became
    /// valid later is taken.
    pub(crate) fn join(sets: Vec<CertificateSet>) -> Option<CertificateSet> {
        CertificateSet::of(sets.into_iter().flat_map(|set| set.members).collect()).ok()
    }

    fn of(mut members: Vec<Member>) -> Result<CertificateSet, SetError> {
        members.sort_by_key(|m| (m.key_type, std::cmp::Reverse(m.not_before)));
        members.dedup_by_key(|m| m.key_type);
        if members.is_empty() {
            return Err(SetError::NoCertificate);
        }
        Ok(CertificateSet { members })
    }

    /// A set out of the zone: DER only, each key by a decoder that the worker keeps.
    pub(crate) fn from_record(
        record: &Record,
        decoder: &mut KeyDecoder,
        chains: &mut ChainCache,
    ) -> Result<CertificateSet, SetError> {
        let member = |member: &MemberRecord| {
            let leaf = X509::from_der(&member.leaf)?;
            let key = decoder.decode(member.key_type, &member.key)?;
            Member::new(leaf, key, chains.get(&member.chain)?)
        };
        let members: Result<Vec<Member>, SetError> = record.members.iter().map(member).collect();
        CertificateSet::of(members?)
    }

    /// The set as bytes for the zone. `digest` is that of the files it was read from.
    pub(crate) fn to_record(&self, source: Source, digest: [u8; 16]) -> Result<Record, SetError> {
        let members: Result<Vec<MemberRecord>, ErrorStack> =
            self.members.iter().map(Member::to_record).collect();
        Ok(Record {
            source,
            digest,
            not_before: self.members.iter().map(Member::not_before).max().unwrap_or(0),
            not_after: self.members.iter().map(Member::not_after).max().unwrap_or(0),
            members: members?,
        })
    }

    /// Takes the intermediates from those that other sets of the worker hold already. `record` is
    /// that of this set.
    pub(crate) fn share_chains(
        &mut self,
        record: &Record,
        chains: &mut ChainCache,
    ) -> Result<(), ErrorStack> {
        for (member, record) in self.members.iter_mut().zip(&record.members) {
            member.chain = chains.get(&record.chain)?;
        }
        Ok(())
    }

    /// The members, by type of key; at least one.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members to offer at a time: an expired one only when all have expired.
    pub(crate) fn offered_at(&self, now: i64) -> impl Iterator<Item = &Member> {
        let all = self.expired_at(now);
        self.members.iter().filter(move |m| all || now <= m.not_after)
    }

    /// Whether each member is for this name.
    pub(crate) fn covers(&self, name: &ServerName) -> bool {
        self.members.iter().all(|m| m.names.cover(name))
    }

    /// Whether all members have expired.
    pub(crate) fn expired_at(&self, now: i64) -> bool {
        self.members.iter().all(|m| now > m.not_after)
    }

    /// Whether no member is valid yet.
    pub(crate) fn not_yet_valid_at(&self, now: i64) -> bool {
        self.members.iter().all(|m| now < m.not_before)
    }
}
