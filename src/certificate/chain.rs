//! Intermediates: their order, and one parsed chain for all sets of a worker that send it.

use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref, X509VerifyResult};

use super::error::SetError;

/// The intermediates that a leaf is sent with; may be empty.
pub(super) struct Chain {
    pub(super) certificates: Stack<X509>,
    /// Of their DER.
    pub(super) digest: Digest,
}

pub(super) type Digest = [u8; 32];

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

fn parse<T: AsRef<[u8]>>(ders: &[T], digest: Digest) -> Result<Chain, ErrorStack> {
    let mut certificates = Stack::new()?;
    for der in ders {
        certificates.push(X509::from_der(der.as_ref())?)?;
    }
    Ok(Chain { certificates, digest })
}

/// The chains of a process by their content. It holds the last few itself; others go with the last
/// set that sends them.
pub(crate) struct ChainCache {
    chains: HashMap<Digest, Weak<Chain>>,
    /// For who drops each set before it reads the next.
    recent: VecDeque<Rc<Chain>>,
    /// Pruned when there are more than this.
    limit: usize,
}

const LEAST_LIMIT: usize = 64;
const RECENT: usize = 8;

impl ChainCache {
    pub(crate) fn new() -> ChainCache {
        ChainCache { chains: HashMap::new(), recent: VecDeque::new(), limit: LEAST_LIMIT }
    }

    /// The chain of these certificates in DER, which were checked before.
    pub(super) fn parsed<T: AsRef<[u8]>>(&mut self, ders: &[T]) -> Result<Rc<Chain>, ErrorStack> {
        let digest = digest(ders);
        match self.chains.get(&digest).and_then(Weak::upgrade) {
            Some(chain) => Ok(chain),
            None => Ok(self.insert(parse(ders, digest)?)),
        }
    }

    /// The chain of these certificates in DER, below `leaf`, whose order is checked.
    pub(super) fn checked<T: AsRef<[u8]>>(
        &mut self,
        leaf: &X509Ref,
        ders: &[T],
    ) -> Result<Rc<Chain>, SetError> {
        let digest = digest(ders);
        let known = self.chains.get(&digest).and_then(Weak::upgrade);
        if let Some(chain) = known {
            // Its own order was checked when it became known.
            in_order(leaf, chain.certificates.iter().take(1).map(AsRef::as_ref))?;
            return Ok(chain);
        }
        let chain = parse(ders, digest).map_err(SetError::certificate)?;
        in_order(leaf, chain.certificates.iter().map(AsRef::as_ref))?;
        Ok(self.insert(chain))
    }

    fn insert(&mut self, chain: Chain) -> Rc<Chain> {
        let chain = Rc::new(chain);
        if self.chains.len() >= self.limit {
            self.prune();
        }
        self.chains.insert(chain.digest, Rc::downgrade(&chain));
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Rc::clone(&chain));
        chain
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

fn digest<T: AsRef<[u8]>>(ders: &[T]) -> Digest {
    let mut hash = Sha256::new();
    for der in ders.iter().map(AsRef::as_ref) {
        hash.update(&der.len().to_ne_bytes());
        hash.update(der);
    }
    hash.finish()
}
