//! The DNS names that a leaf is for.

use openssl::nid::Nid;
use openssl::x509::X509Ref;

use crate::server_name::ServerName;

/// The names of a leaf in lower case without a trailing dot; wildcards as `*.parent`.
#[derive(Debug)]
pub(super) struct Names(Box<[Box<str>]>);

impl Names {
    /// The DNS names of subjectAltName; a leaf without any counts its common name (RFC 6125,
    /// section 6.4.4).
    pub(super) fn of(leaf: &X509Ref) -> Names {
        let mut names: Vec<Box<str>> = Vec::new();
        for name in leaf.subject_alt_names().iter().flatten() {
            if let Some(name) = name.dnsname() {
                names.push(normal(name));
            }
        }
        if names.is_empty() {
            for entry in leaf.subject_name().entries_by_nid(Nid::COMMONNAME) {
                if let Ok(name) = entry.data().to_string() {
                    names.push(normal(&name));
                }
            }
        }
        Names(names.into_boxed_slice())
    }

    /// Whether a server name is among them. A wildcard covers one label; the wildcard name `_.x`
    /// asks for `*.x` itself.
    pub(super) fn cover(&self, name: &ServerName) -> bool {
        let name = name.as_str();
        let (first, parent) = match name.split_once('.') {
            Some((first, parent)) => (first, Some(parent)),
            None => (name, None),
        };
        self.0.iter().any(|known| {
            (first != "_" && **known == *name)
                || known.strip_prefix("*.").is_some_and(|p| Some(p) == parent)
        })
    }
}

fn normal(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into_boxed_str()
}
