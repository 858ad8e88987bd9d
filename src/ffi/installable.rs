//! Certificates as they are put on an SSL.

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Private};
use openssl::stack::StackRef;
use openssl::x509::{X509, X509Ref};
use openssl_sys as ossl;

/// What one key type of a set is installed with.
pub(crate) struct Installable<'a> {
    /// `None` when it could not be had.
    pub(crate) leaf: Option<&'a X509Ref>,
    pub(crate) key: &'a PKeyRef<Private>,
    pub(crate) chain: &'a StackRef<X509>,
}

/// Puts a set on an SSL that has no certificates. An error leaves it without any, never with half a
/// set.
///
/// # Safety
/// The SSL is live.
pub(super) unsafe fn install<'a>(
    ssl: *mut ossl::SSL,
    set: impl Iterator<Item = Installable<'a>>,
) -> Result<(), ErrorStack> {
    for member in set {
        // SAFETY: the SSL is live by the contract. OpenSSL takes its own references to certificate,
        // key and chain (SSL_use_cert_and_key(3)).
        unsafe {
            let is_installed = member.leaf.is_some_and(|leaf| {
                let (key, chain) = (member.key.as_ptr(), member.chain.as_ptr().cast());
                ossl::SSL_use_cert_and_key(ssl, leaf.as_ptr(), key, chain, 1) == 1
            });
            if !is_installed {
                ossl::SSL_certs_clear(ssl);
                return Err(ErrorStack::get());
            }
        }
    }
    Ok(())
}
