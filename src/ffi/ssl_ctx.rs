//! The SSL contexts that NGINX made for the servers of the http block.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{self, NonNull};

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::hash::{Hasher, MessageDigest};
use openssl::x509::X509Ref;
use openssl_sys as ossl;

use super::installable::{Installable, install};

/// The servername callback of OpenSSL.
pub(crate) type ServerNameCallback =
    unsafe extern "C" fn(*mut ossl::SSL, *mut c_int, *mut c_void) -> c_int;

// SSL_CTRL_SELECT_CURRENT_CERT, SSL_CTRL_SET_CURRENT_CERT and their operations (ssl.h); macros.
const CTRL_SELECT_CURRENT_CERT: c_int = 116;
const CTRL_SET_CURRENT_CERT: c_int = 117;
const CERT_SET_FIRST: i64 = 1;
const CERT_SET_NEXT: i64 = 2;

/// As long as NGINX's own: it is in each session ticket, which grows by 16 bytes with the whole digest.
const SESSION_CONTEXT_LEN: usize = 20;

/// A context that belongs to a server's configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context(NonNull<ossl::SSL_CTX>);

impl Context {
    /// # Safety
    /// `ctx` is NULL or a context of the cycle, which outlives every use of the value.
    pub(crate) unsafe fn from_raw(ctx: *mut ossl::SSL_CTX) -> Option<Context> {
        NonNull::new(ctx).map(Context)
    }

    fn as_ptr(self) -> *mut ossl::SSL_CTX {
        self.0.as_ptr()
    }

    /// Puts our callback in the place of NGINX's, which it calls first.
    pub(crate) fn hook(self, callback: ServerNameCallback) {
        // SAFETY: the context is live; the callback is code of this module, which stays loaded for
        // as long as the cycle.
        unsafe {
            ossl::SSL_CTX_set_tlsext_servername_callback__fixed_rust(self.as_ptr(), Some(callback));
        }
    }

    /// The security level (`SSL_CTX_get_security_level(3)`).
    pub(crate) fn security_level(self) -> c_int {
        // SAFETY: the context is live.
        unsafe { ossl::SSL_CTX_get_security_level(self.as_ptr()) }
    }

    /// A connection of this context that certificates can be tried on.
    pub(crate) fn trial(self) -> Result<Trial, ErrorStack> {
        // SAFETY: the context is live; the SSL takes a reference of its own to it.
        let ssl = unsafe { ossl::SSL_new(self.as_ptr()) };
        NonNull::new(ssl).map(Trial).ok_or_else(ErrorStack::get)
    }

    /// Sets the session id context to a digest of `parts`, of the static certificates and of the
    /// client CA list, which is what NGINX makes its own of (`ngx_ssl_session_id_context()`).
    pub(crate) fn set_session_context(self, parts: &[&[u8]]) -> Result<(), ErrorStack> {
        let mut hasher = Hasher::new(MessageDigest::sha256())?;
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes())?;
            hasher.update(part)?;
        }
        self.hash_certificates(&mut hasher)?;
        self.hash_client_cas(&mut hasher)?;
        let digest = hasher.finish()?;
        let id = digest.get(..SESSION_CONTEXT_LEN).unwrap_or(&digest);
        // SAFETY: the context is live and copies the bytes, of which it can hold 32.
        let done = unsafe {
            let len = id.len() as c_uint;
            ossl::SSL_CTX_set_session_id_context(self.as_ptr(), id.as_ptr(), len)
        };
        if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
    }

    fn hash_certificates(self, hasher: &mut Hasher) -> Result<(), ErrorStack> {
        let ctx = self.as_ptr();
        // SAFETY: the context is live and no other thread uses it while the configuration is read.
        // SSL_CTX_get0_certificate() gives the current certificate, which is selected again at the
        // end: it is what NGINX's stapling looks at.
        unsafe {
            let first = ossl::SSL_CTX_get0_certificate(ctx);
            if first.is_null() {
                return Ok(());
            }
            let mut more = ossl::SSL_CTX_ctrl(
                ctx,
                CTRL_SET_CURRENT_CERT,
                CERT_SET_FIRST as _,
                ptr::null_mut(),
            );
            while more == 1 {
                let certificate = ossl::SSL_CTX_get0_certificate(ctx);
                if !certificate.is_null() {
                    let digest = X509Ref::from_ptr(certificate).digest(MessageDigest::sha256())?;
                    hasher.update(&digest)?;
                }
                more = ossl::SSL_CTX_ctrl(
                    ctx,
                    CTRL_SET_CURRENT_CERT,
                    CERT_SET_NEXT as _,
                    ptr::null_mut(),
                );
            }
            ossl::SSL_CTX_ctrl(ctx, CTRL_SELECT_CURRENT_CERT, 0, first.cast());
        }
        Ok(())
    }

    fn hash_client_cas(self, hasher: &mut Hasher) -> Result<(), ErrorStack> {
        // SAFETY: the list and its names belong to the context; the digest buffer is as large as
        // any digest.
        unsafe {
            let list = ossl::SSL_CTX_get_client_CA_list(self.as_ptr());
            if list.is_null() {
                return Ok(());
            }
            for i in 0..ossl::OPENSSL_sk_num(list.cast()) {
                let name = ossl::OPENSSL_sk_value(list.cast(), i).cast::<ossl::X509_NAME>();
                let mut digest = [0u8; ossl::EVP_MAX_MD_SIZE as usize];
                let mut len: c_uint = 0;
                if ossl::X509_NAME_digest(name, ossl::EVP_sha256(), digest.as_mut_ptr(), &mut len)
                    != 1
                {
                    return Err(ErrorStack::get());
                }
                hasher.update(digest.get(..len as usize).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// An SSL that never connects: OpenSSL says itself whether a connection of its context would take
/// certificates.
pub(crate) struct Trial(NonNull<ossl::SSL>);

impl Trial {
    /// Whether the certificates are accepted. Nothing of them stays. Leaves OpenSSL's error queue
    /// empty.
    pub(crate) fn accepts<'a>(
        &self,
        set: impl Iterator<Item = Installable<'a>>,
    ) -> Result<(), ErrorStack> {
        let ssl = self.0.as_ptr();
        // SAFETY: the SSL is ours; SSL_certs_clear() releases what install() has put on it.
        let result = unsafe {
            let result = install(ssl, set);
            ossl::SSL_certs_clear(ssl);
            result
        };
        drop(ErrorStack::get());
        result
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // SAFETY: made by SSL_new() and freed once.
        unsafe { ossl::SSL_free(self.0.as_ptr()) }
    }
}
