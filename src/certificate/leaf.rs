//! A leaf: what it says, and the certificate that a connection is given.

use std::cell::Cell;

use once_cell::unsync::OnceCell;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::x509::{X509, X509Ref};

use super::der::{Reader, SEQUENCE};
use super::error::EmptyErrorQueue;
use super::names::Names;

/// OpenSSL decodes the public key in a certificate when it reads it, at a price: a leaf that was
/// checked is read again for that when it is first installed, so not at all in a master.
pub(super) struct Leaf {
    /// Until it is installed.
    der: Cell<Option<Box<[u8]>>>,
    x509: OnceCell<X509>,
    names: Names,
    fingerprint: [u8; 32],
    not_before: i64,
    not_after: i64,
    is_self_issued: bool,
}

impl Leaf {
    /// `x509` is what OpenSSL read from `der`, with its public key.
    pub(super) fn decoded(x509: X509, der: &[u8]) -> Result<Leaf, ErrorStack> {
        Leaf::new(&x509, der, None).map(|leaf| Leaf { x509: OnceCell::with_value(x509), ..leaf })
    }

    /// `x509` need not have a public key.
    pub(super) fn undecoded(x509: &X509Ref) -> Result<Leaf, ErrorStack> {
        // As OpenSSL read it: without what may have followed in the input.
        let der = x509.to_der()?;
        Leaf::new(x509, &der, Some(der.as_slice().into()))
    }

    fn new(x509: &X509Ref, der: &[u8], kept: Option<Box<[u8]>>) -> Result<Leaf, ErrorStack> {
        let epoch = Asn1Time::from_unix(0)?;
        let mut hash = Sha256::new();
        hash.update(der);
        Ok(Leaf {
            der: Cell::new(kept),
            x509: OnceCell::new(),
            names: Names::of_both(x509, der),
            fingerprint: hash.finish(),
            not_before: seconds(&epoch, x509.not_before())?,
            not_after: seconds(&epoch, x509.not_after())?,
            is_self_issued: x509.subject_name().try_cmp(x509.issuer_name())?.is_eq(),
        })
    }

    /// With its public key; `None` when memory is short. Leaves OpenSSL's error queue empty, which it
    /// looks at only where it decodes: this is on the way of each handshake.
    pub(super) fn x509(&self) -> Option<&X509Ref> {
        let decode = || {
            let _queue = EmptyErrorQueue;
            let der = self.der.take().ok_or_else(ErrorStack::get)?;
            let x509 = X509::from_der(&der);
            if x509.is_err() {
                self.der.set(Some(der));
            }
            x509
        };
        self.x509.get_or_try_init(decode).ok().map(AsRef::as_ref)
    }

    pub(super) fn to_der(&self) -> Result<Vec<u8>, ErrorStack> {
        if let Some(x509) = self.x509.get() {
            return x509.to_der();
        }
        let der = self.der.take();
        let copy = der.as_deref().map(<[u8]>::to_vec);
        self.der.set(der);
        copy.ok_or_else(ErrorStack::get)
    }

    /// The signatureAlgorithm (RFC 5280, section 4.1.1.2) with its parameters; `None` when it is not
    /// found.
    pub(super) fn signature_algorithm(&self) -> Option<Box<[u8]>> {
        let der = self.to_der().ok()?;
        let mut certificate = Reader(Reader(&der).only(SEQUENCE)?);
        certificate.next(SEQUENCE)?;
        certificate.next(SEQUENCE).map(Box::from)
    }

    /// Whether subject and issuer have one name (`EXFLAG_SI`).
    pub(super) fn is_self_issued(&self) -> bool {
        self.is_self_issued
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// SHA-256 of the DER.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Seconds since the epoch, as `not_after`.
    pub(super) fn not_before(&self) -> i64 {
        self.not_before
    }

    pub(super) fn not_after(&self) -> i64 {
        self.not_after
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Leaf {
        let der = self.der.take();
        self.der.set(der.clone());
        Leaf {
            der: Cell::new(der),
            x509: self.x509.clone(),
            names: self.names.clone(),
            fingerprint: self.fingerprint,
            not_before: self.not_before,
            not_after: self.not_after,
            is_self_issued: self.is_self_issued,
        }
    }
}

fn seconds(epoch: &Asn1TimeRef, time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = epoch.diff(time)?;
    Ok(i64::from(since.days) * 86_400 + i64::from(since.secs))
}
