//! Certificates whose public key OpenSSL leaves as it is encoded.
//!
//! `d2i_X509(3)` decodes the public key on the way. Before OpenSSL 3.2 it looks for a decoder among
//! all that there are each time, which takes ten times as long as all else; and who reads a large
//! directory of certificates does not need what comes of it.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use foreign_types::ForeignTypeRef;
use once_cell::sync::OnceCell;
use openssl::error::ErrorStack;
use openssl::pkey::Id;
use openssl::x509::{X509, X509Ref};
use openssl_sys as ossl;

/// A library context of OpenSSL's without any algorithm.
#[derive(Clone, Copy)]
struct EmptyContext(NonNull<ossl::OSSL_LIB_CTX>);

// SAFETY: OpenSSL's library contexts are for any thread (OSSL_LIB_CTX(3)).
unsafe impl Send for EmptyContext {}
// SAFETY: as above.
unsafe impl Sync for EmptyContext {}

/// One for the process, made at the first use and never freed: each takes keys of the threads library,
/// of which there are 1,024. `None` when it could not be made.
static EMPTY_CONTEXT: OnceCell<Option<EmptyContext>> = OnceCell::new();

/// The certificate. It is one of OpenSSL's default context in all but that it has no public key:
/// `X509_get0_pubkey(3)` fails, so it cannot be installed, and it issues nothing. Where there was no
/// memory for the context, it has one.
pub(crate) fn undecoded_certificate(der: &[u8]) -> Result<X509, ErrorStack> {
    let _default = EMPTY_CONTEXT.get_or_init(new_context).map(ThreadDefault::set);
    X509::from_der(der)
}

fn new_context() -> Option<EmptyContext> {
    // SAFETY: no arguments.
    let ctx = NonNull::new(unsafe { ossl::OSSL_LIB_CTX_new() });
    // SAFETY: the context was made above. The provider of nothing is built into libcrypto and belongs
    // to the context; without it OpenSSL would load its default provider at the first use.
    let ctx = ctx.filter(|ctx| unsafe {
        let has_none = !ossl::OSSL_PROVIDER_load(ctx.as_ptr(), c"null".as_ptr()).is_null();
        if !has_none {
            ossl::OSSL_LIB_CTX_free(ctx.as_ptr());
        }
        has_none
    });
    drop(ErrorStack::get());
    ctx.map(EmptyContext)
}

/// Makes a context this thread's default, until it is dropped.
struct ThreadDefault {
    before: *mut ossl::OSSL_LIB_CTX,
}

impl ThreadDefault {
    fn set(ctx: EmptyContext) -> ThreadDefault {
        // SAFETY: the context lives as long as the process.
        ThreadDefault { before: unsafe { ossl::OSSL_LIB_CTX_set0_default(ctx.0.as_ptr()) } }
    }
}

impl Drop for ThreadDefault {
    fn drop(&mut self) {
        // SAFETY: what was the default before; OpenSSL's own lives as long as the process.
        unsafe { ossl::OSSL_LIB_CTX_set0_default(self.before) };
    }
}

/// A certificate's SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7) in DER, and what type of key it
/// says that it has.
pub(crate) fn subject_public_key(certificate: &X509Ref) -> Option<(Id, Vec<u8>)> {
    // SAFETY: the structure and its algorithm belong to the certificate.
    let (info, id) = unsafe {
        let info = ossl::X509_get_X509_PUBKEY(certificate.as_ptr());
        let mut algorithm = ptr::null_mut();
        let done = ossl::X509_PUBKEY_get0_param(
            &mut algorithm,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            info,
        );
        if done != 1 {
            return None;
        }
        // EVP_PKEY_RSA and the like are the NIDs of their algorithms (evp.h).
        (info, Id::from_raw(ossl::OBJ_obj2nid(algorithm)))
    };
    // SAFETY: without a buffer the length is told; with one of that length it is filled, and the
    // pointer is moved to its end.
    let der = unsafe {
        let len = usize::try_from(ossl::i2d_X509_PUBKEY(info, ptr::null_mut())).ok()?;
        let mut der = vec![0; len];
        let mut out = der.as_mut_ptr();
        if ossl::i2d_X509_PUBKEY(info, &mut out) != c_int::try_from(len).ok()? {
            return None;
        }
        der
    };
    Some((id, der))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::test_support::{Leaf, ca, p256, rsa};
    use openssl::pkey::PKey;

    #[test]
    fn it_is_the_same_certificate_without_a_key() {
        for key in [p256(), rsa(), PKey::generate_ed25519().unwrap()] {
            let leaf = ca().leaf(&key, &Leaf::default());
            let der = leaf.to_der().unwrap();
            let undecoded = undecoded_certificate(&der).unwrap();
            assert!(undecoded.public_key().is_err());
            drop(ErrorStack::get());
            assert_eq!(undecoded.to_der().unwrap(), der);
            assert_eq!(
                undecoded.digest(openssl::hash::MessageDigest::sha256()).unwrap().to_vec(),
                leaf.digest(openssl::hash::MessageDigest::sha256()).unwrap().to_vec()
            );
            // What is made afterwards has all algorithms.
            assert!(X509::from_der(&der).unwrap().public_key().unwrap().public_eq(&key));
            let issuer = ca().intermediate.public_key().unwrap();
            assert!(undecoded.verify(&issuer).unwrap());

            let (id, info) = subject_public_key(&undecoded).unwrap();
            assert_eq!(info, key.public_key_to_der().unwrap());
            assert_eq!(id, key.id());
        }
    }
}
