//! Private keys: their types, and the one that a certificate was made for.

use openssl::error::ErrorStack;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::sign::{Signer, Verifier};
use zeroize::Zeroizing;

use super::error::SetError;
use super::passwords::Passwords;
use super::pem::{Block, Kind};
use crate::ffi::decoder::{KeyDecoder, decode_any};
use crate::record::KeyType;

/// The kind of a key; `None` when TLS certificates cannot have it.
pub(super) fn key_type<T>(key: &PKeyRef<T>) -> Option<KeyType> {
    match key.id() {
        Id::RSA => Some(KeyType::Rsa),
        Id::RSA_PSS => Some(KeyType::RsaPss),
        Id::EC => Some(KeyType::Ec),
        Id::ED25519 => Some(KeyType::Ed25519),
        Id::ED448 => Some(KeyType::Ed448),
        _ => None,
    }
}

/// What a key has to belong to.
pub(super) struct Wanted<'a, T> {
    pub(super) public: &'a PKeyRef<T>,
    pub(super) key_type: KeyType,
}

/// The key among the blocks that belongs to a certificate's public key. `passwords` are tried on
/// those that are encrypted.
pub(super) fn matching<T: HasPublic>(
    blocks: &[Block<'_>],
    wanted: &Wanted<'_, T>,
    passwords: &Passwords,
    decoder: &mut KeyDecoder,
) -> Result<PKey<Private>, SetError> {
    let mut otherwise = SetError::NoKey;
    for block in blocks {
        let key = match block.kind {
            Kind::Key => plain(&block.der()?, wanted.key_type, decoder)?,
            Kind::EncryptedKey => match decrypted(block, passwords) {
                Ok(key) => key,
                Err(error) => {
                    otherwise = error;
                    continue;
                }
            },
            Kind::Certificate | Kind::Other => continue,
        };
        if key.public_eq(wanted.public) {
            return usable(key, wanted.public);
        }
        if otherwise == SetError::NoKey {
            let is_known = key_type(&key).is_some();
            otherwise = if is_known { SetError::KeyMismatch } else { SetError::UnsupportedKey };
        }
    }
    Err(otherwise)
}

/// Most keys are PKCS #8 and of the wanted type: that is tried first, and costs a tenth of what
/// OpenSSL takes to find out.
fn plain(
    der: &[u8],
    key_type: KeyType,
    decoder: &mut KeyDecoder,
) -> Result<PKey<Private>, SetError> {
    decoder.decode(key_type, der).or_else(|_| decode_any(der)).map_err(SetError::key)
}

/// PKCS #8 (RFC 5958) or the older form of PEM; OpenSSL tells them apart.
fn decrypted(block: &Block<'_>, passwords: &Passwords) -> Result<PKey<Private>, SetError> {
    for password in passwords.iter() {
        // OpenSSL wipes the buffer that the callback fills.
        let key = PKey::private_key_from_pem_callback(block.text, |buffer| {
            let Some(room) = buffer.get_mut(..password.len()) else { return Ok(0) };
            room.copy_from_slice(password);
            Ok(password.len())
        });
        if let Ok(key) = key {
            return Ok(key);
        }
    }
    Err(if passwords.is_empty() { SetError::EncryptedKey } else { SetError::WrongPassword })
}

/// The key when it is one that TLS has a use for, and is whole.
pub(super) fn usable<T: HasPublic>(
    key: PKey<Private>,
    public: &PKeyRef<T>,
) -> Result<PKey<Private>, SetError> {
    if key_type(&key).is_none() || has_explicit_parameters(&key)? {
        return Err(SetError::UnsupportedKey);
    }
    match signs_for(&key, public) {
        Ok(true) => Ok(key),
        Ok(false) | Err(_) => Err(SetError::KeyMismatch),
    }
}

/// Whether the private half belongs to the public half: in a key that was overwritten halfway, the
/// halves may be of two keys, and then all handshakes fail.
fn signs_for<T: HasPublic>(
    key: &PKeyRef<Private>,
    public: &PKeyRef<T>,
) -> Result<bool, ErrorStack> {
    const MESSAGE: &[u8] = b"ngx_http_rust_shared_cert_module";
    let signature = Signer::new_without_digest(key)?.sign_oneshot_to_vec(MESSAGE)?;
    Verifier::new_without_digest(public)?.verify_oneshot(&signature, MESSAGE)
}

/// Whether an EC key spells its curve out; TLS has names for curves only (RFC 8422, section 5.1.1).
fn has_explicit_parameters(key: &PKeyRef<Private>) -> Result<bool, SetError> {
    /// id-ecPublicKey as it stands in an AlgorithmIdentifier (RFC 5480, section 2.1.1).
    const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const OBJECT_IDENTIFIER: u8 = 0x06;

    if key.id() != Id::EC {
        return Ok(false);
    }
    let der = pkcs8(key)?;
    let at = der.windows(EC_PUBLIC_KEY.len()).position(|window| window == EC_PUBLIC_KEY);
    let parameters = at.and_then(|at| der.get(at + EC_PUBLIC_KEY.len()));
    Ok(parameters != Some(&OBJECT_IDENTIFIER))
}

/// The key as PKCS #8 in DER.
pub(super) fn pkcs8(key: &PKeyRef<Private>) -> Result<Zeroizing<Vec<u8>>, SetError> {
    key.private_key_to_pkcs8().map(Zeroizing::new).map_err(SetError::key)
}
