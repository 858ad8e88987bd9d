use proptest::prelude::*;

use super::*;
use crate::certificate::test_support::{Leaf, ca, pair, rsa};
use crate::certificate::{CertificateSet, Parser};
use crate::state::test_support::{entry, record};

fn full() -> StateEntry {
    let previous = Generation { number: 6, record: record(3, KeyType::COUNT) };
    StateEntry { previous: Some(previous), seen: u64::MAX, ..entry("_.a.test", 7) }
}

/// Makes sums and length right again.
fn seal(bytes: &mut [u8]) {
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    let sum = header_sum(&bytes[..32]);
    bytes[32..40].copy_from_slice(&sum);
    let end = bytes.len() - SUM_SIZE;
    let sum = sha256(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
}

#[test]
fn there_and_back() {
    for entry in [entry("a.test", 1), entry("_.a.test", u64::MAX), full()] {
        let bytes = encode(&entry);
        assert_eq!(decode(&bytes), Ok(entry.clone()));
        assert_eq!(Header::decode(&bytes[..HEADER_SIZE]).unwrap().generation, entry.current.number);
        // The buffer was never too small.
        assert_eq!(bytes.capacity(), bytes.len());
    }
}

#[test]
fn a_set_serves_again() {
    let (ec, rsa) = (crate::certificate::test_support::p256(), rsa());
    let (ec_cert, ec_key) = pair(&ec, &Leaf::default());
    let (rsa_cert, rsa_key) = pair(&rsa, &Leaf::default());
    let text = [ec_cert, rsa_cert, ca().root_pem(), ec_key, rsa_key].concat();
    let mut parser = Parser::new();
    let set = CertificateSet::from_bundle(&text, &mut parser).unwrap();
    let record = set.to_record(RESTORED, [9; 16]).unwrap();
    let entry = StateEntry { current: Generation { number: 3, record }, ..entry("a.test", 3) };
    let again = decode(&encode(&entry)).unwrap().current.record;
    assert_eq!(again, entry.current.record);
    assert!(CertificateSet::from_record(&again, &mut parser).unwrap().is_same_as(&set));
}

/// Another build reads what this one wrote.
#[test]
fn the_format_stays() {
    let sum = sha256(&encode(&full()));
    assert_eq!(openssl::base64::encode_block(&sum), "c8DWKVRuFmq1oFr2SuCYAVY3rFyJbw4Ke9NX5MElPLo=");
}

#[test]
fn every_cut_is_refused() {
    let bytes = encode(&full());
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Err(EntryError::Torn), "{end}");
        // What a file is like that had its full length from the beginning.
        let mut zeros = bytes.to_vec();
        if zeros[end..].iter().any(|b| *b != 0) {
            zeros[end..].fill(0);
            assert!(decode(&zeros).is_err(), "{end}");
        }
    }
    assert_eq!(decode(&[&**bytes, b"x"].concat()), Err(EntryError::Torn));
}

#[test]
fn every_flip_is_refused() {
    let mut bytes = encode(&full()).to_vec();
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            bytes[at] ^= flip;
            let expected = match at {
                0..8 => EntryError::Foreign,
                8..16 => EntryError::Version(u64::from_le_bytes(bytes[8..16].try_into().unwrap())),
                _ => EntryError::Torn,
            };
            assert_eq!(decode(&bytes), Err(expected), "{at}");
            bytes[at] ^= flip;
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = encode(&full()).to_vec();
    let name_at = HEADER_SIZE + 8;
    let record_at = name_at + "_.a.test".len() + 8;
    let count_at = record_at + 16 + 8 + 8;
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        seal(&mut bytes);
        decode(&bytes)
    };
    assert_eq!(with(name_at, b"_.a.test"), Ok(full()));
    for name in [b"_.A.test", b"*.a.test", b"../passw", b"_.a\0test", b"........"] {
        assert_eq!(with(name_at, name), Err(EntryError::BadName));
    }
    // No member, too many, and a key type that there is not.
    for (at, value) in [(count_at, 0), (count_at, 6), (count_at + 8, 9), (count_at + 8, 0)] {
        assert_eq!(with(at, &[value]), Err(EntryError::Malformed), "{at} {value}");
    }
    // Lengths and counts that no memory is taken for.
    for at in [count_at, count_at + 32] {
        assert_eq!(with(at, &[0xff; 8]), Err(EntryError::Malformed));
    }
    let mut longer = good.clone();
    longer.insert(good.len() - SUM_SIZE, 0);
    seal(&mut longer);
    assert_eq!(decode(&longer), Err(EntryError::Malformed));

    assert_eq!(decode(&vec![0; MAX_SIZE + 1]), Err(EntryError::TooLarge));
    assert_eq!(decode(b"-----BEGIN CERTIFICATE-----\n"), Err(EntryError::Foreign));
    assert_eq!(decode(b""), Err(EntryError::Torn));
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
    }

    /// Bytes with the right sums.
    #[test]
    fn any_sealed_bytes(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = encode(&full())[..HEADER_SIZE].to_vec();
        bytes.extend(content);
        bytes.extend([0; SUM_SIZE]);
        seal(&mut bytes);
        let _ = decode(&bytes);
    }

    /// What is decoded is what was written: there is one form of each entry.
    #[test]
    fn any_change_with_the_right_sums(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = encode(&full()).to_vec();
        let room = bytes.len() - HEADER_SIZE - SUM_SIZE;
        for (at, value) in changes {
            bytes[HEADER_SIZE + at.index(room)] = value;
        }
        if is_cut {
            bytes.truncate(HEADER_SIZE + SUM_SIZE + cut.index(room));
        }
        seal(&mut bytes);
        if let Ok(entry) = decode(&bytes) {
            prop_assert_eq!(&**encode(&entry), &bytes);
        }
    }
}
