//! Sets that serve every name of their certificate: pushed ones, and those of `load=startup`.

use std::cmp::Reverse;

use super::{Candidate, Choice, Found, Load, Matched, Resolver};
use crate::certificate::Cover;
use crate::host::Host;
use crate::server_name::ServerName;
use crate::store::{Lookup, Serving};

impl Resolver {
    /// Offers those for a name, in their order. False when a change got in the way of the search:
    /// then there may be others.
    pub(super) fn offer_serving(
        &mut self,
        name: &ServerName,
        wildcard: Option<&ServerName>,
        choice: &mut Choice,
        host: &dyn Host,
    ) -> bool {
        // In a zone that was read at startup before, a lazy worker goes by the files.
        if self.settings.load == Load::Lazy {
            return true;
        }
        let Some(sets) = self.serving(name, wildcard) else { return false };
        for set in sets {
            if choice.is_made() {
                break;
            }
            if let Some((candidate, matched)) = self.offer_set(&set, name, host) {
                choice.consider(candidate, matched);
            }
        }
        true
    }

    /// The sets that may serve a name, the one to try first at the front: of that NAME, then for
    /// the name itself before those for its wildcard, the later notBefore, the smaller NAME.
    fn serving(&self, name: &ServerName, wildcard: Option<&ServerName>) -> Option<Vec<Serving>> {
        let mut sets = Vec::new();
        for (is_wildcard, name_) in [(false, Some(name)), (true, wildcard)] {
            let Some(name_) = name_ else { continue };
            match self.store.serving(name_.as_str()) {
                Lookup::Found(found) => sets.extend(found.into_iter().map(|s| (is_wildcard, s))),
                Lookup::Absent => {}
                Lookup::Contended => return None,
            }
        }
        sets.sort_by(|(a_wildcard, a), (b_wildcard, b)| {
            let rank = |is_wildcard: bool, set: &Serving| {
                (set.name != name.as_str(), is_wildcard, Reverse(set.not_before))
            };
            rank(*a_wildcard, a).cmp(&rank(*b_wildcard, b)).then_with(|| a.name.cmp(&b.name))
        });
        Some(sets.into_iter().map(|(_, set)| set).collect())
    }

    fn offer_set(
        &mut self,
        set: &Serving,
        name: &ServerName,
        host: &dyn Host,
    ) -> Option<(Candidate, Matched)> {
        let own = ServerName::from_operator(set.name.as_bytes())?;
        let parsed = self.parsed(&own, set.entry.id, host)?;
        let matched = match parsed.set.matched(name)? {
            Cover::Exact => Matched::Exact,
            Cover::Wildcard => Matched::Wildcard,
        };
        let has_expired = parsed.set.expired_at(host.unix_seconds());
        let found = Found::in_zone(parsed);
        let candidate =
            if has_expired { Candidate::Expired(found) } else { Candidate::Serves(found) };
        Some((candidate, matched))
    }
}
