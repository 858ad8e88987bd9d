//! Whether an EC key is whole, and one for TLS.

use std::ffi::{CStr, c_int};

use foreign_types::ForeignTypeRef;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKeyRef, Private};
use openssl_sys as ossl;

use super::key_number::KeyNumber;

const LONGEST_CURVE_NAME: usize = 80;

/// Curves by their names, as long as the value lives: making one takes as long as using it.
#[derive(Default)]
pub(crate) struct Curves(Vec<EcGroup>);

impl Curves {
    fn named(&mut self, nid: Nid) -> Result<&EcGroup, ErrorStack> {
        let known = self.0.iter().position(|group| group.curve_name() == Some(nid));
        let at = match known {
            Some(at) => at,
            None => {
                self.0.push(EcGroup::from_curve_name(nid)?);
                self.0.len() - 1
            }
        };
        self.0.get(at).ok_or_else(ErrorStack::get)
    }
}

/// Whether the curve of a key was spelt out where it was read from, and not named.
pub(crate) fn has_explicit_parameters(key: &PKeyRef<Private>) -> Result<bool, ErrorStack> {
    let mut value: c_int = 0;
    // SAFETY: the key is live, the name a string; one int is written.
    let done = unsafe {
        ossl::EVP_PKEY_get_int_param(key.as_ptr(), c"decoded-from-explicit".as_ptr(), &mut value)
    };
    if done == 1 { Ok(value != 0) } else { Err(ErrorStack::get()) }
}

/// Whether the private half of a key makes a public half, which is encoded as in SEC 1, section 2.3.3
/// (as `ossl_ec_key_pairwise_check()` of OpenSSL, which comes only with a check of all else that takes
/// five times as long).
pub(crate) fn makes_point(
    key: &PKeyRef<Private>,
    point: &[u8],
    curves: &mut Curves,
) -> Result<bool, ErrorStack> {
    let group = curves.named(curve(key)?)?;
    let private = KeyNumber::of(key, c"priv")?;
    let mut ctx = BigNumContext::new()?;
    let mut expected = EcPoint::new(group)?;
    expected.mul_generator2(group, &private, &mut ctx)?;
    let point = EcPoint::from_bytes(group, point, &mut ctx)?;
    expected.eq(group, &point, &mut ctx)
}

fn curve(key: &PKeyRef<Private>) -> Result<Nid, ErrorStack> {
    let mut name = [0; LONGEST_CURVE_NAME];
    let mut len = 0;
    // SAFETY: at most so many bytes are written, with a NUL at the end.
    let nid = unsafe {
        let done =
            ossl::EVP_PKEY_get_group_name(key.as_ptr(), name.as_mut_ptr(), name.len(), &mut len);
        if done != 1 {
            return Err(ErrorStack::get());
        }
        ossl::OBJ_txt2nid(CStr::from_ptr(name.as_ptr()).as_ptr())
    };
    Ok(Nid::from_raw(nid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::test_support::ec;

    fn point(key: &PKeyRef<Private>) -> Vec<u8> {
        let key = key.ec_key().unwrap();
        let mut ctx = BigNumContext::new().unwrap();
        let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
        key.public_key().to_bytes(key.group(), form, &mut ctx).unwrap()
    }

    #[test]
    fn private_halves_and_points() {
        let mut curves = Curves::default();
        for nid in [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1, Nid::SECP256K1] {
            let (one, other) = (ec(nid), ec(nid));
            for _ in 0..2 {
                assert!(makes_point(&one, &point(&one), &mut curves).unwrap());
                assert!(!makes_point(&one, &point(&other), &mut curves).unwrap());
                assert!(makes_point(&one, b"", &mut curves).is_err());
            }
            assert!(!has_explicit_parameters(&one).unwrap());
        }
        assert_eq!(curves.0.len(), 4);
        assert!(ErrorStack::get().errors().is_empty());
    }
}
