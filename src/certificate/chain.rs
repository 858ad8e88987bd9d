//! Intermediates: their order, and one parsed chain for all sets of a worker that send it.

use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::stack::{Stack, StackRef};
use openssl::x509::{X509, X509Ref, X509VerifyResult};

use super::error::SetError;

/// The intermediates that a leaf is sent with; may be empty.
pub(super) struct Chain {
    pub(super) certificates: Stack<X509>,
    /// Of their DER.
    pub(super) digest: Digest,
}

pub(super) type Digest = [u8; 32];

/// Whether `issuer` comes next after `subject`: by names and key identifiers, and by the signature, so
/// that no certificate passes that was overwritten halfway.
fn check_link(issuer: &X509Ref, subject: &X509Ref) -> Result<(), SetError> {
    if issuer.issued(subject) != X509VerifyResult::OK {
        Err(SetError::WrongOrder)
    } else if !has_signed(issuer, subject) {
        Err(SetError::NotSigned)
    } else {
        Ok(())
    }
}

/// Whether each certificate was issued by the next, and signed with its key.
fn check_order(chain: &StackRef<X509>) -> Result<(), SetError> {
    let mut pairs = chain.iter().zip(chain.iter().skip(1));
    pairs.try_for_each(|(subject, issuer)| check_link(issuer, subject))
}

fn has_signed(issuer: &X509Ref, subject: &X509Ref) -> bool {
    issuer.public_key().and_then(|key| subject.verify(&key)).unwrap_or(false)
}

fn parse<T: AsRef<[u8]>>(ders: &[T]) -> Result<Chain, ErrorStack> {
    let mut certificates = Stack::new()?;
    // As OpenSSL read it: without what may have followed in the input.
    let mut read = Vec::with_capacity(ders.len());
    for der in ders {
        let certificate = X509::from_der(der.as_ref())?;
        read.push(certificate.to_der()?);
        certificates.push(certificate)?;
    }
    Ok(Chain { certificates, digest: digest(&read) })
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
        match self.known(&digest(ders)) {
            Some(chain) => Ok(chain),
            None => Ok(self.insert(parse(ders)?)),
        }
    }

    /// The chain of these certificates in DER, below `leaf`, whose order is checked.
    pub(super) fn checked<T: AsRef<[u8]>>(
        &mut self,
        leaf: &X509Ref,
        ders: &[T],
    ) -> Result<Rc<Chain>, SetError> {
        let check_leaf = |chain: &Chain| {
            chain.certificates.get(0).map_or(Ok(()), |issuer| check_link(issuer, leaf))
        };
        if let Some(chain) = self.known(&digest(ders)) {
            // Its own order was checked when it became known.
            check_leaf(&chain)?;
            return Ok(chain);
        }
        let chain = parse(ders).map_err(SetError::certificate)?;
        check_leaf(&chain)?;
        check_order(&chain.certificates)?;
        Ok(self.insert(chain))
    }

    fn known(&self, digest: &Digest) -> Option<Rc<Chain>> {
        self.chains.get(digest).and_then(Weak::upgrade)
    }

    fn insert(&mut self, chain: Chain) -> Rc<Chain> {
        // It may have been known but for what followed in the input.
        if let Some(known) = self.known(&chain.digest) {
            return known;
        }
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
