//! Sets as records of a zone, and back.

use super::*;

#[test]
fn bad_records_are_refused() {
    let mut parser = Parser::new();
    let good = set(&p256(), &Leaf::default()).to_record(Source::Lazy, [0; 16]).unwrap();
    let spoil: [fn(&mut crate::record::Record); 5] = [
        |r| r.members.clear(),
        |r| r.members[0].leaf.truncate(40),
        |r| r.members[0].key.truncate(40),
        |r| r.members[0].chain[0].truncate(40),
        |r| r.members[0].key_type = KeyType::Rsa,
    ];
    for spoil in spoil {
        let mut record = good.clone();
        spoil(&mut record);
        assert!(CertificateSet::from_record(&record, &mut parser).is_err());
        assert_no_errors();
        assert!(CertificateSet::from_record(&good, &mut parser).is_ok());
    }
}

#[test]
fn equal_chains_are_one() {
    let mut parser = Parser::new();
    let mut read = || {
        let (certificate_pem, key_pem) = &pair(&p256(), &Leaf::default());
        let passwords = &Passwords::default();
        let input = MemberInput { certificate_pem, key_pem, passwords };
        let member = Member::check(&input, &mut parser).map_err(|bad| bad.error).unwrap();
        CertificateSet::new(vec![member]).unwrap()
    };
    let (from_files, late) = (read(), read());
    assert!(std::ptr::eq(late.members()[0].chain(), from_files.members()[0].chain()));
    let record = from_files.to_record(Source::Lazy, [0; 16]).unwrap();
    let sets: Vec<CertificateSet> =
        (0..100).map(|_| CertificateSet::from_record(&record, &mut parser).unwrap()).collect();
    for set in &sets {
        assert!(std::ptr::eq(set.members()[0].chain(), from_files.members()[0].chain()));
    }
    assert_eq!(parser.chains.len(), 1);

    // A chain that is known is not taken for another leaf's.
    let stranger = Ca::new();
    let key = p256();
    let leaf = stranger.leaf(&key, &Leaf::default()).to_pem().unwrap();
    let mixed = [leaf, ca().intermediate.to_pem().unwrap()].concat();
    let key = key.private_key_to_pem_pkcs8().unwrap();
    let passwords = &Passwords::default();
    let input = MemberInput { certificate_pem: &mixed, key_pem: &key, passwords };
    let error = Member::check(&input, &mut parser).err().unwrap().error;
    assert_eq!(error, SetError::WrongOrder);
}

#[test]
fn dead_chains_do_not_pile_up() {
    let mut parser = Parser::new();
    let mut record = set(&p256(), &Leaf::default()).to_record(Source::Lazy, [0; 16]).unwrap();
    let link = record.members[0].chain[0].clone();
    for length in 1..200 {
        record.members[0].chain = vec![link.clone(); length];
        CertificateSet::from_record(&record, &mut parser).unwrap();
        assert!(parser.chains.len() <= 65, "{}", parser.chains.len());
    }
}

/// cargo test --lib certificate -- --ignored --nocapture
#[test]
#[ignore = "a measurement"]
fn how_long_a_set_takes() {
    let mut parser = Parser::new();
    for key in [p256(), rsa()] {
        let (cert, key) = pair(&key, &Leaf::default());
        let mut new =
            || CertificateSet::new(vec![check_with(&cert, &key, &mut parser).unwrap()]).unwrap();
        let (set, name) = (new(), server_name("www.a.test"));
        let record = set.to_record(Source::Lazy, [0; 16]).unwrap();
        let check = cpu_time(500, || drop(new()));
        let recorded = cpu_time(500, || {
            drop(new().to_record(Source::Lazy, [0; 16]).unwrap());
        });
        // Another set holds the chain, as for most names of a site.
        let _held = CertificateSet::from_record(&record, &mut parser).unwrap();
        let from_record = cpu_time(2_000, || {
            drop(CertificateSet::from_record(&record, &mut parser).unwrap());
        });
        let leaf = cpu_time(2_000, || drop(X509::from_der(&record.members[0].leaf).unwrap()));
        let covers = cpu_time(10_000, || assert!(!std::hint::black_box(&set).covers(&name)));
        println!(
            "{:?}: check {check:.0} us, with to_record {recorded:.0}, from_record \
             {from_record:.1} (X509 alone {leaf:.1}), covers {covers:.2}",
            set.members()[0].key_type()
        );
    }
}

/// What a key was read from is recorded where a record can have it; else what OpenSSL makes of it.
#[test]
fn keys_are_recorded_as_bare_pkcs8() {
    let key = p256();
    let (cert, _) = pair(&key, &Leaf::default());
    let der = key.private_key_to_pkcs8().unwrap();
    // An attribute of no meaning (RFC 5208, section 5), and something behind it all.
    let mut with_attributes = der.clone();
    with_attributes.extend([0xa0, 0x00]);
    with_attributes[2] += 2;
    let with_more = [&*der, b"more"].concat();
    let sec1 = key.ec_key().unwrap().private_key_to_der().unwrap();
    for (label, read) in [
        ("PRIVATE KEY", &der),
        ("PRIVATE KEY", &with_attributes),
        ("PRIVATE KEY", &with_more),
        ("EC PRIVATE KEY", &sec1),
    ] {
        let pem = format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            openssl::base64::encode_block(read)
        );
        let Ok(member) = check(&cert, pem.as_bytes()) else {
            assert_eq!(read, &with_more);
            continue;
        };
        let set = CertificateSet::new(vec![member]).unwrap();
        // The second time there is nothing left to be recorded as it was.
        for _ in 0..2 {
            let record = set.to_record(Source::Lazy, [0; 16]).unwrap();
            assert_eq!(*record.members[0].key, der, "{label}");
        }
        assert!(set.members()[0].clone().leaf().unwrap().public_key().unwrap().public_eq(&key));
    }
}
