//! PEM to a checked member.

use std::rc::Rc;

use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::{X509, X509VerifyResult};

use super::pem::{self, Block};
use super::{Member, SetError};

/// Checks that the texts are a certificate, its chain in order, and its key; a bundle of all is
/// passed twice.
pub(super) fn member(certificate_text: &[u8], key_text: &[u8]) -> Result<Member, SetError> {
    let mut certificates = certificates(certificate_text)?.into_iter();
    let leaf = certificates.next().ok_or(SetError::NoCertificate)?;
    let mut chain = Stack::new()?;
    let mut issued = leaf.clone();
    for issuer in certificates {
        if !is_issuer(&issuer, &issued) {
            return Err(SetError::WrongOrder);
        }
        issued = issuer.clone();
        chain.push(issuer)?;
    }
    let key = matching_key(key_text, &leaf)?;
    Member::new(leaf, key, Rc::new(chain))
}

fn is_issuer(issuer: &X509, issued: &X509) -> bool {
    issuer.issued(issued) == X509VerifyResult::OK
        && issuer.public_key().is_ok_and(|key| issued.verify(&key).unwrap_or(false))
}

fn certificates(text: &[u8]) -> Result<Vec<X509>, SetError> {
    let is_certificate = |block: &Block<'_>| {
        matches!(block.label, b"CERTIFICATE" | b"X509 CERTIFICATE" | b"TRUSTED CERTIFICATE")
    };
    let blocks = pem::blocks(text).map_err(SetError::CertificatePem)?;
    blocks
        .iter()
        .filter(|block| is_certificate(block))
        .map(|block| X509::from_pem(block.text).map_err(SetError::from))
        .collect()
}

/// The key that belongs to the leaf; a bundle may hold several.
fn matching_key(text: &[u8], leaf: &X509) -> Result<PKey<Private>, SetError> {
    let public = leaf.public_key()?;
    let mut failure = SetError::NoKey;
    for block in pem::blocks(text).map_err(SetError::KeyPem)? {
        match key(&block) {
            None => {}
            Some(Ok(key)) if key.public_eq(&public) => return Ok(key),
            Some(Ok(_)) => failure = SetError::KeyMismatch,
            Some(Err(error)) => failure = error,
        }
    }
    Err(failure)
}

/// The key in a block; `None` when it is a block of something else.
fn key(block: &Block<'_>) -> Option<Result<PKey<Private>, SetError>> {
    match block.label {
        b"ENCRYPTED PRIVATE KEY" => return Some(Err(SetError::EncryptedKey)),
        b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {}
        _ => return None,
    }
    if block.text.windows(11).any(|w| w == b"4,ENCRYPTED") {
        return Some(Err(SetError::EncryptedKey));
    }
    // Without a callback OpenSSL would ask for a password on the terminal.
    let refuse = |_: &mut [u8]| Ok(0);
    Some(PKey::private_key_from_pem_callback(block.text, refuse).map_err(SetError::from))
}
