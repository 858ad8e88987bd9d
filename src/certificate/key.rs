//! Private keys: their types, and the one that a certificate was made for.

use std::cell::Cell;

use once_cell::unsync::OnceCell;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, PKeyRef, Private, Public};
use openssl::sign::{Signer, Verifier};
use openssl::x509::X509Ref;
use zeroize::Zeroizing;

use super::Parser;
use super::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};
use super::error::SetError;
use super::passwords::Passwords;
use super::pem::{Block, Kind};
use crate::ffi::decoder::{KeyDecoder, decode_any};
use crate::ffi::undecoded::subject_public_key;
use crate::ffi::{ec, rsa};
use crate::record::KeyType;

/// PKCS #8 in DER.
type Pkcs8 = Zeroizing<Vec<u8>>;

/// A certificate's private key.
pub(super) struct Key {
    pub(super) key: PKey<Private>,
    /// What it was read from, until that is recorded: what OpenSSL would make of the key is no better,
    /// and takes longer than all else.
    pkcs8: Cell<Option<Pkcs8>>,
}

impl Key {
    /// A key of which there is a record.
    pub(super) fn recorded(key: PKey<Private>) -> Key {
        Key { key, pkcs8: Cell::new(None) }
    }

    /// The same key, which takes along what it was read from.
    pub(super) fn share(&self) -> Key {
        Key { key: self.key.clone(), pkcs8: Cell::new(self.pkcs8.take()) }
    }

    /// The key as PKCS #8 in DER. Given away: the next who asks waits for OpenSSL.
    pub(super) fn take_pkcs8(&self) -> Result<Pkcs8, SetError> {
        self.pkcs8.take().map_or_else(|| encoded(&self.key), Ok)
    }
}

/// Without what it was read from: there is no more of that than need be.
impl Clone for Key {
    fn clone(&self) -> Key {
        Key::recorded(self.key.clone())
    }
}

/// A certificate's public key; decoded when it takes OpenSSL to tell whose it is.
pub(super) struct PublicKey {
    pub(super) key_type: KeyType,
    /// SubjectPublicKeyInfo in DER.
    info: Vec<u8>,
    decoded: OnceCell<PKey<Public>>,
}

impl PublicKey {
    /// `leaf` need not have been decoded.
    pub(super) fn of(leaf: &X509Ref) -> Result<PublicKey, SetError> {
        let (id, info) = subject_public_key(leaf).ok_or(SetError::UnsupportedKey)?;
        let key_type = key_type(id).ok_or(SetError::UnsupportedKey)?;
        Ok(PublicKey { key_type, info, decoded: OnceCell::new() })
    }

    /// Whether it is that of a private key.
    pub(super) fn is_of(&self, key: &Key, decoder: &mut KeyDecoder) -> Result<bool, SetError> {
        let pkcs8 = key.pkcs8.take();
        let is_same = pkcs8.as_ref().is_some_and(|der| has_same_point(der, &self.info));
        key.pkcs8.set(pkcs8);
        Ok(is_same || key.key.public_eq(self.decoded(decoder)?))
    }

    fn decoded(&self, decoder: &mut KeyDecoder) -> Result<&PKey<Public>, SetError> {
        let decode = || decoder.decode_public(self.key_type, &self.info);
        self.decoded.get_or_try_init(decode).map_err(SetError::certificate)
    }
}

/// Whether a PrivateKeyInfo of an EC key has the public half that a SubjectPublicKeyInfo has; false
/// also where that is not told by the bytes.
pub(super) fn has_same_point(pkcs8: &[u8], info: &[u8]) -> bool {
    let own = EcPoint::of_private_key(pkcs8);
    own.is_some() && own == EcPoint::of_public_key(info)
}

/// An EC key's public half as it stands in DER.
#[derive(PartialEq, Eq)]
struct EcPoint<'a> {
    /// AlgorithmIdentifier: that it is an EC key, and the curve (RFC 5480, section 2.1.1).
    algorithm: &'a [u8],
    /// Behind the number of unused bits, which is 0.
    point: &'a [u8],
}

impl<'a> EcPoint<'a> {
    /// In a SubjectPublicKeyInfo.
    fn of_public_key(info: &'a [u8]) -> Option<EcPoint<'a>> {
        let mut info = Reader(Reader(info).only(SEQUENCE)?);
        let algorithm = info.next(SEQUENCE)?;
        let point = info.only(BIT_STRING)?.strip_prefix(&[0])?;
        Some(EcPoint { algorithm, point })
    }

    /// In a PrivateKeyInfo with an ECPrivateKey that has it (RFC 5915, section 3).
    fn of_private_key(pkcs8: &'a [u8]) -> Option<EcPoint<'a>> {
        const PARAMETERS: u8 = 0xa0;
        const PUBLIC_KEY: u8 = 0xa1;

        let mut info = Reader(Reader(pkcs8).only(SEQUENCE)?);
        info.next(INTEGER)?;
        let algorithm = info.next(SEQUENCE)?;
        let mut key = Reader(Reader(info.only(OCTET_STRING)?).only(SEQUENCE)?);
        key.next(INTEGER)?;
        key.next(OCTET_STRING)?;
        // Where they are there, OpenSSL goes by these.
        if let Some(parameters) = key.next_if(PARAMETERS)? {
            let mut own = Reader(algorithm);
            own.next(OBJECT_IDENTIFIER)?;
            if parameters != own.rest() {
                return None;
            }
        }
        let point = Reader(key.only(PUBLIC_KEY)?).only(BIT_STRING)?.strip_prefix(&[0])?;
        Some(EcPoint { algorithm, point })
    }
}

/// The kind of a key; `None` when TLS certificates cannot have it.
pub(super) fn key_type(id: Id) -> Option<KeyType> {
    match id {
        Id::RSA => Some(KeyType::Rsa),
        Id::RSA_PSS => Some(KeyType::RsaPss),
        Id::EC => Some(KeyType::Ec),
        Id::ED25519 => Some(KeyType::Ed25519),
        Id::ED448 => Some(KeyType::Ed448),
        _ => None,
    }
}

/// The key among the blocks that belongs to a certificate's public key. `passwords` are tried on
/// those that are encrypted.
pub(super) fn matching(
    blocks: &[Block<'_>],
    public: &PublicKey,
    passwords: &Passwords,
    parser: &mut Parser,
) -> Result<Key, SetError> {
    let mut otherwise = SetError::NoKey;
    for block in blocks {
        let key = match block.kind {
            Kind::Key => plain(block.der()?, &[public.key_type], &mut parser.decoder)?,
            Kind::EncryptedKey => match decrypted(block, passwords) {
                Ok(key) => Key::recorded(key),
                Err(error) => {
                    otherwise = error;
                    continue;
                }
            },
            Kind::Certificate | Kind::Other => continue,
        };
        if public.is_of(&key, &mut parser.decoder)? {
            check_usable(&key.key, public, parser)?;
            return Ok(key);
        }
        if otherwise == SetError::NoKey {
            let is_known = key_type(key.key.id()).is_some();
            otherwise = if is_known { SetError::KeyMismatch } else { SetError::UnsupportedKey };
        }
    }
    Err(otherwise)
}

/// Most keys are PKCS #8 and of one of these types: that is tried first, and costs a tenth of what
/// OpenSSL takes to find out.
pub(super) fn plain(
    der: Zeroizing<Vec<u8>>,
    key_types: &[KeyType],
    decoder: &mut KeyDecoder,
) -> Result<Key, SetError> {
    for key_type in key_types {
        if let Ok(key) = decoder.decode(*key_type, &der) {
            let pkcs8 = is_bare_pkcs8(&der).then_some(der);
            return Ok(Key { key, pkcs8: Cell::new(pkcs8) });
        }
    }
    decode_any(&der).map(Key::recorded).map_err(SetError::key)
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

/// Whether a key, whose public half is this one, is one that TLS has a use for, and is whole: in a
/// file that was overwritten halfway, the halves may be of two keys, and then all handshakes fail.
pub(super) fn check_usable(
    key: &PKeyRef<Private>,
    public: &PublicKey,
    parser: &mut Parser,
) -> Result<(), SetError> {
    let is_whole = match key_type(key.id()) {
        None => return Err(SetError::UnsupportedKey),
        Some(KeyType::Ec) => {
            // TLS has names for curves only (RFC 8422, section 5.1.1).
            if ec::has_explicit_parameters(key).map_err(SetError::key)? {
                return Err(SetError::UnsupportedKey);
            }
            let point = EcPoint::of_public_key(&public.info).map_or(&[][..], |own| own.point);
            ec::makes_point(key, point, &mut parser.curves)
        }
        Some(KeyType::Rsa) => match rsa::is_consistent(key) {
            Ok(Some(is_consistent)) => Ok(is_consistent),
            Ok(None) | Err(_) => signs_for(key, public.decoded(&mut parser.decoder)?),
        },
        Some(_) => signs_for(key, public.decoded(&mut parser.decoder)?),
    };
    match is_whole {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(SetError::KeyMismatch),
    }
}

fn signs_for(key: &PKeyRef<Private>, public: &PKeyRef<Public>) -> Result<bool, ErrorStack> {
    const MESSAGE: &[u8] = b"ngx_http_rust_shared_cert_module";
    let signature = Signer::new_without_digest(key)?.sign_oneshot_to_vec(MESSAGE)?;
    Verifier::new_without_digest(public)?.verify_oneshot(&signature, MESSAGE)
}

/// The key as PKCS #8 in DER.
fn encoded(key: &PKeyRef<Private>) -> Result<Pkcs8, SetError> {
    key.private_key_to_pkcs8().map(Zeroizing::new).map_err(SetError::key)
}

/// Whether DER that OpenSSL took for a PrivateKeyInfo (RFC 5208, section 5) is nothing else besides:
/// without attributes, and nothing follows.
fn is_bare_pkcs8(der: &[u8]) -> bool {
    let bare = || {
        let mut info = Reader(Reader(der).only(SEQUENCE)?);
        let version = info.next(INTEGER)?;
        info.next(SEQUENCE)?;
        info.only(OCTET_STRING)?;
        Some(version == [0])
    };
    bare().unwrap_or(false)
}
