//! The body of a push: the PEM of a whole set, certificates and keys in any order.
//!
//! Which certificates are leaves is told by the keys: a certificate whose key is there begins a
//! member, and those that follow it, up to the next such one, are its chain.

use openssl::x509::{X509, X509VerifyResult};
use zeroize::Zeroizing;

use super::error::{EmptyErrorQueue, SetError};
use super::key::{self, Key, PublicKey};
use super::leaf::Leaf;
use super::member::Member;
use super::names;
use super::pem::{self, Block, Kind};
use super::{CertificateSet, Parser};
use crate::ffi::decoder::KeyDecoder;
use crate::ffi::undecoded::undecoded_certificate;
use crate::record::KeyType;

/// No leaf that is pushed has more names: each is an entry of the zone's index, and all of them are
/// written in one go.
pub(crate) const MAX_NAMES: usize = 1_000;

impl CertificateSet {
    /// Parses and checks what was pushed. An expired certificate is no error. Leaves OpenSSL's
    /// error queue empty.
    pub(crate) fn from_bundle(
        text: &[u8],
        parser: &mut Parser,
    ) -> Result<CertificateSet, SetError> {
        let _queue = EmptyErrorQueue;
        let blocks = pem::blocks(text)?;
        let has = |kind| blocks.iter().any(|block| block.kind == kind);
        if !has(Kind::Certificate) {
            return Err(SetError::NoCertificate);
        }
        if has(Kind::EncryptedKey) {
            return Err(SetError::EncryptedKey);
        }
        let keys = keys(&blocks, &mut parser.decoder)?;
        let certificates = certificates(&blocks, &keys, parser)?;
        check_leaves(&certificates, &keys)?;

        let runs = certificates.chunk_by(|_, next| next.key.is_none());
        let members = runs.map(|run| member(run, parser)).collect::<Result<_, _>>()?;
        CertificateSet::new(members).ok_or(SetError::NoCertificate)
    }
}

struct TypedKey {
    key_type: KeyType,
    key: Key,
}

struct Certificate<'a> {
    der: Zeroizing<Vec<u8>>,
    /// Without its public key.
    x509: X509,
    /// The key that it was made for, with its public half: it is a leaf.
    key: Option<(&'a TypedKey, PublicKey)>,
}

/// One of each type, at least one. The same key may be there twice.
fn keys(blocks: &[Block<'_>], decoder: &mut KeyDecoder) -> Result<Vec<TypedKey>, SetError> {
    let mut keys: Vec<TypedKey> = Vec::new();
    for block in blocks.iter().filter(|block| block.kind == Kind::Key) {
        let key = key::plain(block.der()?, &[KeyType::Ec, KeyType::Rsa], decoder)?;
        let key_type = key::key_type(key.key.id()).ok_or(SetError::UnsupportedKey)?;
        match keys.iter().find(|known| known.key_type == key_type) {
            None => keys.push(TypedKey { key_type, key }),
            Some(known) if known.key.key.public_eq(&key.key) => {}
            Some(_) => return Err(SetError::TwoKeysOfOneType),
        }
    }
    if keys.is_empty() { Err(SetError::NoKey) } else { Ok(keys) }
}

fn certificates<'a>(
    blocks: &[Block<'_>],
    keys: &'a [TypedKey],
    parser: &mut Parser,
) -> Result<Vec<Certificate<'a>>, SetError> {
    let blocks = blocks.iter().filter(|block| block.kind == Kind::Certificate);
    blocks
        .map(|block| {
            let der = block.der()?;
            let x509 = undecoded_certificate(&der).map_err(SetError::certificate)?;
            // A certificate whose own key OpenSSL does not know is no leaf.
            let public = PublicKey::of(&x509).ok();
            let key = public.and_then(|public| {
                let decoder = &mut parser.decoder;
                let is_its = |key: &&TypedKey| public.is_of(&key.key, decoder).unwrap_or_default();
                let key = keys.iter().find(is_its)?;
                Some((key, public))
            });
            Ok(Certificate { der, x509, key })
        })
        .collect()
}

/// Whether the first certificate is a leaf, and each key has one; before anything is verified.
fn check_leaves(certificates: &[Certificate<'_>], keys: &[TypedKey]) -> Result<(), SetError> {
    let first = certificates.first().ok_or(SetError::NoCertificate)?;
    if certificates.iter().all(|certificate| certificate.key.is_none()) {
        return Err(SetError::KeyMismatch);
    }
    if first.key.is_none() {
        let issuer = X509::from_der(&first.der).map_err(SetError::certificate)?;
        let is_issuer = |other: &Certificate<'_>| {
            other.der != first.der && issuer.issued(&other.x509) == X509VerifyResult::OK
        };
        let is_issuer = certificates.iter().any(is_issuer);
        return Err(if is_issuer { SetError::WrongOrder } else { SetError::KeyMismatch });
    }
    for key in keys {
        let is_its = |leaf: &&Certificate<'_>| {
            leaf.key.as_ref().is_some_and(|(own, _)| own.key_type == key.key_type)
        };
        match certificates.iter().filter(is_its).count() {
            0 => return Err(SetError::KeyMismatch),
            1 => {}
            _ => return Err(SetError::TwoCertificatesOfOneType),
        }
    }
    let leaves = certificates.iter().filter(|certificate| certificate.key.is_some());
    if leaves.into_iter().any(|leaf| names::count(&leaf.x509) > MAX_NAMES) {
        return Err(SetError::TooManyNames);
    }
    Ok(())
}

/// The member that a leaf and what follows it make.
fn member(run: &[Certificate<'_>], parser: &mut Parser) -> Result<Member, SetError> {
    let (leaf, chain) = run.split_first().ok_or(SetError::NoCertificate)?;
    let (key, public) = leaf.key.as_ref().ok_or(SetError::KeyMismatch)?;
    key::check_usable(&key.key.key, public, parser)?;
    let ders: Vec<&[u8]> = chain.iter().map(|certificate| certificate.der.as_slice()).collect();
    let chain = parser.chains.checked(&leaf.x509, &ders)?;
    let leaf = Leaf::undecoded(&leaf.x509).map_err(SetError::certificate)?;
    Ok(Member::new(key.key_type, leaf, key.key.share(), chain))
}

#[cfg(test)]
mod tests;
