//! Private keys from DER by OpenSSL decoders that are kept: making one costs more than its use.

use std::ffi::CStr;
use std::ptr::{self, NonNull};

use foreign_types::ForeignType;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl_sys as ossl;

use crate::record::KeyType;

/// A decoder for one type of key.
struct Decoder {
    ctx: NonNull<ossl::OSSL_DECODER_CTX>,
    /// Where the context puts a decoded key; boxed, because the context keeps the address.
    slot: Box<*mut ossl::EVP_PKEY>,
}

impl Decoder {
    fn new(type_name: &CStr) -> Option<Decoder> {
        let mut slot = Box::new(ptr::null_mut());
        // SAFETY: the slot outlives the context: Drop frees the context first. The texts are
        // static. EVP_PKEY_KEYPAIR is the selection that a private key is asked with.
        let ctx = unsafe {
            ossl::OSSL_DECODER_CTX_new_for_pkey(
                &raw mut *slot,
                c"DER".as_ptr(),
                c"PrivateKeyInfo".as_ptr(),
                type_name.as_ptr(),
                ossl::EVP_PKEY_KEYPAIR as _,
                ptr::null_mut(),
                ptr::null(),
            )
        };
        let decoder = Decoder { ctx: NonNull::new(ctx)?, slot };
        // SAFETY: the context is live. Without a decoder for this type it is of no use.
        let known = unsafe { ossl::OSSL_DECODER_CTX_get_num_decoders(decoder.ctx.as_ptr()) } > 0;
        known.then_some(decoder)
    }

    fn decode(&mut self, der: &[u8]) -> Option<PKey<Private>> {
        let mut data = der.as_ptr();
        let mut len = der.len();
        *self.slot = ptr::null_mut();
        // SAFETY: data and len describe `der`, which is only read; the key that the slot then
        // holds is ours to free, which PKey does.
        unsafe {
            let done = ossl::OSSL_DECODER_from_data(self.ctx.as_ptr(), &mut data, &mut len);
            let key = NonNull::new(std::mem::replace(&mut *self.slot, ptr::null_mut()))?;
            let key = PKey::from_ptr(key.as_ptr());
            (done == 1 && len == 0).then_some(key)
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours and is not used again.
        unsafe { ossl::OSSL_DECODER_CTX_free(self.ctx.as_ptr()) }
    }
}

/// The name that OpenSSL's providers know a type of key by.
fn type_name(key_type: KeyType) -> &'static CStr {
    match key_type {
        KeyType::Rsa => c"RSA",
        KeyType::RsaPss => c"RSA-PSS",
        KeyType::Ec => c"EC",
        KeyType::Ed25519 => c"ED25519",
        KeyType::Ed448 => c"ED448",
    }
}

/// The decoders of a worker, made when they are first needed.
pub(crate) struct KeyDecoder([Option<Option<Decoder>>; KeyType::COUNT]);

impl KeyDecoder {
    pub(crate) fn new() -> KeyDecoder {
        KeyDecoder(std::array::from_fn(|_| None))
    }

    /// A key from a PKCS #8 PrivateKeyInfo (RFC 5208). Leaves OpenSSL's error queue empty.
    pub(crate) fn decode(
        &mut self,
        key_type: KeyType,
        der: &[u8],
    ) -> Result<PKey<Private>, ErrorStack> {
        if let Some(slot) = self.0.get_mut(key_type as usize - 1) {
            let decoder = slot.get_or_insert_with(|| Decoder::new(type_name(key_type)));
            let key = decoder.as_mut().and_then(|decoder| decoder.decode(der));
            if let Some(key) = key {
                return Ok(key);
            }
            drop(ErrorStack::get());
        }
        // What the decoder does not take, the slower way may; and it says why not.
        PKey::private_key_from_pkcs8(der)
    }
}
