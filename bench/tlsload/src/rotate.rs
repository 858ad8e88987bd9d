//! Rotations under load, checked: no failure, nothing stale after the clear's answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) clear: SocketAddr,
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
    pub(crate) rotations: u64,
    pub(crate) handshakes: u64,
    pub(crate) threads: u64,
}

/// A pair whose serial number is the rotation's.
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
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key");
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
    leaf.set_pubkey(&key).expect("key");
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
    let signer = issuer.map_or(&key, |(_, key)| key);
    leaf.sign(signer, MessageDigest::sha256()).expect("signature");
    (leaf.build(), key)
}

/// Writes both files: in place or by rename, either first, with or without a gap.
fn write(plan: &Plan, rotation: u64) {
    let (certificate, key) = pair(&plan.name, rotation);
    let certificate = (plan.directory.join(format!("{}.cert.pem", plan.name)), certificate);
    let key = (plan.directory.join(format!("{}.key.pem", plan.name)), key);
    let (first, second) =
        if rotation.is_multiple_of(2) { (certificate, key) } else { (key, certificate) };
    let by_rename = rotation % 4 < 2;
    put(&first.0, &first.1, by_rename);
    if rotation.is_multiple_of(3) {
        std::thread::sleep(Duration::from_millis(rotation % 7));
    }
    put(&second.0, &second.1, by_rename);
}

fn put(path: &Path, text: &[u8], by_rename: bool) {
    if by_rename {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text).expect("write");
        std::fs::rename(&fresh, path).expect("rename");
    } else {
        std::fs::write(path, text).expect("write");
    }
}

/// `GET /clear`; true when the answer was 200 and had arrived to its last byte.
fn clear(addr: SocketAddr) -> bool {
    let Ok(mut tcp) = TcpStream::connect(addr) else { return false };
    let request = b"GET /clear HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let mut answer = Vec::new();
    tcp.write_all(request).is_ok()
        && tcp.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

struct Counts {
    /// Handshakes that began after this rotation's clear was answered must see it or a later one.
    cleared: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
    end: AtomicBool,
}

pub(crate) fn run(plan: &Plan) -> bool {
    let counts = Counts {
        cleared: AtomicU64::new(0),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        end: AtomicBool::new(false),
    };
    let mut refused = 0;
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| load(plan, &counts));
        }
        for rotation in 1..=plan.rotations {
            write(plan, rotation);
            if !clear(plan.clear) {
                refused += 1;
                continue;
            }
            counts.cleared.store(rotation, Ordering::SeqCst);
            let until = counts.done.load(Ordering::SeqCst) + plan.handshakes;
            while counts.done.load(Ordering::SeqCst) < until {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        counts.end.store(true, Ordering::SeqCst);
    });
    let (done, failed, stale) = (
        counts.done.load(Ordering::SeqCst),
        counts.failed.load(Ordering::SeqCst),
        counts.stale.load(Ordering::SeqCst),
    );
    println!(
        "rotations={} handshakes={done} failed={failed} stale={stale} clears_refused={refused}",
        plan.rotations
    );
    failed == 0 && stale == 0 && refused == 0
}

fn load(plan: &Plan, counts: &Counts) {
    let context = crate::context(false);
    while !counts.end.load(Ordering::SeqCst) {
        let cleared = counts.cleared.load(Ordering::SeqCst);
        if cleared == 0 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        match crate::handshake(&context, plan.addr, &plan.name) {
            Ok(serial) if serial < cleared => {
                counts.stale.fetch_add(1, Ordering::SeqCst);
            }
            Ok(_) => {}
            Err(kind) => {
                eprintln!("{kind}");
                counts.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
        counts.done.fetch_add(1, Ordering::SeqCst);
    }
}
