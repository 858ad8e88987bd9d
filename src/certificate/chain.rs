//! Intermediates that are shared by the parsed sets of a worker.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::stack::Stack;
use openssl::x509::X509;

/// A chain as `SSL_use_cert_and_key()` takes it, without the leaf.
pub(crate) type Chain = Rc<Stack<X509>>;

/// The chains that parsed sets hold, by content. 10,000 sets of one CA hold one parsed chain.
#[derive(Default)]
pub(crate) struct ChainCache(HashMap<[u8; 32], Weak<Stack<X509>>>);

impl ChainCache {
    pub(crate) fn new() -> ChainCache {
        ChainCache::default()
    }

    /// The chain of these certificates, DER in the order in which they are sent.
    pub(super) fn get(&mut self, ders: &[Vec<u8>]) -> Result<Chain, ErrorStack> {
        let mut hasher = Sha256::new();
        for der in ders {
            hasher.update(&(der.len() as u64).to_be_bytes());
            hasher.update(der);
        }
        let key = hasher.finish();
        if let Some(chain) = self.0.get(&key).and_then(Weak::upgrade) {
            return Ok(chain);
        }
        let mut chain = Stack::new()?;
        for der in ders {
            chain.push(X509::from_der(der)?)?;
        }
        let chain = Rc::new(chain);
        self.0.insert(key, Rc::downgrade(&chain));
        Ok(chain)
    }

    /// Forgets the chains that nobody holds.
    pub(crate) fn prune(&mut self) {
        self.0.retain(|_, chain| chain.strong_count() > 0);
    }
}
