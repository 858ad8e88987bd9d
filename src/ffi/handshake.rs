//! One TLS handshake, as the servername callback sees it.

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

use foreign_types::ForeignTypeRef;
use once_cell::sync::OnceCell;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::X509Ref;
use openssl_sys as ossl;

use nginx_sys::{
    ngx_connection_t, ngx_http_conf_ctx_t, ngx_http_connection_t, ngx_http_ssl_servername,
    ngx_ssl_connection_index,
};

use super::installable::{Installable, install};
use super::log::Log;
use super::pool::keep_in_pool;

/// What the servername callback returns (`SSL_CTX_set_tlsext_servername_callback(3)`).
pub(crate) const TLSEXT_ERR_OK: c_int = ossl::SSL_TLSEXT_ERR_OK;
pub(crate) const TLSEXT_ERR_ALERT_FATAL: c_int = ossl::SSL_TLSEXT_ERR_ALERT_FATAL;

/// The alerts that we send (RFC 8446, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alert {
    IllegalParameter = 47,
    AccessDenied = 49,
    InternalError = 80,
    UnrecognizedName = 112,
}

/// The ex_data index of an SSL under which our state of the handshake hangs. Without callbacks, so
/// that nothing in OpenSSL points into the module after dlclose(); once a process.
static STATE_INDEX: OnceCell<c_int> = OnceCell::new();

fn state_index() -> Option<c_int> {
    let new_index = || {
        // SAFETY: no callbacks, no arguments; OpenSSL locks its own table.
        let index = unsafe {
            ossl::CRYPTO_get_ex_new_index(
                ossl::CRYPTO_EX_INDEX_SSL,
                0,
                ptr::null_mut(),
                None,
                None,
                None,
            )
        };
        if index < 0 { Err(()) } else { Ok(index) }
    };
    STATE_INDEX.get_or_try_init(new_index).ok().copied()
}

/// The SSL and the connection of a handshake that is going on.
pub(crate) struct Handshake {
    ssl: NonNull<ossl::SSL>,
    connection: NonNull<ngx_connection_t>,
}

impl Handshake {
    /// # Safety
    /// `ssl` is what OpenSSL passed to a callback of a connection of the http block; the value is
    /// used within that callback only.
    pub(crate) unsafe fn from_raw(ssl: *mut ossl::SSL) -> Option<Handshake> {
        let ssl = NonNull::new(ssl)?;
        // SAFETY: ngx_ssl_create_connection() stored the connection under this index; it owns the
        // SSL and outlives it.
        let c = unsafe { ossl::SSL_get_ex_data(ssl.as_ptr(), ngx_ssl_connection_index) };
        Some(Handshake { ssl, connection: NonNull::new(c)?.cast() })
    }

    pub(crate) fn log(&self) -> Option<Log> {
        // SAFETY: the connection is live (from_raw) and so is its log.
        unsafe { Log::from_raw((*self.connection.as_ptr()).log) }
    }

    /// Lets NGINX choose the virtual server, reject and set up verification, as without us.
    pub(crate) fn choose_server(&self, alert: *mut c_int) -> c_int {
        // SAFETY: the arguments are those of the callback that NGINX would have got; `arg` is NULL
        // as NGINX registers it (a name in `arg` is for its own ClientHello callback).
        unsafe { ngx_http_ssl_servername(self.ssl.as_ptr().cast(), alert, ptr::null_mut()) }
    }

    fn http_connection(&self) -> NonNull<ngx_http_connection_t> {
        // SAFETY: c->data is the ngx_http_connection_t from ngx_http_init_connection() until the
        // first request is created, which is after the handshake.
        unsafe { NonNull::new_unchecked((*self.connection.as_ptr()).data.cast()) }
    }

    /// The configuration of the server that was chosen.
    pub(crate) fn chosen_server(&self) -> *mut ngx_http_conf_ctx_t {
        // SAFETY: conf_ctx is set by ngx_http_init_connection() and points into the cycle.
        unsafe { (*self.http_connection().as_ptr()).conf_ctx }
    }

    /// The configuration of the default server of the listen socket.
    pub(crate) fn default_server(&self) -> *mut ngx_http_conf_ctx_t {
        // SAFETY: as for chosen_server(); NGINX gives each address a default server.
        unsafe { (*(*(*self.http_connection().as_ptr()).addr_conf).default_server).ctx }
    }

    /// The host name in the ClientHello (RFC 6066, section 3); in a resumed TLS 1.2 session the
    /// one of the session (`SSL_get_servername(3)`).
    pub(crate) fn server_name(&self) -> Option<&[u8]> {
        // SAFETY: the string belongs to the SSL or its session and changes with the next
        // ClientHello only; OpenSSL refuses names that contain a NUL.
        unsafe {
            let name = ossl::SSL_get_servername(self.ssl.as_ptr(), ossl::TLSEXT_NAMETYPE_host_name);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_bytes())
        }
    }

    /// Whether a session is being resumed: no certificate will be sent.
    pub(crate) fn is_resumed(&self) -> bool {
        // SAFETY: the SSL is live.
        unsafe { ossl::SSL_session_reused(self.ssl.as_ptr()) == 1 }
    }

    /// The host name that the session was made for; `None` when it was made without.
    pub(crate) fn session_host_name(&self) -> Option<&[u8]> {
        // SAFETY: the session belongs to the SSL and the string to the session.
        unsafe {
            let session = ossl::SSL_get_session(self.ssl.as_ptr());
            if session.is_null() {
                return None;
            }
            let name = ossl::SSL_SESSION_get0_hostname(session);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_bytes())
        }
    }

    /// Whether the SSL's context gave it a certificate that has not expired.
    pub(crate) fn has_valid_certificate(&self) -> bool {
        // SAFETY: the SSL is live; the certificate is its own.
        unsafe {
            let certificate = ossl::SSL_get_certificate(self.ssl.as_ptr());
            !certificate.is_null()
                && ossl::X509_cmp_current_time(ossl::X509_get0_notAfter(certificate)) > 0
        }
    }

    /// Puts these certificates on the SSL in the place of all that its context gave it. An error
    /// leaves the SSL without any certificate, never with half a set.
    pub(crate) fn install<'a>(
        &self,
        set: impl Iterator<Item = Installable<'a>>,
    ) -> Result<(), ErrorStack> {
        let ssl = self.ssl.as_ptr();
        // SAFETY: the SSL is live. Without SSL_certs_clear() a static certificate of another key
        // type, or its compressed form, would stay beside ours; without clearing the certificate
        // callback a variable or lua would replace ours.
        unsafe {
            ossl::SSL_certs_clear(ssl);
            ossl::SSL_set_cert_cb(ssl, None, ptr::null_mut());
            install(ssl, set)
        }
    }

    /// Refuses the handshake; NGINX logs it as rejected, at level info.
    pub(crate) fn refuse(&self, alert: *mut c_int, reason: Alert) -> c_int {
        // SAFETY: c->ssl is set during a handshake; `alert` is the callback's own argument.
        unsafe {
            (*(*self.connection.as_ptr()).ssl).set_handshake_rejected(1);
            *alert = reason as c_int;
        }
        TLSEXT_ERR_ALERT_FATAL
    }

    /// Leaves OpenSSL's error queue empty: one error that is left over makes NGINX close a good
    /// connection.
    pub(crate) fn clear_errors(&self) {
        // SAFETY: both work on this thread's own queue.
        unsafe {
            if ossl::ERR_peek_error() != 0 {
                ossl::ERR_clear_error();
            }
        }
    }

    /// What `keep()` kept for this SSL.
    pub(crate) fn kept<T>(&self) -> Option<&T> {
        // SAFETY: keep() is the only one to set this index, and always for the same T (there is
        // one caller); the value lives until the connection's pool is destroyed.
        unsafe { kept_by(self.ssl.as_ptr()) }
    }

    /// Keeps a value with the connection; dropped when its pool is destroyed. `None` when memory
    /// is short.
    pub(crate) fn keep<T>(&self, value: T) -> Option<&T> {
        let index = state_index()?;
        // SAFETY: the pool is the connection's and lives longer than its SSL; the module is there
        // for as long as the cycle of the connection.
        unsafe {
            let data = keep_in_pool((*self.connection.as_ptr()).pool, value)?;
            if ossl::SSL_set_ex_data(self.ssl.as_ptr(), index, data.as_ptr().cast()) != 1 {
                return None;
            }
            Some(data.as_ref())
        }
    }
}

/// What `Handshake::keep()` kept for an SSL.
///
/// # Safety
/// `ssl` is live, and `T` is the type that was kept.
unsafe fn kept_by<'a, T>(ssl: *mut ossl::SSL) -> Option<&'a T> {
    let index = STATE_INDEX.get()?;
    // SAFETY: by the contract of this function.
    unsafe { ossl::SSL_get_ex_data(ssl, *index).cast::<T>().as_ref() }
}

/// An established TLS connection, as a request sees it.
pub(crate) struct Established(NonNull<ossl::SSL>);

impl Established {
    /// # Safety
    /// `connection` is that of a request and live while the value is used; its SSL was seen by
    /// the servername callback.
    pub(crate) unsafe fn from_raw(connection: *mut ngx_connection_t) -> Option<Established> {
        // SAFETY: by the contract; HTTP/2 and HTTP/3 streams have the ssl of their connection.
        unsafe {
            let ssl = (*connection).ssl;
            if ssl.is_null() {
                return None;
            }
            NonNull::new((*ssl).connection.cast()).map(Established)
        }
    }

    /// What `Handshake::keep()` kept for this connection.
    pub(crate) fn kept<T>(&self) -> Option<&T> {
        // SAFETY: as for Handshake::kept().
        unsafe { kept_by(self.0.as_ptr()) }
    }

    /// SHA-256 of the certificate that was sent: after a handshake `SSL_get_certificate()` gives
    /// the one whose key signed.
    pub(crate) fn sent_fingerprint(&self) -> Option<[u8; 32]> {
        // SAFETY: the SSL is live; the certificate belongs to it.
        unsafe {
            let certificate = ossl::SSL_get_certificate(self.0.as_ptr());
            if certificate.is_null() {
                return None;
            }
            let digest = X509Ref::from_ptr(certificate).digest(MessageDigest::sha256()).ok()?;
            digest.as_ref().try_into().ok()
        }
    }
}
