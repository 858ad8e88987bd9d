//! Intermediates: their order, and one parsed chain for all sets of a worker that send it.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref, X509VerifyResult};

use super::error::SetError;

/// The intermediates that a leaf is sent with; may be empty.
pub(super) type Chain = Rc<Stack<X509>>;

/// Whether each certificate was issued by the next: by its names and key identifiers, and by its
/// signature.
pub(super) fn in_order<'a>(
    leaf: &'a X509Ref,
    chain: impl Iterator<Item = &'a X509Ref>,
) -> Result<(), SetError> {
    let mut subject = leaf;
    for issuer in chain {
        if issuer.issued(subject) != X509VerifyResult::OK || !has_signed(issuer, subject) {
            return Err(SetError::WrongOrder);
        }
        subject = issuer;
    }
    Ok(())
}

fn has_signed(issuer: &X509Ref, subject: &X509Ref) -> bool {
    issuer.public_key().and_then(|key| subject.verify(&key)).unwrap_or(false)
}

pub(super) fn stack(certificates: Vec<X509>) -> Result<Stack<X509>, ErrorStack> {
    let mut stack = Stack::new()?;
    for certificate in certificates {
        stack.push(certificate)?;
    }
    Ok(stack)
}

/// The chains of a worker by their content. It holds none itself: a chain goes with the last set
/// that sends it.
pub(crate) struct ChainCache {
    chains: HashMap<[u8; 32], Weak<Stack<X509>>>,
    /// Pruned when there are more than this.
    limit: usize,
}

const LEAST_LIMIT: usize = 64;

impl ChainCache {
    pub(crate) fn new() -> ChainCache {
        ChainCache { chains: HashMap::new(), limit: LEAST_LIMIT }
    }

    /// The chain of these certificates in DER.
    pub(super) fn parsed<T: AsRef<[u8]>>(&mut self, ders: &[T]) -> Result<Chain, ErrorStack> {
        self.get_or_make(key(ders), || {
            let certificates = ders.iter().map(|der| X509::from_der(der.as_ref()));
            stack(certificates.collect::<Result<_, _>>()?).map(Rc::new)
        })
    }

    /// A chain that is equal to this one, which is kept when there is none.
    pub(super) fn shared(&mut self, chain: &Chain) -> Result<Chain, ErrorStack> {
        let ders = chain.iter().map(|c| c.to_der()).collect::<Result<Vec<_>, _>>()?;
        self.get_or_make(key(&ders), || Ok(Rc::clone(chain)))
    }

    fn get_or_make(
        &mut self,
        key: [u8; 32],
        make: impl FnOnce() -> Result<Chain, ErrorStack>,
    ) -> Result<Chain, ErrorStack> {
        if let Some(chain) = self.chains.get(&key).and_then(Weak::upgrade) {
            return Ok(chain);
        }
        let chain = make()?;
        if self.chains.len() >= self.limit {
            self.prune();
        }
        self.chains.insert(key, Rc::downgrade(&chain));
        Ok(chain)
    }

    /// Forgets the chains that no set holds any more.
    pub(crate) fn prune(&mut self) {
        self.chains.retain(|_, chain| chain.strong_count() > 0);
        self.limit = LEAST_LIMIT.max(2 * self.chains.len());
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.chains.len()
    }
}

fn key<T: AsRef<[u8]>>(ders: &[T]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for der in ders.iter().map(AsRef::as_ref) {
        hash.update(&der.len().to_ne_bytes());
        hash.update(der);
    }
    hash.finish()
}
