//! A small CA: what the tests of certificates, files and lookup make their pairs with.

use std::sync::OnceLock;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Name, X509NameBuilder, X509Ref};

pub(crate) const DAY: i64 = 86_400;

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

pub(crate) fn ec(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn p256() -> PKey<Private> {
    ec(Nid::X9_62_PRIME256V1)
}

/// One for all tests: it takes long to make.
pub(crate) fn rsa() -> PKey<Private> {
    static KEY: OnceLock<PKey<Private>> = OnceLock::new();
    KEY.get_or_init(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).clone()
}

pub(crate) struct Ca {
    root: X509,
    root_key: PKey<Private>,
    pub(crate) intermediate: X509,
    key: PKey<Private>,
}

/// One for all tests.
pub(crate) fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(Ca::new)
}

/// What a leaf says; a P-256 one for `a.test`, valid now, unless it is said otherwise.
#[derive(Clone)]
pub(crate) struct Leaf<'a> {
    pub(crate) cn: &'a str,
    pub(crate) sans: &'a [&'a str],
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        Leaf {
            cn: "cn.test",
            sans: &["a.test"],
            not_before: now() - DAY,
            not_after: now() + 30 * DAY,
        }
    }
}

impl Ca {
    pub(crate) fn new() -> Ca {
        let root_key = p256();
        let root_name = name("test root");
        let root = issue(&root_name, &root_name, &root_key, &root_key, None, None);
        let key = p256();
        let intermediate =
            issue(&name("test intermediate"), &root_name, &key, &root_key, Some(&root), None);
        Ca { root, root_key, intermediate, key }
    }

    pub(crate) fn leaf(&self, key: &PKeyRef<Private>, leaf: &Leaf<'_>) -> X509 {
        let issuer = self.intermediate.subject_name();
        issue(&name(leaf.cn), issuer, key, &self.key, Some(&self.intermediate), Some(leaf))
    }

    /// Leaf and intermediate.
    pub(crate) fn chain_pem(&self, key: &PKeyRef<Private>, leaf: &Leaf<'_>) -> Vec<u8> {
        let leaf = self.leaf(key, leaf).to_pem().unwrap();
        [leaf, self.intermediate.to_pem().unwrap()].concat()
    }

    pub(crate) fn root_pem(&self) -> Vec<u8> {
        self.root.to_pem().unwrap()
    }

    /// The root, which has signed itself, and its key.
    pub(crate) fn root_pair(&self) -> (Vec<u8>, Vec<u8>) {
        (self.root_pem(), self.root_key.private_key_to_pem_pkcs8().unwrap())
    }

    pub(crate) fn intermediate_pem(&self) -> Vec<u8> {
        self.intermediate.to_pem().unwrap()
    }
}

/// A certificate file with its intermediate, and its key file.
pub(crate) fn pair(key: &PKeyRef<Private>, leaf: &Leaf<'_>) -> (Vec<u8>, Vec<u8>) {
    (ca().chain_pem(key, leaf), key.private_key_to_pem_pkcs8().unwrap())
}

fn name(cn: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    if !cn.is_empty() {
        name.append_entry_by_nid(Nid::COMMONNAME, cn).unwrap();
    }
    name.build()
}

fn issue(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKeyRef<Private>,
    signer: &PKeyRef<Private>,
    issuer_certificate: Option<&X509Ref>,
    leaf: Option<&Leaf<'_>>,
) -> X509 {
    let mut builder = X509::builder().unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(100, MsbOption::ONE, false).unwrap();
    let default = Leaf::default();
    let times = leaf.unwrap_or(&default);
    builder.set_version(2).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(times.not_before).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(times.not_after).unwrap()).unwrap();

    let context = builder.x509v3_context(issuer_certificate, None);
    let mut extensions = vec![SubjectKeyIdentifier::new().build(&context).unwrap()];
    if issuer_certificate.is_some() {
        extensions.push(AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap());
    }
    match leaf {
        None => extensions.push(BasicConstraints::new().critical().ca().build().unwrap()),
        Some(leaf) if !leaf.sans.is_empty() => {
            let mut sans = SubjectAlternativeName::new();
            for san in leaf.sans {
                match san.strip_prefix("ip:") {
                    Some(ip) => sans.ip(ip),
                    None => sans.dns(san),
                };
            }
            extensions.push(sans.build(&context).unwrap());
        }
        Some(_) => {}
    }
    for extension in extensions {
        builder.append_extension(extension).unwrap();
    }
    let is_edwards = matches!(signer.id(), Id::ED25519 | Id::ED448);
    let digest = if is_edwards { MessageDigest::null() } else { MessageDigest::sha256() };
    builder.sign(signer, digest).unwrap();
    builder.build()
}

/// CPU time of one call, µs.
pub(crate) fn cpu_time(rounds: u32, mut work: impl FnMut()) -> f64 {
    let on_cpu = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap() as f64
    };
    work();
    let start = on_cpu();
    (0..rounds).for_each(|_| work());
    (on_cpu() - start) / f64::from(rounds) / 1e3
}
