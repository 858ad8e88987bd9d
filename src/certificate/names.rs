//! The names that a certificate is good for.

use std::collections::HashSet;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::x509::{X509, X509Ref};

use super::sans;
use crate::server_name::ServerName;

/// How a certificate covers a name; the more exact, the less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cover {
    Exact,
    Wildcard,
}

/// The names of a leaf in the form of `ServerName`, one on each line, so that a certificate costs
/// one allocation. Names that no client can ask for are left out.
#[derive(Clone)]
pub(crate) struct Names(Box<str>);

impl Names {
    /// The DNS names of the subjectAltName; without any, the CN (RFC 6125, section 6.4.4).
    pub(super) fn of(leaf: &X509Ref) -> Names {
        let mut names = String::new();
        let mut add = |name: &[u8]| {
            if let Some(name) = normal(name) {
                names.push_str(name.as_str());
                names.push('\n');
            }
        };
        let mut has_dns = false;
        if let Some(sans) = leaf.subject_alt_names() {
            for name in sans.iter().filter_map(|san| san.dnsname()) {
                has_dns = true;
                add(name.as_bytes());
            }
        }
        if !has_dns {
            for entry in leaf.subject_name().entries_by_nid(Nid::COMMONNAME) {
                add(entry.data().as_slice());
            }
        }
        Names(names.into_boxed_str())
    }

    /// As `of()`, of a leaf whose DER is at hand too.
    pub(super) fn of_both(leaf: &X509Ref, der: &[u8]) -> Names {
        sans::dns_names(der).map_or_else(|| Names::of(leaf), Names::of_dns)
    }

    /// As `of()`, of a leaf that was checked before: its key is not looked at, if that can be helped.
    pub(super) fn of_der(leaf: &[u8]) -> Result<Names, ErrorStack> {
        match sans::dns_names(leaf) {
            Some(dns) => Ok(Names::of_dns(dns)),
            None => X509::from_der(leaf).map(|leaf| Names::of(&leaf)),
        }
    }

    fn of_dns(dns: Vec<&[u8]>) -> Names {
        let names = dns.into_iter().filter_map(normal);
        let lines = names.fold(String::new(), |lines, name| lines + name.as_str() + "\n");
        Names(lines.into_boxed_str())
    }

    /// How the names cover `name`, whose wildcard is `wildcard`.
    pub(super) fn matched(
        &self,
        name: &ServerName,
        wildcard: Option<&ServerName>,
    ) -> Option<Cover> {
        if self.has(name) {
            Some(Cover::Exact)
        } else if wildcard.is_some_and(|wildcard| self.has(wildcard)) {
            Some(Cover::Wildcard)
        } else {
            None
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    fn has(&self, name: &ServerName) -> bool {
        self.0.lines().any(|own| own == name.as_str())
    }
}

/// The names that all of these are good for, each once.
pub(super) fn common<'a>(
    all: impl Iterator<Item = &'a Names> + Clone,
) -> impl Iterator<Item = &'a str> {
    let sets: Vec<HashSet<&str>> = all.clone().map(|names| names.iter().collect()).collect();
    let mut seen = HashSet::new();
    let names = all.flat_map(Names::iter).filter(move |name| seen.insert(*name));
    names.filter(move |name| sets.iter().all(|set| covers(set, name)))
}

/// Whether one of the names is this one, or its wildcard.
pub(super) fn covers(names: &HashSet<&str>, name: &str) -> bool {
    let wildcard = || ServerName::from_operator(name.as_bytes()).and_then(|name| name.wildcard());
    names.contains(name) || wildcard().is_some_and(|wildcard| names.contains(wildcard.as_str()))
}

/// How many names a leaf lists at the most, good ones or not.
pub(super) fn count(leaf: &X509Ref) -> usize {
    let sans = leaf.subject_alt_names().map_or(0, |sans| sans.len());
    sans.max(leaf.subject_name().entries_by_nid(Nid::COMMONNAME).count())
}

/// A DNS name as a `ServerName`, `*.x` as `_.x`. A name that is written `_.x` is no wildcard.
fn normal(name: &[u8]) -> Option<ServerName> {
    if name.starts_with(b"_.") { None } else { ServerName::from_operator(name) }
}
