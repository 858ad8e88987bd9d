//! The numbers that a key is made of. Asked for one by one: a key that is taken apart as a whole
//! (`EVP_PKEY_get1_EC_KEY(3)`) holds a second copy of itself from then on.

use std::ffi::CStr;
use std::ops::Deref;
use std::ptr;

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::bn::{BigNum, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Private};
use openssl_sys as ossl;

/// A number that is wiped when it is dropped.
pub(super) struct KeyNumber(pub(super) BigNum);

impl KeyNumber {
    /// One of a key, by OpenSSL's name for it (`EVP_PKEY-RSA(7)`, `EVP_PKEY-EC(7)`).
    pub(super) fn of(key: &PKeyRef<Private>, name: &CStr) -> Result<KeyNumber, ErrorStack> {
        let mut number = ptr::null_mut();
        // SAFETY: the key is live, the name a string; OpenSSL makes the number, and it is ours.
        unsafe {
            if ossl::EVP_PKEY_get_bn_param(key.as_ptr(), name.as_ptr(), &mut number) != 1 {
                return Err(ErrorStack::get());
            }
            Ok(KeyNumber(BigNum::from_ptr(number)))
        }
    }
}

impl Deref for KeyNumber {
    type Target = BigNumRef;

    fn deref(&self) -> &BigNumRef {
        &self.0
    }
}

impl Drop for KeyNumber {
    fn drop(&mut self) {
        self.0.clear();
    }
}
