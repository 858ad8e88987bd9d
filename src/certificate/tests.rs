mod records;

use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::symm::Cipher;
use openssl::x509::X509;

use super::member::MemberError;
use super::test_support::*;
use super::*;
use crate::record::{KeyType, Source};

fn check(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Member, MemberError> {
    check_with(certificate_pem, key_pem, &mut Parser::new())
}

fn check_with(
    certificate_pem: &[u8],
    key_pem: &[u8],
    parser: &mut Parser,
) -> Result<Member, MemberError> {
    let passwords = &Passwords::default();
    let input = MemberInput { certificate_pem, key_pem, passwords };
    let result = Member::check(&input, parser);
    assert_no_errors();
    result
}

fn assert_no_errors() {
    let left = ErrorStack::get();
    assert!(left.errors().is_empty(), "{left}");
}

fn set(key: &PKeyRef<Private>, leaf: &Leaf<'_>) -> CertificateSet {
    let (cert, key) = pair(key, leaf);
    CertificateSet::new(vec![check(&cert, &key).unwrap()]).unwrap()
}

fn server_name(text: &str) -> ServerName {
    ServerName::from_operator(text.as_bytes()).unwrap()
}

#[test]
fn good_pairs_of_each_type() {
    let cases = [
        (p256(), KeyType::Ec),
        (ec(Nid::SECP384R1), KeyType::Ec),
        (rsa(), KeyType::Rsa),
        (PKey::generate_ed25519().unwrap(), KeyType::Ed25519),
        (PKey::generate_ed448().unwrap(), KeyType::Ed448),
    ];
    let mut parser = Parser::new();
    for (key, key_type) in cases {
        let set = set(&key, &Leaf::default());
        let member = &set.members()[0];
        assert_eq!(member.key_type(), key_type);
        assert_eq!(member.chain().len(), 1);

        let record = set.to_record(Source::Lazy, [7; 16]).unwrap();
        assert_no_errors();
        assert_eq!(record.not_after, member.not_after());
        let again = CertificateSet::from_record(&record, &mut parser).unwrap();
        assert_no_errors();
        assert_eq!(again.members()[0].fingerprint(), member.fingerprint());
        assert!(again.members()[0].key().public_eq(&key));
        assert_eq!(again.to_record(Source::Lazy, [7; 16]).unwrap(), record);
        assert!(again.covers(&server_name("a.test")));
    }
    assert_eq!(parser.chains.len(), 1);
}

#[test]
fn what_a_pair_may_look_like() {
    let key = p256();
    let (cert, pkcs8) = pair(&key, &Leaf::default());
    let leaf = ca().leaf(&key, &Leaf::default()).to_pem().unwrap();
    let sec1 = key.ec_key().unwrap().private_key_to_pem().unwrap();
    let parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n\
                       -----END EC PARAMETERS-----\n";
    let other = rsa().private_key_to_pem_pkcs8().unwrap();
    let encrypted =
        rsa().private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
    let crlf = |text: &[u8]| String::from_utf8_lossy(text).replace('\n', "\r\n").into_bytes();
    let x509 = String::from_utf8_lossy(&cert).replace("CERTIFICATE", "X509 CERTIFICATE");
    let bundle = [&*cert, &*pkcs8].concat();
    let root = [&*cert, &*ca().root_pem()].concat();
    let cases: &[(&[u8], &[u8], usize)] = &[
        (&cert, &pkcs8, 1),
        (&cert, &sec1, 1),
        (&leaf, &pkcs8, 0),
        (&root, &pkcs8, 2),
        (x509.as_bytes(), &pkcs8, 1),
        (&cert, &[parameters, &*sec1].concat(), 1),
        (&cert, &[&*other, &*pkcs8].concat(), 1),
        (&cert, &[&*encrypted, &*pkcs8].concat(), 1),
        (&bundle, &bundle, 1),
        (&crlf(&cert), &crlf(&pkcs8), 1),
        (&[b"Bag Attributes\n    x: 1\n", &*cert].concat(), &pkcs8, 1),
    ];
    for (i, (cert, key, chain)) in cases.iter().enumerate() {
        let member = check(cert, key).map_err(|e| format!("{i}: {e:?}")).unwrap();
        assert_eq!(member.chain().len(), *chain, "{i}");
    }
}

#[test]
fn what_is_refused() {
    let key = p256();
    let (cert, pkcs8) = pair(&key, &Leaf::default());
    let leaf = ca().leaf(&key, &Leaf::default());
    let (leaf_pem, leaf_der) = (leaf.to_pem().unwrap(), leaf.to_der().unwrap());
    let (intermediate, root) = (ca().intermediate_pem(), ca().root_pem());
    let encrypted =
        key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
    let old_encrypted = key
        .ec_key()
        .unwrap()
        .private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"secret")
        .unwrap();
    let disguised =
        String::from_utf8(encrypted.clone()).unwrap().replace("ENCRYPTED PRIVATE", "PRIVATE");
    let x25519 = PKey::generate_x25519().unwrap().private_key_to_pem_pkcs8().unwrap();
    let stranger = Ca::new().intermediate_pem();
    let spoilt = |pem: &[u8]| {
        let mut pem = pem.to_vec();
        let at = pem.len() / 2;
        pem[at] = if pem[at] == b'A' { b'B' } else { b'A' };
        pem
    };
    let bundle = [&*cert, &*encrypted].concat();

    use Input::{Certificate, Key};
    let cases: &[(&[u8], &[u8], Input, SetError)] = &[
        (b"", &pkcs8, Certificate, SetError::Empty),
        (&cert, b" \n", Key, SetError::Empty),
        (&leaf_der, &pkcs8, Certificate, SetError::Der),
        (&cert, &key.private_key_to_der().unwrap(), Key, SetError::NotPem),
        (&cert, &rsa().private_key_to_der().unwrap(), Key, SetError::Der),
        (b"hello", &pkcs8, Certificate, SetError::NotPem),
        (&pkcs8, &pkcs8, Certificate, SetError::NoCertificate),
        (&cert, &cert, Key, SetError::NoKey),
        (&cert, &encrypted, Key, SetError::EncryptedKey),
        (&bundle, &bundle, Key, SetError::EncryptedKey),
        (&cert, &old_encrypted, Key, SetError::EncryptedKey),
        (&cert, &x25519, Key, SetError::UnsupportedKey),
        (&cert, &p256().private_key_to_pem_pkcs8().unwrap(), Key, SetError::KeyMismatch),
        (&cert, &rsa().private_key_to_pem_pkcs8().unwrap(), Key, SetError::KeyMismatch),
        (&[&*intermediate, &*leaf_pem].concat(), &pkcs8, Certificate, SetError::WrongOrder),
        (&[&*leaf_pem, &*root].concat(), &pkcs8, Certificate, SetError::WrongOrder),
        (&[&*leaf_pem, &*leaf_pem].concat(), &pkcs8, Certificate, SetError::WrongOrder),
        // The name of the issuer, but not its key.
        (&[&*leaf_pem, &*stranger].concat(), &pkcs8, Certificate, SetError::WrongOrder),
    ];
    for (i, (cert, key, input, error)) in cases.iter().enumerate() {
        let expected = MemberError { input: *input, error: *error };
        assert_eq!(check(cert, key).err(), Some(expected), "{i}");
    }
    assert!(matches!(
        check(&cert, disguised.as_bytes()).err(),
        Some(MemberError { input: Input::Key, error: SetError::Key(_) })
    ));
    assert!(check(&[&*spoilt(&leaf_pem), &*intermediate].concat(), &pkcs8).is_err());
}

#[test]
fn a_key_of_two_halves_is_refused() {
    let (old, new) = (p256(), p256());
    let (cert, _) = pair(&old, &Leaf::default());
    let mut der = new.private_key_to_pkcs8().unwrap();
    let old_der = old.private_key_to_pkcs8().unwrap();
    let half = der.len() / 2;
    der[half..].copy_from_slice(&old_der[half..]);
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        openssl::base64::encode_block(&der)
    );
    let expected = MemberError { input: Input::Key, error: SetError::KeyMismatch };
    assert_eq!(check(&cert, pem.as_bytes()).err(), Some(expected));
}

#[test]
fn explicit_curve_parameters_are_refused() {
    let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    group.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let (cert, key) = pair(&key, &Leaf::default());
    assert_eq!(check(&cert, &key).err().map(|e| e.error), Some(SetError::UnsupportedKey));
}

/// P3: whatever a writer has written so far.
#[test]
fn a_text_cut_at_any_byte_is_refused() {
    let key = p256();
    let (cert, key) = pair(&key, &Leaf::default());
    let first_block = b"-----END CERTIFICATE-----";
    let boundary =
        cert.windows(first_block.len()).position(|w| w == first_block).unwrap() + first_block.len();
    for end in 0..cert.len() {
        let result = check(&cert[..end], &key);
        // A cut between two blocks leaves a chain that is shorter; nobody could tell.
        let between = end == boundary || end == boundary + 1;
        assert_eq!(result.is_ok(), between || end == cert.len() - 1, "{end}");
    }
    for end in 0..key.len() {
        assert_eq!(check(&cert, &key[..end]).is_ok(), end == key.len() - 1, "{end}");
    }
    // The same in a file that had its full length from the beginning.
    for end in 0..key.len() - 1 {
        let mut zeros = key.clone();
        zeros[end..].fill(0);
        assert!(check(&cert, &zeros).is_err(), "{end}");
    }
}

#[test]
fn no_error_quotes_the_input() {
    let (cert, key) = pair(&p256(), &Leaf { cn: "secret.test", ..Leaf::default() });
    for end in (0..key.len()).step_by(7) {
        let mut broken = key.clone();
        broken[end] = b'?';
        if let Err(bad) = check(&cert, &broken) {
            let text = bad.error.to_string();
            assert!(text.len() < 80 && !text.contains("secret"), "{text}");
        }
    }
}

#[test]
fn names_that_are_covered() {
    use Cover::{Exact, Wildcard};
    let sans = &["A.Test", "b.test.", "*.w.test", "_.u.test", "*", "*.*.test", "a b.test"];
    /// SANs, common name, and what each server name is covered as.
    type Case<'a> = (&'a [&'a str], &'a str, &'a [(&'a str, Option<Cover>)]);
    let cases: &[Case<'_>] = &[
        (
            sans,
            "cn.test",
            &[
                ("a.test", Some(Exact)),
                ("b.test", Some(Exact)),
                ("x.a.test", None),
                ("x.w.test", Some(Wildcard)),
                ("x.y.w.test", None),
                ("w.test", None),
                ("*.w.test", Some(Exact)),
                ("*.a.test", None),
                ("x.u.test", None),
                ("*.u.test", None),
                ("cn.test", None),
                ("test", None),
            ],
        ),
        (&["*.w.test", "x.w.test"], "", &[("x.w.test", Some(Exact))]),
        (&[], "CN.test", &[("cn.test", Some(Exact)), ("x.cn.test", None)]),
        (&[], "*.cn.test", &[("x.cn.test", Some(Wildcard)), ("cn.test", None)]),
        (&["ip:192.0.2.1"], "cn.test", &[("cn.test", Some(Exact))]),
        (&[], "", &[("a.test", None)]),
    ];
    for (sans, cn, names) in cases {
        let set = set(&p256(), &Leaf { sans, cn, ..Leaf::default() });
        for (name, expected) in *names {
            assert_eq!(set.matched(&server_name(name)), *expected, "{sans:?} {cn} {name}");
            assert_eq!(set.covers(&server_name(name)), expected.is_some());
        }
    }
}

fn member(key: &PKeyRef<Private>, leaf: &Leaf<'_>) -> Member {
    let (cert, key) = pair(key, leaf);
    check(&cert, &key).unwrap()
}

#[test]
fn a_set_covers_what_all_members_cover() {
    let leaf = |sans| Leaf { sans, ..Leaf::default() };
    let members = vec![
        member(&p256(), &leaf(&["a.test", "b.test"])),
        member(&rsa(), &leaf(&["b.test", "*.test"])),
    ];
    let set = CertificateSet::new(members).unwrap();
    let types: Vec<KeyType> = set.members().iter().map(Member::key_type).collect();
    assert_eq!(types, [KeyType::Rsa, KeyType::Ec]);
    for (name, expected) in
        [("a.test", Some(Cover::Wildcard)), ("b.test", Some(Cover::Exact)), ("c.test", None)]
    {
        assert_eq!(set.matched(&server_name(name)), expected, "{name}");
    }
}

#[test]
fn of_one_type_the_later_is_kept() {
    let leaf = |before| Leaf { not_before: now() - before * DAY, ..Leaf::default() };
    for order in [[3, 1], [1, 3]] {
        let members = order.map(|before| member(&p256(), &leaf(before)));
        let set = CertificateSet::new(members.into()).unwrap();
        assert_eq!(set.members().len(), 1);
        assert!(set.members()[0].not_before() > now() - 2 * DAY);
    }
    assert!(CertificateSet::new(Vec::new()).is_none());
}

#[test]
fn validity() {
    let valid = |before, after| Leaf { not_before: before, not_after: after, ..Leaf::default() };
    let single = set(&p256(), &valid(1_000, 2_000));
    for (now, early, expired) in
        [(999, true, false), (1_000, false, false), (2_000, false, false), (2_001, false, true)]
    {
        assert_eq!(single.not_yet_valid_at(now), early, "{now}");
        assert_eq!(single.expired_at(now), expired, "{now}");
        assert_eq!(single.offered_at(now).count(), 1);
    }
    // Before 1970 and after 2050, which are written in another form.
    let wide = set(&p256(), &valid(-86_400, 4_000_000_000));
    assert_eq!(wide.members()[0].not_before(), -86_400);
    assert_eq!(wide.members()[0].not_after(), 4_000_000_000);

    let members = vec![member(&p256(), &valid(1_000, 2_000)), member(&rsa(), &valid(1_500, 3_000))];
    let both = CertificateSet::new(members).unwrap();
    let offered = |now| both.offered_at(now).map(Member::key_type).collect::<Vec<_>>();
    assert_eq!(offered(1_200), [KeyType::Ec]);
    assert_eq!(offered(1_700), [KeyType::Rsa, KeyType::Ec]);
    assert_eq!(offered(2_500), [KeyType::Rsa]);
    assert_eq!(offered(3_500), [KeyType::Rsa, KeyType::Ec]);
    assert!(both.not_yet_valid_at(1_200) && !both.expired_at(2_500) && both.expired_at(3_500));
    let record = both.to_record(Source::Lazy, [0; 16]).unwrap();
    assert_eq!((record.not_before, record.not_after), (1_500, 3_000));
}

#[test]
fn a_class_is_what_the_security_level_looks_at() {
    let class = |key: &PKeyRef<Private>, sans: &[&str]| {
        let set = set(key, &Leaf { sans, ..Leaf::default() });
        set.members()[0].security_class().unwrap()
    };
    assert!(class(&p256(), &["a.test"]) == class(&p256(), &["b.test", "c.test"]));
    assert!(class(&p256(), &["a.test"]) != class(&rsa(), &["a.test"]));
    assert!(class(&p256(), &["a.test"]) != class(&ec(Nid::SECP384R1), &["a.test"]));
}

#[test]
fn a_leaf_that_was_overwritten_halfway_has_no_good_signature() {
    let (cert, key) = pair(&p256(), &Leaf::default());
    let mut blocks = X509::stack_from_pem(&cert).unwrap();
    let mut leaf = blocks.remove(0).to_der().unwrap();
    *leaf.last_mut().unwrap() ^= 1;
    let mut cert = X509::from_der(&leaf).unwrap().to_pem().unwrap();
    cert.extend(blocks.remove(0).to_pem().unwrap());
    assert_eq!(check(&cert, &key).map(|_| ()).map_err(|bad| bad.error), Err(SetError::NotSigned));
}

/// OpenSSL goes by the parameters inside an ECPrivateKey, whatever the PrivateKeyInfo around it says.
#[test]
fn a_key_of_another_curve_than_it_says_is_refused() {
    let same_point = |pkcs8: &[u8], info: &[u8]| key::has_same_point(pkcs8, info);
    let key = p256();
    let (pkcs8, info) = (key.private_key_to_pkcs8().unwrap(), key.public_key_to_der().unwrap());
    assert!(same_point(&pkcs8, &info));
    assert!(!same_point(&pkcs8, &p256().public_key_to_der().unwrap()));
    for (parameters, is_same) in [
        (&[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7][..], true),
        // secp256k1
        (&[0xa0, 7, 6, 5, 0x2b, 0x81, 4, 0, 10], false),
    ] {
        // Between the private and the public half; all lengths around it grow.
        let at = pkcs8.len() - 70;
        let mut der = [&pkcs8[..at], parameters, &pkcs8[at..]].concat();
        let by = parameters.len() as u8;
        for length in [2, 28, 30] {
            der[length] += by;
        }
        assert_eq!(same_point(&der, &info), is_same, "{parameters:02x?}");
        drop(ErrorStack::get());
    }
}

/// OpenSSL does not look at the signature of what signed itself, also where it is sent with a chain.
#[test]
fn what_signed_itself_is_of_no_class() {
    let (root, key) = ca().root_pair();
    let cert = [root.clone(), root].concat();
    assert!(check(&cert, &key).unwrap().security_class().is_none());
}

#[test]
fn what_follows_a_certificate_in_its_block_makes_no_difference() {
    let key = p256();
    let leaf = ca().leaf(&key, &Leaf::default()).to_der().unwrap();
    let intermediate = ca().intermediate.to_der().unwrap();
    let pem = |der: &[u8], more: &[u8]| {
        let block = openssl::base64::encode_block(&[der, more].concat());
        format!("-----BEGIN CERTIFICATE-----\n{block}\n-----END CERTIFICATE-----\n")
    };
    let key = String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let mut parser = Parser::new();
    let parse = |more: &[u8], parser: &mut Parser| {
        let body = [pem(&leaf, more), pem(&intermediate, more), key.clone()].concat();
        CertificateSet::from_bundle(body.as_bytes(), parser).unwrap()
    };
    let (plain, longer) = (parse(b"", &mut parser), parse(b"\0", &mut parser));
    assert!(longer.is_same_as(&plain));
    assert!(std::ptr::eq(longer.members()[0].chain(), plain.members()[0].chain()));
    let record = longer.to_record(Source::Pushed, [0; 16]).unwrap();
    let serving = CertificateSet::from_record(&record, &mut parser).unwrap();
    assert!(serving.is_same_as(&parse(b"\0", &mut parser)));
}
