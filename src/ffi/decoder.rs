//! Keys from DER at the price of the DER: one OpenSSL decoder per key type, set up once.
//!
//! `d2i_PrivateKey(3)` and `d2i_PUBKEY(3)` fetch their decoders and try them in turn at each call; a
//! decoder that is kept has that behind it.

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

use foreign_types::ForeignType;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private, Public};
use openssl_sys as ossl;

use crate::record::KeyType;

/// `EVP_PKEY_PUBLIC_KEY`: `OSSL_KEYMGMT_SELECT_ALL_PARAMETERS` and `_PUBLIC_KEY`.
const EVP_PKEY_PUBLIC_KEY: c_int = 0x84 | 0x02;
/// `EVP_PKEY_KEYPAIR`: that and `OSSL_KEYMGMT_SELECT_PRIVATE_KEY`.
const EVP_PKEY_KEYPAIR: c_int = EVP_PKEY_PUBLIC_KEY | 0x01;

/// Decodes keys of all types. Used by one thread; each worker has its own.
pub(crate) struct KeyDecoder {
    private: Decoders,
    public: Decoders,
}

/// For one structure: a decoder for each key type.
struct Decoders {
    structure: &'static CStr,
    selection: c_int,
    states: [State; KeyType::COUNT],
}

enum State {
    Unused,
    Ready(Decoder),
    /// This OpenSSL has no decoder for the type: asked for once.
    Unavailable,
}

impl KeyDecoder {
    pub(crate) fn new() -> KeyDecoder {
        KeyDecoder {
            private: Decoders::new(c"PrivateKeyInfo", EVP_PKEY_KEYPAIR),
            public: Decoders::new(c"SubjectPublicKeyInfo", EVP_PKEY_PUBLIC_KEY),
        }
    }

    /// The key in a PKCS #8 PrivateKeyInfo that is not encrypted. A key of another type than
    /// `key_type` is an error. Leaves OpenSSL's error queue empty.
    pub(crate) fn decode(
        &mut self,
        key_type: KeyType,
        der: &[u8],
    ) -> Result<PKey<Private>, ErrorStack> {
        let Some(decoder) = self.private.decoder(key_type) else { return decode_slowly(der) };
        let key = decoder.decode(der);
        overwrite_freed_copy(der.len());
        // SAFETY: EVP_PKEY_KEYPAIR was selected, so it has the private part; the reference is ours.
        key.map(|key| unsafe { PKey::from_ptr(key.as_ptr()) })
    }

    /// The key in a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), as `decode()`.
    pub(crate) fn decode_public(
        &mut self,
        key_type: KeyType,
        der: &[u8],
    ) -> Result<PKey<Public>, ErrorStack> {
        let Some(decoder) = self.public.decoder(key_type) else {
            let key = PKey::public_key_from_der(der);
            drop(ErrorStack::get());
            return key;
        };
        // SAFETY: the reference is ours.
        decoder.decode(der).map(|key| unsafe { PKey::from_ptr(key.as_ptr()) })
    }
}

impl Decoders {
    fn new(structure: &'static CStr, selection: c_int) -> Decoders {
        let states = [const { State::Unused }; KeyType::COUNT];
        Decoders { structure, selection, states }
    }

    /// Made when it is first asked for.
    fn decoder(&mut self, key_type: KeyType) -> Option<&mut Decoder> {
        let state = self.states.get_mut(key_type as usize - 1)?;
        if let State::Unused = state {
            let decoder = Decoder::new(name(key_type), self.structure, self.selection);
            *state = decoder.map_or(State::Unavailable, State::Ready);
        }
        match state {
            State::Ready(decoder) => Some(decoder),
            State::Unused | State::Unavailable => None,
        }
    }
}

/// The key in any form of DER, of any type, at OpenSSL's own price. Leaves its error queue empty.
pub(crate) fn decode_any(der: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let key = PKey::private_key_from_der(der);
    overwrite_freed_copy(der.len());
    drop(ErrorStack::get());
    key
}

fn decode_slowly(der: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let key = PKey::private_key_from_pkcs8(der);
    overwrite_freed_copy(der.len());
    drop(ErrorStack::get());
    key
}

/// What OpenSSL's providers call the type.
fn name(key_type: KeyType) -> &'static CStr {
    match key_type {
        KeyType::Rsa => c"RSA",
        KeyType::RsaPss => c"RSA-PSS",
        KeyType::Ec => c"EC",
        KeyType::Ed25519 => c"ED25519",
        KeyType::Ed448 => c"ED448",
    }
}

/// One `OSSL_DECODER_CTX` and the place that it puts keys into.
struct Decoder {
    ctx: NonNull<ossl::OSSL_DECODER_CTX>,
    /// Owned, and at one address for life: the context keeps a pointer to it. NULL between calls.
    slot: NonNull<*mut ossl::EVP_PKEY>,
}

impl Decoder {
    fn new(name: &'static CStr, structure: &'static CStr, selection: c_int) -> Option<Decoder> {
        let slot = NonNull::from(Box::leak(Box::new(ptr::null_mut())));
        // SAFETY: the strings are static, so they outlive the context, which keeps the pointers to
        // the first two. The slot lives until Drop has freed the context. NULL asks for the
        // default library context and no properties.
        let ctx = unsafe {
            ossl::OSSL_DECODER_CTX_new_for_pkey(
                slot.as_ptr(),
                c"DER".as_ptr(),
                structure.as_ptr(),
                name.as_ptr(),
                selection,
                ptr::null_mut(),
                ptr::null(),
            )
        };
        drop(ErrorStack::get());
        let Some(ctx) = NonNull::new(ctx) else {
            // SAFETY: the slot was leaked above and no context points to it.
            drop(unsafe { Box::from_raw(slot.as_ptr()) });
            return None;
        };
        let decoder = Decoder { ctx, slot };
        // SAFETY: the context was made above and is owned by the value.
        let count = unsafe { ossl::OSSL_DECODER_CTX_get_num_decoders(ctx.as_ptr()) };
        (count > 0).then_some(decoder)
    }

    /// A reference to the key, which is the caller's.
    fn decode(&mut self, der: &[u8]) -> Result<NonNull<ossl::EVP_PKEY>, ErrorStack> {
        let mut data = der.as_ptr();
        let mut len = der.len();
        // SAFETY: the context and its slot are owned (`new`); OpenSSL reads `len` bytes at `data`
        // during the call only and moves `data` within them.
        let done =
            unsafe { ossl::OSSL_DECODER_from_data(self.ctx.as_ptr(), &mut data, &mut len) } == 1;
        if !done {
            self.free_slot();
        }
        let errors = ErrorStack::get();
        self.take().ok_or(errors)
    }

    /// What OpenSSL put into the slot, with the one reference to it.
    fn take(&mut self) -> Option<NonNull<ossl::EVP_PKEY>> {
        // SAFETY: the slot is owned and live, and nobody else accesses it between calls of OpenSSL.
        NonNull::new(unsafe { self.slot.as_ptr().replace(ptr::null_mut()) })
    }

    /// OpenSSL may have put something there before it failed.
    fn free_slot(&mut self) {
        if let Some(key) = self.take() {
            // SAFETY: the slot had the one reference.
            unsafe { ossl::EVP_PKEY_free(key.as_ptr()) }
        }
    }
}

/// OpenSSL frees its copy of the DER without wiping it (`decode_der2key.c`). An allocator gives away
/// first what was freed last: blocks of that size are taken and wiped.
fn overwrite_freed_copy(der_len: usize) {
    // The size that BUF_MEM_grow_clean(3) allocates for so many bytes.
    let size = (der_len + 3) / 3 * 4;
    let mut blocks: [Vec<u8>; 4] = Default::default();
    for block in &mut blocks {
        block.reserve_exact(size);
        block.resize(size, 0);
    }
    std::hint::black_box(&blocks);
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.free_slot();
        // SAFETY: both are owned and used no more; the context, which points to the slot, goes
        // first.
        unsafe {
            ossl::OSSL_DECODER_CTX_free(self.ctx.as_ptr());
            drop(Box::from_raw(self.slot.as_ptr()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::test_support::cpu_time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;

    /// P8: OpenSSL's copy too.
    #[test]
    fn no_copy_stays_on_the_heap() {
        let mut decoder = KeyDecoder::new();
        for (key_type, der) in &keys() {
            let size = (der.len() + 3) / 3 * 4;
            drop(decoder.decode(*key_type, der).unwrap());
            // The blocks that were freed last, without wiping them.
            let mut blocks: Vec<Vec<u8>> = (0..3).map(|_| Vec::with_capacity(size)).collect();
            for block in &mut blocks {
                // SAFETY: of its capacity; any byte will do.
                unsafe { block.set_len(size) };
                let rest = &der[24..];
                assert!(block.windows(rest.len()).all(|w| w != rest), "{key_type:?}");
            }
        }
    }

    fn keys() -> Vec<(KeyType, Vec<u8>)> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let rsa_der = rsa.private_key_to_pkcs8().unwrap();
        [
            (KeyType::Ec, PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()),
            (KeyType::Ed25519, PKey::generate_ed25519().unwrap()),
            (KeyType::Ed448, PKey::generate_ed448().unwrap()),
            (KeyType::Rsa, rsa),
        ]
        .map(|(key_type, key)| (key_type, key.private_key_to_pkcs8().unwrap()))
        .into_iter()
        .chain([(KeyType::RsaPss, rsa_pss_from_rsa(&rsa_der))])
        .collect()
    }

    /// rsaEncryption, 1.2.840.113549.1.1.1, becomes id-RSASSA-PSS, …10, without parameters.
    fn rsa_pss_from_rsa(der: &[u8]) -> Vec<u8> {
        let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let at = der.windows(oid.len()).position(|w| w == oid).unwrap();
        let mut der = der.to_vec();
        // The NULL after the OID goes: two bytes less in the outer and the inner SEQUENCE.
        der.drain(at + 9..at + 11);
        der[at + 8] = 0x0a;
        let len = u16::from_be_bytes([der[2], der[3]]) - 2;
        der[2..4].copy_from_slice(&len.to_be_bytes());
        der[at - 3] -= 2;
        der
    }

    fn assert_no_errors() {
        assert!(ErrorStack::get().errors().is_empty());
    }

    /// Each key that OpenSSL made was taken: once, and with its one reference.
    fn assert_slots_are_empty(decoder: &KeyDecoder) {
        for state in decoder.private.states.iter().chain(&decoder.public.states) {
            if let State::Ready(decoder) = state {
                // SAFETY: the slot is live for as long as the decoder.
                assert!(unsafe { *decoder.slot.as_ptr() }.is_null());
            }
        }
    }

    #[test]
    fn a_decoder_is_used_again_for_each_type() {
        let keys = keys();
        let mut decoder = KeyDecoder::new();
        for _ in 0..50 {
            for (key_type, der) in &keys {
                let key = decoder.decode(*key_type, der).unwrap();
                assert_no_errors();
                let expected = PKey::private_key_from_pkcs8(der).unwrap();
                assert!(key.public_eq(&expected), "{key_type:?}");
                assert_eq!(key.id(), expected.id());
                assert_eq!(key.private_key_to_pkcs8().unwrap(), *der, "{key_type:?}");
                let public = key.public_key_to_der().unwrap();
                let key = decoder.decode_public(*key_type, &public).unwrap();
                assert_no_errors();
                assert!(key.public_eq(&expected), "{key_type:?}");
                assert!(decoder.decode_public(*key_type, &public[..public.len() - 1]).is_err());
                assert_no_errors();
                assert_slots_are_empty(&decoder);
            }
        }
        for decoders in [&decoder.private, &decoder.public] {
            assert!(decoders.states.iter().all(|state| matches!(state, State::Ready(_))));
        }
    }

    #[test]
    fn a_bad_key_does_not_spoil_the_next() {
        let keys = keys();
        let mut decoder = KeyDecoder::new();
        for (key_type, der) in &keys {
            let mut flipped = der.clone();
            flipped[9] ^= 0xff;
            let bad: [&[u8]; 5] = [b"", b"0", &der[..der.len() - 1], &flipped, &[0; 64]];
            for bad in bad {
                assert!(decoder.decode(*key_type, bad).is_err(), "{key_type:?} {bad:02x?}");
                assert_no_errors();
                assert_slots_are_empty(&decoder);
                assert!(decoder.decode(*key_type, der).is_ok());
                assert_no_errors();
            }
        }
    }

    #[test]
    fn a_key_of_another_type_is_refused() {
        let keys = keys();
        let mut decoder = KeyDecoder::new();
        for (expected, _) in &keys {
            for (other, der) in keys.iter().filter(|(other, _)| other != expected) {
                assert!(decoder.decode(*expected, der).is_err(), "{other:?} as {expected:?}");
                assert_no_errors();
            }
        }
    }

    /// Alone, because other tests allocate meanwhile.
    #[test]
    #[ignore = "a measurement"]
    fn nothing_is_leaked() {
        let keys = keys();
        let rounds = |n: usize| {
            let mut decoder = KeyDecoder::new();
            for i in 0..n {
                for (key_type, der) in &keys {
                    drop(decoder.decode(*key_type, der).unwrap());
                    assert!(decoder.decode(*key_type, &der[..der.len() - 1]).is_err());
                }
                if i % 16 == 0 {
                    decoder = KeyDecoder::new();
                }
            }
        };
        rounds(100);
        let before = resident_kib();
        rounds(1_000);
        let grown = resident_kib().saturating_sub(before);
        // A key is more than 1 KiB: one that is lost at each call would be 5 MiB.
        assert!(grown < 1_000, "{grown} KiB");
    }

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// cargo test --lib decoder -- --ignored --nocapture
    #[test]
    #[ignore = "a measurement"]
    fn how_long_a_key_takes() {
        let mut decoder = KeyDecoder::new();
        for (key_type, der) in &keys() {
            let kept = cpu_time(1_000, || drop(decoder.decode(*key_type, der).unwrap()));
            let pkcs8 = cpu_time(500, || drop(PKey::private_key_from_pkcs8(der).unwrap()));
            let auto = cpu_time(500, || drop(PKey::private_key_from_der(der).unwrap()));
            println!("{key_type:?}: kept {kept:.1} us, PKCS82PKEY {pkcs8:.1}, d2i {auto:.1}");
        }
    }
}
