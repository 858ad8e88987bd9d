//! Which of several sets serves a name: the rule for sets that serve all names of their certificate.

use std::cmp::Reverse;

use crate::server_name::ServerName;
use crate::store::{Lookup, Serving, Store};

/// The sets that may serve a name, the one to try first at the front: of that NAME, then for the
/// name itself before those for its wildcard, the later notBefore, the smaller NAME. Of a wildcard, as
/// for the names below it: no client asks for the wildcard itself, so no NAME goes first. Whether a set
/// serves the name, its certificate says. `None` when a change got in the way of the search.
pub(crate) fn in_order(
    store: &Store,
    name: &ServerName,
    wildcard: Option<&ServerName>,
) -> Option<Vec<Serving>> {
    let mut sets = Vec::new();
    for (is_wildcard, name_) in [(false, Some(name)), (true, wildcard)] {
        let Some(name_) = name_ else { continue };
        match store.serving(name_.as_str()) {
            Lookup::Found(found) => sets.extend(found.into_iter().map(|s| (is_wildcard, s))),
            Lookup::Absent => {}
            Lookup::Contended => return None,
        }
    }
    sets.sort_by(|(a_wildcard, a), (b_wildcard, b)| {
        let rank = |is_wildcard: bool, set: &Serving| {
            let is_namesake = set.name == name.as_str() && !name.is_wildcard();
            (!is_namesake, is_wildcard, Reverse(set.not_before))
        };
        rank(*a_wildcard, a).cmp(&rank(*b_wildcard, b)).then_with(|| a.name.cmp(&b.name))
    });
    Some(sets.into_iter().map(|(_, set)| set).collect())
}
