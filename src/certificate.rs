//! What makes a good certificate set: PEM as operators write it, or our own DER, to a checked set.
//!
//! - `pem`: PEM text to blocks, strictly: a half-written file never passes.
//! - `bundle`: the body of a push to a set.
//! - `member`: one certificate with its chain and key; `leaf`, `chain`, `key`, `names`, `sans`:
//!   its parts; `der`: what they are read with where OpenSSL would take too long.
//! - `encoding`: a set to a record of the zone and back.
//!
//! No error says anything of the input but its kind, and every way out leaves OpenSSL's error queue
//! empty: one leftover makes NGINX close a good connection.

#[allow(dead_code)]
mod bundle;
mod chain;
mod der;
mod encoding;
mod error;
mod key;
mod leaf;
mod member;
mod names;
mod passwords;
mod pem;
mod sans;
#[cfg(test)]
pub(crate) mod test_support;

#[allow(unused_imports)]
pub(crate) use bundle::MAX_NAMES;
use chain::ChainCache;
#[allow(unused_imports)]
pub(crate) use encoding::{names_of_leaves, server_names_of};
use error::EmptyErrorQueue;
pub(crate) use error::SetError;
pub(crate) use member::{Input, Member, MemberInput, SecurityClass};
pub(crate) use names::Cover;
pub(crate) use passwords::{Passwords, TooLongLine};

use crate::ffi::decoder::KeyDecoder;
use crate::ffi::ec::Curves;
use crate::record::KeyType;
use crate::server_name::ServerName;

/// What parsing is faster with; each process has its own.
pub(crate) struct Parser {
    pub(crate) decoder: KeyDecoder,
    pub(crate) chains: ChainCache,
    curves: Curves,
}

impl Parser {
    pub(crate) fn new() -> Parser {
        Parser { decoder: KeyDecoder::new(), chains: ChainCache::new(), curves: Curves::default() }
    }
}

/// One certificate per key type, replaced as one unit (P1). Never empty.
pub(crate) struct CertificateSet {
    /// By key type.
    members: Box<[Member]>,
}

impl CertificateSet {
    /// A set of these; of two with one key type the one with the later notBefore. `None` when
    /// there is none.
    pub(crate) fn new(mut members: Vec<Member>) -> Option<CertificateSet> {
        members.sort_by_key(|m| (m.key_type(), std::cmp::Reverse(m.not_before())));
        members.dedup_by_key(|m| m.key_type());
        (!members.is_empty()).then(|| CertificateSet { members: members.into_boxed_slice() })
    }

    /// By key type.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Of its members.
    pub(crate) fn key_types(&self) -> impl Iterator<Item = KeyType> {
        self.members.iter().map(Member::key_type)
    }

    /// Whether the set is good for a server name; for a wildcard name, whether it was issued for
    /// that wildcard. All members must be.
    pub(crate) fn covers(&self, name: &ServerName) -> bool {
        self.matched(name).is_some()
    }

    /// How the set covers a name: as the member that does it least exactly.
    pub(crate) fn matched(&self, name: &ServerName) -> Option<Cover> {
        let wildcard = name.wildcard();
        self.members.iter().try_fold(Cover::Exact, |least, member| {
            Some(least.max(member.names().matched(name, wildcard.as_ref())?))
        })
    }

    /// Those of the names that the set is not good for, however many there are of both.
    pub(crate) fn uncovered(&self, names: &[ServerName]) -> Vec<ServerName> {
        let own = self.names().collect();
        names.iter().filter(|name| !names::covers(&own, name.as_str())).cloned().collect()
    }

    /// The names that all members are good for, in the form of `ServerName`, each once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        names::common(self.members.iter().map(Member::names))
    }

    /// This set and, of the key types that it lacks, the members of `other`: a push of some key
    /// types on top of what serves.
    pub(crate) fn with_members_of(&self, other: &CertificateSet) -> CertificateSet {
        let mut members = self.members.to_vec();
        for member in &other.members {
            if members.iter().all(|own| own.key_type() != member.key_type()) {
                members.push(member.clone());
            }
        }
        members.sort_by_key(Member::key_type);
        CertificateSet { members: members.into_boxed_slice() }
    }

    /// Whether both have the same leaves, chains and, by that, keys.
    pub(crate) fn is_same_as(&self, other: &CertificateSet) -> bool {
        let _queue = EmptyErrorQueue;
        self.members.len() == other.members.len()
            && self.members.iter().zip(&other.members).all(|(own, other)| own.is_same_as(other))
    }

    /// Whether all members have expired. Seconds since the epoch, as everywhere.
    pub(crate) fn expired_at(&self, now: i64) -> bool {
        self.members.iter().all(|m| m.expired_at(now))
    }

    /// Whether a member is not yet valid.
    pub(crate) fn not_yet_valid_at(&self, now: i64) -> bool {
        self.members.iter().any(|m| m.not_yet_valid_at(now))
    }

    /// The members to offer: those that are valid; all of them when none is.
    pub(crate) fn offered_at(&self, now: i64) -> impl Iterator<Item = &Member> {
        let is_valid = move |m: &Member| !m.expired_at(now) && !m.not_yet_valid_at(now);
        let none_is_valid = !self.members.iter().any(is_valid);
        self.members.iter().filter(move |m| none_is_valid || is_valid(m))
    }

    /// Whether a certificate of this set comes alone, where the other set sends intermediates, and neither
    /// itself nor what those lead to is its issuer. A CA signs with one intermediate today and with
    /// another tomorrow, so the issuers of both leaves need not be the same.
    pub(crate) fn lacks_intermediates_of(&self, other: &CertificateSet) -> bool {
        self.members.iter().any(|member| {
            let same_type = other.members.iter().find(|o| o.key_type() == member.key_type());
            let other = same_type.or(other.members.first());
            let needs =
                |other: &Member| member.chain().is_empty() && !member.is_below_root_of(other);
            other.is_some_and(|other| !other.chain().is_empty() && needs(other))
        })
    }

    /// Whether a chain of this set is shorter than that of `other`, which it is to replace: what a
    /// file looks like that was cut between two certificates. The issuers say nothing: a CA signs
    /// with one intermediate today and with another tomorrow.
    pub(crate) fn seems_cut_short(&self, other: &CertificateSet) -> bool {
        self.members.iter().any(|member| {
            let same_type = other.members.iter().find(|o| o.key_type() == member.key_type());
            let other = same_type.or(other.members.first());
            other.is_some_and(|other| member.chain().len() < other.chain().len())
        })
    }
}

#[cfg(test)]
mod tests;
