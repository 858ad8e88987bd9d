use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::symm::Cipher;

use super::super::test_support::{Leaf, *};
use super::super::{Cover, encoding::names_of_leaves};
use super::*;
use crate::record::{Record, Source};
use crate::server_name::ServerName;

fn parse(parts: &[&[u8]]) -> Result<CertificateSet, SetError> {
    parse_with(parts, &mut Parser::new())
}

fn parse_with(parts: &[&[u8]], parser: &mut Parser) -> Result<CertificateSet, SetError> {
    let result = CertificateSet::from_bundle(&parts.concat(), parser);
    let left = ErrorStack::get();
    assert!(left.errors().is_empty(), "{left}");
    result
}

type Shape<'a> = &'a [(KeyType, usize)];

/// What a set is made of: each key type and the length of its chain.
fn shape(set: &CertificateSet) -> Vec<(KeyType, usize)> {
    set.members().iter().map(|m| (m.key_type(), m.chain().len())).collect()
}

fn pkcs8(key: &PKeyRef<Private>) -> Vec<u8> {
    key.private_key_to_pem_pkcs8().unwrap()
}

fn leaf(key: &PKeyRef<Private>) -> Vec<u8> {
    ca().leaf(key, &Leaf::default()).to_pem().unwrap()
}

fn server_name(text: &str) -> ServerName {
    ServerName::from_operator(text.as_bytes()).unwrap()
}

#[test]
fn any_order() {
    let (ec, rsa, ed) = (p256(), rsa(), PKey::generate_ed25519().unwrap());
    let (ec_leaf, rsa_leaf, ed_leaf) = (&*leaf(&ec), &*leaf(&rsa), &*leaf(&ed));
    let (ec_key, rsa_key, ed_key) = (&*pkcs8(&ec), &*pkcs8(&rsa), &*pkcs8(&ed));
    let (intermediate, root) = (&*ca().intermediate_pem(), &*ca().root_pem());
    let sec1 = &*ec.ec_key().unwrap().private_key_to_pem().unwrap();
    let pkcs1 = &*rsa.rsa().unwrap().private_key_to_pem().unwrap();
    let parameters: &[u8] = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n\
                              -----END EC PARAMETERS-----\n";
    let text: &[u8] = b"\r\n\nBag Attributes\n    friendlyName: x\n\n";
    use KeyType::{Ec, Ed25519, Rsa};
    let cases: &[(&[&[u8]], Shape)] = &[
        (&[ec_leaf, ec_key], &[(Ec, 0)]),
        (&[ec_key, ec_leaf, intermediate], &[(Ec, 1)]),
        (&[ec_leaf, ec_key, intermediate, root], &[(Ec, 2)]),
        (&[ec_leaf, intermediate, parameters, sec1], &[(Ec, 1)]),
        (&[rsa_leaf, intermediate, pkcs1], &[(Rsa, 1)]),
        (&[ec_key, rsa_key, rsa_leaf, intermediate, ec_leaf], &[(Rsa, 1), (Ec, 0)]),
        (&[ec_leaf, intermediate, rsa_leaf, intermediate, rsa_key, ec_key], &[(Rsa, 1), (Ec, 1)]),
        (
            &[ed_key, ed_leaf, ec_leaf, intermediate, root, rsa_leaf, rsa_key, ec_key],
            &[(Rsa, 0), (Ec, 2), (Ed25519, 0)],
        ),
        // The same key again, also in another form.
        (&[ec_leaf, ec_key, intermediate, ec_key, sec1], &[(Ec, 1)]),
        (&[text, ec_leaf, text, intermediate, text, ec_key, text], &[(Ec, 1)]),
    ];
    let mut parser = Parser::new();
    for (i, (parts, expected)) in cases.iter().enumerate() {
        let set = parse_with(parts, &mut parser).map_err(|e| format!("{i}: {e}")).unwrap();
        assert_eq!(shape(&set), *expected, "{i}");
        assert!(set.covers(&server_name("a.test")));

        let crlf = String::from_utf8(parts.concat()).unwrap().replace('\n', "\r\n");
        let again = parse_with(&[crlf.as_bytes()], &mut parser).unwrap();
        assert!(again.is_same_as(&set), "{i}");
    }
}

/// The keys are those of the leaves that they are installed with.
#[test]
fn each_leaf_has_its_key() {
    let (ec, rsa) = (ec(Nid::SECP384R1), rsa());
    let set = parse(&[&pkcs8(&ec), &pkcs8(&rsa), &leaf(&rsa), &leaf(&ec)]).unwrap();
    for member in set.members() {
        assert!(member.key().public_eq(&member.leaf().unwrap().public_key().unwrap()));
    }
    let record = set.to_record(Source::Lazy, [0; 16]).unwrap();
    let again = CertificateSet::from_record(&record, &mut Parser::new()).unwrap();
    assert!(again.is_same_as(&set));
}

#[test]
fn what_is_refused() {
    let (ec, other_ec, rsa) = (p256(), p256(), rsa());
    let (ec_leaf, ec_key) = (&*leaf(&ec), &*pkcs8(&ec));
    let (rsa_leaf, rsa_key) = (&*leaf(&rsa), &*pkcs8(&rsa));
    let (other_leaf, other_key) = (&*leaf(&other_ec), &*pkcs8(&other_ec));
    let p384_key = &*pkcs8(&super::super::test_support::ec(Nid::SECP384R1));
    let renewed = &*leaf(&ec);
    let (intermediate, root) = (&*ca().intermediate_pem(), &*ca().root_pem());
    let stranger = &*Ca::new().intermediate_pem();
    let encrypted =
        &*ec.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
    let old_encrypted = &*rsa
        .rsa()
        .unwrap()
        .private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"secret")
        .unwrap();
    let x25519 = &*pkcs8(&PKey::generate_x25519().unwrap());
    let der = &*ca().leaf(&ec, &Leaf::default()).to_der().unwrap();
    let many: Vec<String> = (0..=MAX_NAMES).map(|i| format!("{i}.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let with_names =
        |names| ca().leaf(&ec, &Leaf { sans: names, ..Leaf::default() }).to_pem().unwrap();
    let (too_many, just_enough) = (with_names(&many), with_names(&many[1..]));
    assert!(parse(&[&just_enough, ec_key]).is_ok());

    let cases: &[(&[&[u8]], SetError)] = &[
        (&[], SetError::Empty),
        (&[b"\n \r\n"], SetError::Empty),
        (&[b"hello"], SetError::NotPem),
        (&[der], SetError::Der),
        (&[ec_leaf, &ec_key[..ec_key.len() - 5]], SetError::Truncated),
        (&[ec_key], SetError::NoCertificate),
        (&[encrypted], SetError::NoCertificate),
        (&[ec_leaf], SetError::NoKey),
        (&[ec_leaf, intermediate], SetError::NoKey),
        (&[ec_leaf, encrypted], SetError::EncryptedKey),
        (&[rsa_leaf, old_encrypted], SetError::EncryptedKey),
        (&[ec_leaf, ec_key, old_encrypted], SetError::EncryptedKey),
        (&[ec_leaf, x25519], SetError::UnsupportedKey),
        (&[ec_leaf, ec_key, other_key], SetError::TwoKeysOfOneType),
        (&[ec_leaf, p384_key, ec_key], SetError::TwoKeysOfOneType),
        (&[ec_leaf, other_leaf, ec_key, other_key], SetError::TwoKeysOfOneType),
        (&[ec_leaf, renewed, ec_key], SetError::TwoCertificatesOfOneType),
        (&[ec_leaf, intermediate, ec_leaf, ec_key], SetError::TwoCertificatesOfOneType),
        (&[ec_leaf, other_key], SetError::KeyMismatch),
        (&[ec_leaf, rsa_key], SetError::KeyMismatch),
        (&[intermediate, ec_leaf, other_key], SetError::KeyMismatch),
        (&[ec_leaf, intermediate, ec_key, rsa_key], SetError::KeyMismatch),
        (&[rsa_leaf, ec_leaf, rsa_key, other_key], SetError::KeyMismatch),
        // A leaf without its key, before one that has it.
        (&[other_leaf, ec_leaf, ec_key], SetError::KeyMismatch),
        (&[rsa_leaf, intermediate, ec_leaf, ec_key], SetError::KeyMismatch),
        (&[stranger, ec_leaf, ec_key], SetError::KeyMismatch),
        (&[intermediate, ec_leaf, ec_key], SetError::WrongOrder),
        (&[root, intermediate, ec_leaf, ec_key], SetError::WrongOrder),
        (&[ec_key, root, ec_leaf, intermediate], SetError::WrongOrder),
        (&[ec_leaf, root, ec_key], SetError::WrongOrder),
        (&[ec_leaf, root, intermediate, ec_key], SetError::WrongOrder),
        // The name of the issuer, but not its key.
        (&[ec_leaf, stranger, ec_key], SetError::WrongOrder),
        (&[ec_leaf, rsa_leaf, ec_key], SetError::WrongOrder),
        (&[&too_many, ec_key], SetError::TooManyNames),
    ];
    for (i, (parts, expected)) in cases.iter().enumerate() {
        assert_eq!(parse(parts).err(), Some(*expected), "{i}");
        let text = expected.to_string();
        assert!(text.len() < 80 && !text.contains(".test"), "{text}");
    }
}

#[test]
fn a_key_of_two_halves_is_refused() {
    let (old, new) = (p256(), p256());
    let mut der = new.private_key_to_pkcs8().unwrap();
    let old_der = old.private_key_to_pkcs8().unwrap();
    let half = der.len() / 2;
    der[half..].copy_from_slice(&old_der[half..]);
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        openssl::base64::encode_block(&der)
    );
    assert_eq!(parse(&[&leaf(&old), pem.as_bytes()]).err(), Some(SetError::KeyMismatch));
}

/// A body that ends early never passes for a shorter one, but between two blocks.
#[test]
fn a_text_cut_at_any_byte_is_refused() {
    let key = p256();
    let text = [&*pkcs8(&key), &*leaf(&key), &*ca().intermediate_pem()].concat();
    let mut parser = Parser::new();
    for end in 0..text.len() {
        let result = parse_with(&[&text[..end]], &mut parser);
        let is_between = text[..end].trim_ascii_end().ends_with(b"-----END CERTIFICATE-----");
        assert_eq!(result.is_ok(), is_between, "{end}");
    }
}

#[test]
fn members_are_taken_from_another_set() {
    let (old_ec, new_ec, rsa) = (p256(), p256(), rsa());
    let ed = PKey::generate_ed25519().unwrap();
    let old = parse(&[&leaf(&old_ec), &leaf(&rsa), &pkcs8(&old_ec), &pkcs8(&rsa)]).unwrap();
    let pushed = [&*leaf(&new_ec), &leaf(&ed), &pkcs8(&new_ec), &pkcs8(&ed)];
    let new = parse(&pushed).unwrap();
    let both = parse(&pushed).unwrap().with_members_of(&old);
    assert_eq!(shape(&both), [(KeyType::Rsa, 0), (KeyType::Ec, 0), (KeyType::Ed25519, 0)]);
    assert!(both.members()[0].is_same_as(&old.members()[0]));
    assert!(both.members()[1].is_same_as(&new.members()[0]));
    assert!(both.members()[1].key().public_eq(&new_ec));
    assert!(both.members()[0].key().public_eq(&rsa));

    // Nothing is missing in the set that was complete already.
    let same = parse(&pushed).unwrap().with_members_of(&new);
    assert!(same.is_same_as(&new));
}

#[test]
fn what_makes_two_sets_the_same() {
    let (ec, rsa) = (p256(), rsa());
    let (ec_leaf, rsa_leaf) = (leaf(&ec), leaf(&rsa));
    let (ec_key, rsa_key, intermediate) = (pkcs8(&ec), pkcs8(&rsa), ca().intermediate_pem());
    let set = parse(&[&ec_leaf, &intermediate, &ec_key]).unwrap();
    let same = parse(&[&ec_key, &ec_leaf, &intermediate]).unwrap();
    assert!(set.is_same_as(&same));
    let others: &[&[&[u8]]] = &[
        &[&leaf(&ec), &intermediate, &ec_key],
        &[&ec_leaf, &ec_key],
        &[&ec_leaf, &intermediate, &ca().root_pem(), &ec_key],
        &[&ec_leaf, &intermediate, &rsa_leaf, &ec_key, &rsa_key],
        &[&rsa_leaf, &intermediate, &rsa_key],
    ];
    for (i, parts) in others.iter().enumerate() {
        let other = parse(parts).unwrap();
        assert!(!set.is_same_as(&other) && !other.is_same_as(&set), "{i}");
    }
}

#[test]
fn names_without_the_keys() {
    let leaf = |key: &PKeyRef<Private>, sans: &[&str]| {
        ca().leaf(key, &Leaf { sans, ..Leaf::default() }).to_pem().unwrap()
    };
    let (ec, rsa) = (p256(), rsa());
    let parts = [
        leaf(&ec, &["a.test", "*.b.test", "e.test"]),
        leaf(&rsa, &["a.test", "x.b.test", "r.test"]),
        pkcs8(&ec),
        pkcs8(&rsa),
    ];
    let set = parse(&[&parts.concat()]).unwrap();
    let mut record = set.to_record(Source::Lazy, [0; 16]).unwrap();
    for member in &mut record.members {
        member.key.clear();
    }
    let names = names_of_leaves(&record).unwrap();
    assert_eq!(names, set.names().collect::<Vec<_>>());
    assert_eq!(names, ["a.test", "x.b.test"]);
    assert_eq!(set.matched(&server_name("x.b.test")), Some(Cover::Wildcard));

    record.members[0].leaf.truncate(40);
    assert_eq!(names_of_leaves(&record), None);
    assert_eq!(names_of_leaves(&Record { members: Vec::new(), ..record }), None);
    assert!(ErrorStack::get().errors().is_empty());
}

/// cargo test --lib bundle -- --ignored --nocapture
#[test]
#[ignore = "a measurement"]
fn how_long_a_push_takes() {
    let mut parser = Parser::new();
    for key in [p256(), rsa()] {
        let (cert, key) = pair(&key, &Leaf::default());
        let text = [cert, key].concat();
        let parse = cpu_time(500, || {
            drop(CertificateSet::from_bundle(&text, &mut parser).unwrap());
        });
        let set = CertificateSet::from_bundle(&text, &mut parser).unwrap();
        let record = set.to_record(Source::Lazy, [0; 16]).unwrap();
        let names = cpu_time(500, || drop(names_of_leaves(&record).unwrap()));
        println!("{:?}: parse {parse:.0} us, names {names:.1}", set.members()[0].key_type());
    }
}
