//! Whether an RSA key is whole.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Private};

use super::key_number::KeyNumber;

/// Whether the numbers of a key belong together, by the equations of RFC 8017, section 3.2 (as
/// `RSA_check_key_ex(3)`, which besides looks for the primes to be prime, and takes a hundred times as
/// long); `None` when the key is not of two primes, or lacks some of the numbers.
pub(crate) fn is_consistent(key: &PKeyRef<Private>) -> Result<Option<bool>, ErrorStack> {
    let number = |name| KeyNumber::of(key, name).ok();
    let (n, e, d) = (number(c"n"), number(c"e"), number(c"d"));
    let (p, q) = (number(c"rsa-factor1"), number(c"rsa-factor2"));
    let (dp, dq) = (number(c"rsa-exponent1"), number(c"rsa-exponent2"));
    let inverse = number(c"rsa-coefficient1");
    let has_more = number(c"rsa-factor3").is_some();
    let (Some(n), Some(e), Some(d), Some(p), Some(q)) = (n, e, d, p, q) else { return Ok(None) };
    let (Some(dp), Some(dq), Some(inverse)) = (dp, dq, inverse) else { return Ok(None) };
    if has_more {
        return Ok(None);
    }

    // OpenSSL signs without the last three where they are 0.
    if [&dp, &dq, &inverse].iter().any(|number| number.num_bits() == 0) {
        return Ok(None);
    }
    // What is larger than it need be satisfies the equations, and need not sign.
    if *d >= *n || *dp >= *p || *dq >= *q || *inverse >= *p {
        return Ok(Some(false));
    }

    let mut ctx = BigNumContext::new()?;
    let mut product = KeyNumber(BigNum::new()?);
    product.0.checked_mul(&p, &q, &mut ctx)?;
    let is_consistent = *product == *n
        && is_inverse(&e, &dp, &*less_one(&p)?, &mut ctx)?
        && is_inverse(&e, &dq, &*less_one(&q)?, &mut ctx)?
        && is_inverse(&e, &d, &*less_one(&p)?, &mut ctx)?
        && is_inverse(&e, &d, &*less_one(&q)?, &mut ctx)?
        && is_inverse(&q, &inverse, &p, &mut ctx)?;
    Ok(Some(is_consistent))
}

fn less_one(prime: &BigNumRef) -> Result<KeyNumber, ErrorStack> {
    let mut less = KeyNumber(prime.to_owned()?);
    less.0.sub_word(1)?;
    Ok(less)
}

/// Whether a * b = 1 mod m.
fn is_inverse(
    a: &BigNumRef,
    b: &BigNumRef,
    m: &BigNumRef,
    ctx: &mut BigNumContext,
) -> Result<bool, ErrorStack> {
    let mut product = KeyNumber(BigNum::new()?);
    product.0.mod_mul(a, b, m, ctx)?;
    Ok(*product == *BigNum::from_u32(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::test_support::rsa;
    use openssl::pkey::PKey;
    use openssl::rsa::RsaPrivateKeyBuilder;

    /// A key whose numbers are those of another one where `change` says so; 0 is n.
    fn changed(at: usize, by: u32) -> PKey<Private> {
        let key = rsa().rsa().unwrap();
        let numbers = [
            Some(key.n()),
            Some(key.e()),
            Some(key.d()),
            key.p(),
            key.q(),
            key.dmp1(),
            key.dmq1(),
            key.iqmp(),
        ];
        let mut numbers = numbers.map(|number| number.unwrap().to_owned().unwrap()).into_iter();
        let mut next = {
            let mut index = 0;
            move || {
                let mut number = numbers.next().unwrap();
                if index == at {
                    number.add_word(by).unwrap();
                }
                index += 1;
                number
            }
        };
        let builder = RsaPrivateKeyBuilder::new(next(), next(), next()).unwrap();
        let builder = builder.set_factors(next(), next()).unwrap();
        let builder = builder.set_crt_params(next(), next(), next()).unwrap();
        PKey::from_rsa(builder.build()).unwrap()
    }

    #[test]
    fn each_number_counts() {
        assert_eq!(is_consistent(&rsa()).unwrap(), Some(true));
        assert_eq!(is_consistent(&changed(0, 0)).unwrap(), Some(true));
        for at in 0..8 {
            assert_eq!(is_consistent(&changed(at, 2)).unwrap(), Some(false), "{at}");
        }
        assert!(ErrorStack::get().errors().is_empty());
    }

    /// d + (p - 1)(q - 1) and the like satisfy the equations.
    #[test]
    fn no_number_is_larger_than_it_need_be() {
        let key = rsa().rsa().unwrap();
        let number = |number: Option<&BigNumRef>| number.unwrap().to_owned().unwrap();
        let mut inverse = number(key.iqmp());
        inverse = &inverse + key.p().unwrap();
        let [n, e, d] = [key.n(), key.e(), key.d()].map(|number| number.to_owned().unwrap());
        let builder = RsaPrivateKeyBuilder::new(n, e, d).unwrap();
        let builder = builder.set_factors(number(key.p()), number(key.q())).unwrap();
        let builder =
            builder.set_crt_params(number(key.dmp1()), number(key.dmq1()), inverse).unwrap();
        let key = PKey::from_rsa(builder.build()).unwrap();
        assert_eq!(is_consistent(&key).unwrap(), Some(false));
    }

    #[test]
    fn without_factors_nothing_can_be_told() {
        let key = rsa().rsa().unwrap();
        let [n, e, d] = [key.n(), key.e(), key.d()].map(|number| number.to_owned().unwrap());
        let key = RsaPrivateKeyBuilder::new(n, e, d).unwrap().build();
        assert_eq!(is_consistent(&PKey::from_rsa(key).unwrap()).unwrap(), None);
    }
}
