//! The DNS names of a leaf, straight from its DER.
//!
//! OpenSSL takes most of the time for a certificate's public key, which nobody needs who asks for
//! names: for a hundred thousand sets at a start, that is the whole of the start. What is not
//! entirely plain here is left to OpenSSL, so that both always say the same.

use super::der::{BOOLEAN, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};

/// As they stand in a certificate (RFC 5280, section 4.1).
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
/// The other kinds of name (RFC 5280, section 4.2.1.6).
const OTHER_NAMES: [u8; 8] = [0xa0, 0x81, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88];

/// The DNS names of the subjectAltName, at least one, all ASCII; `None` when OpenSSL has to be asked.
pub(super) fn dns_names(leaf: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Reader(alt_names(leaf)?);
    let mut dns = Vec::new();
    while let Some((tag, name)) = names.element()? {
        match tag {
            DNS_NAME if name.is_ascii() => dns.push(name),
            _ if OTHER_NAMES.contains(&tag) => {}
            _ => return None,
        }
    }
    (!dns.is_empty()).then_some(dns)
}

/// What is in the one subjectAltName.
fn alt_names(leaf: &[u8]) -> Option<&[u8]> {
    let certificate = Reader(leaf).only(SEQUENCE)?;
    let mut tbs = Reader(Reader(certificate).next(SEQUENCE)?);
    tbs.next_if(VERSION)?;
    tbs.next(INTEGER)?;
    // Signature algorithm, issuer, validity, subject, key.
    for _ in 0..5 {
        tbs.next(SEQUENCE)?;
    }
    tbs.next_if(ISSUER_ID)?;
    tbs.next_if(SUBJECT_ID)?;
    let mut extensions = Reader(Reader(tbs.only(EXTENSIONS)?).only(SEQUENCE)?);

    let mut found = None;
    while let Some((tag, extension)) = extensions.element()? {
        let mut extension = Reader(extension);
        if tag != SEQUENCE || extension.next(OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
            continue;
        }
        extension.next_if(BOOLEAN)?;
        let value = Reader(extension.only(OCTET_STRING)?).only(SEQUENCE)?;
        if found.replace(value).is_some() {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use openssl::x509::X509;
    use proptest::prelude::*;

    use super::super::names::Names;
    use super::super::test_support::*;
    use super::*;

    fn der(sans: &[&str]) -> Vec<u8> {
        ca().leaf(&p256(), &Leaf { sans, ..Leaf::default() }).to_der().unwrap()
    }

    fn names(der: &[u8]) -> Option<Vec<String>> {
        let names = dns_names(der)?.into_iter();
        Some(names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect())
    }

    fn assert_as_openssl(der: &[u8]) {
        if let (Ok(leaf), Some(_)) = (X509::from_der(der), dns_names(der)) {
            let ours = Names::of_der(der).unwrap();
            assert!(ours.iter().eq(Names::of(&leaf).iter()));
        }
        drop(openssl::error::ErrorStack::get());
    }

    #[test]
    fn plain_leaves() {
        let many: Vec<String> = (0..2_000).map(|i| format!("www.{i}.a.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let cases: [&[&str]; 6] = [
            &["a.test"],
            &["A.test", "*.a.test", "_.b.test", "a b", "a.test"],
            &["ip:192.0.2.1", "a.test", "ip:2001:db8::1"],
            &many[..9],
            &many[..20],
            &many,
        ];
        for sans in cases {
            let der = der(sans);
            let expected: Vec<_> = sans.iter().filter(|san| !san.starts_with("ip:")).collect();
            assert!(names(&der).unwrap().iter().eq(expected));
            assert_as_openssl(&der);
        }
        for key in [rsa(), openssl::pkey::PKey::generate_ed25519().unwrap()] {
            let der = ca().leaf(&key, &Leaf::default()).to_der().unwrap();
            assert_eq!(names(&der).unwrap(), ["a.test"]);
        }
    }

    #[test]
    fn what_is_left_to_openssl() {
        // Without DNS names the CN counts.
        for sans in [&[] as &[&str], &["ip:192.0.2.1"]] {
            let der = der(sans);
            assert_eq!(names(&der), None);
            assert_eq!(Names::of_der(&der).unwrap().iter().collect::<Vec<_>>(), ["cn.test"]);
        }
        let der = der(&["a.test"]);
        for end in 0..der.len() {
            assert_eq!(names(&der[..end]), None);
            assert!(Names::of_der(&der[..end]).is_err());
        }
        assert_eq!(names(&[&*der, b"x"].concat()), None);
        drop(openssl::error::ErrorStack::get());
    }

    #[test]
    fn every_flip_says_the_same_as_openssl() {
        let mut der = der(&["a.test", "ip:192.0.2.1", "*.b.test"]);
        for at in 0..der.len() {
            for bit in 0..8 {
                der[at] ^= 1 << bit;
                assert_as_openssl(&der);
                der[at] ^= 1 << bit;
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = dns_names(&bytes);
        }
    }
}
