//! Certificates and keys to serve.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

/// A key type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    Rsa2048,
    Rsa4096,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> Option<Kind> {
        match text {
            "p256" => Some(Kind::P256),
            "rsa" | "rsa2048" => Some(Kind::Rsa2048),
            "rsa4096" => Some(Kind::Rsa4096),
            _ => None,
        }
    }

    pub(crate) fn key(self) -> PKey<Private> {
        let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).expect("key")).expect("key");
        match self {
            Kind::P256 => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("curve");
                PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key")
            }
            Kind::Rsa2048 => rsa(2048),
            Kind::Rsa4096 => rsa(4096),
        }
    }
}

/// A pair in PEM whose serial number is the rotation's; P-256, self-signed.
pub(crate) fn pair(name: &str, serial: u64) -> (Vec<u8>, Vec<u8>) {
    let (leaf, key) = issue(name, &[name], serial, None);
    (leaf.to_pem().expect("PEM"), key.private_key_to_pem_pkcs8().expect("PEM"))
}

/// A certificate for names and its key, P-256; self-signed where there is no issuer.
pub(crate) fn issue(
    subject: &str,
    names: &[&str],
    serial: u64,
    issuer: Option<&(X509, PKey<Private>)>,
) -> (X509, PKey<Private>) {
    let key = Kind::P256.key();
    (certify(&key, subject, names, serial, issuer), key)
}

/// A certificate for a key.
pub(crate) fn certify(
    key: &PKey<Private>,
    subject: &str,
    names: &[&str],
    serial: u64,
    issuer: Option<&(X509, PKey<Private>)>,
) -> X509 {
    let mut name = X509NameBuilder::new().expect("name");
    name.append_entry_by_text("CN", subject).expect("name");
    let name = name.build();
    let mut leaf = X509::builder().expect("certificate");
    leaf.set_version(2).expect("version");
    let number = BigNum::from_slice(&serial.to_be_bytes()).expect("serial");
    leaf.set_serial_number(&Asn1Integer::from_bn(&number).expect("serial")).expect("serial");
    leaf.set_subject_name(&name).expect("subject");
    let issuer_name = issuer.map_or(name.as_ref(), |(issuer, _)| issuer.subject_name());
    leaf.set_issuer_name(issuer_name).expect("issuer");
    leaf.set_pubkey(key).expect("key");
    leaf.set_not_before(&Asn1Time::days_from_now(0).expect("time")).expect("time");
    leaf.set_not_after(&Asn1Time::days_from_now(90).expect("time")).expect("time");
    if !names.is_empty() {
        let mut extension = SubjectAlternativeName::new();
        for name in names {
            extension.dns(name);
        }
        let extension = extension.build(&leaf.x509v3_context(None, None));
        leaf.append_extension(extension.expect("names")).expect("names");
    }
    let signer = issuer.map_or(key, |(_, key)| key);
    leaf.sign(signer, MessageDigest::sha256()).expect("signature");
    leaf.build()
}

/// Issues leaves by one intermediate, which all of them send.
pub(crate) struct Issuer {
    own: (X509, PKey<Private>),
    kind: Kind,
    /// That of all leaves: an RSA key takes longer to make than a measurement lasts.
    key: Option<PKey<Private>>,
}

/// What an issuer has made.
pub(crate) struct Issued<'a> {
    pub(crate) leaf: X509,
    pub(crate) key: PKey<Private>,
    pub(crate) issuer: &'a X509,
}

impl Issuer {
    pub(crate) fn new(kind: Kind) -> Issuer {
        let key = (kind != Kind::P256).then(|| kind.key());
        Issuer { own: issue("issuer", &[], 0, None), kind, key }
    }

    pub(crate) fn issue(&self, name: &str, serial: u64) -> Issued<'_> {
        let key = self.key.clone().unwrap_or_else(|| self.kind.key());
        let leaf = certify(&key, name, &[name], serial, Some(&self.own));
        Issued { leaf, key, issuer: &self.own.0 }
    }
}

impl Issued<'_> {
    /// Leaf and intermediate.
    pub(crate) fn chain(&self) -> Vec<u8> {
        let mut chain = self.leaf.to_pem().expect("PEM");
        chain.extend(self.issuer.to_pem().expect("PEM"));
        chain
    }

    pub(crate) fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("PEM")
    }

    /// All of it.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        [self.chain(), self.key_pem()].concat()
    }

    /// Leaf and key.
    pub(crate) fn bundle_alone(&self) -> Vec<u8> {
        [self.leaf.to_pem().expect("PEM"), self.key_pem()].concat()
    }

    /// Bytes of leaf and key as DER.
    pub(crate) fn der_len(&self) -> usize {
        let leaf = self.leaf.to_der().expect("DER").len();
        leaf + self.key.private_key_to_pkcs8().expect("DER").len()
    }
}
