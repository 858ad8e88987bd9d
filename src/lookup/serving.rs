//! Sets that serve every name of their certificate: pushed ones, and those of `load=startup`. In a lazy
//! zone their own files are looked at, too.

use super::beside::Beside;
use super::{Candidate, Choice, Found, Load, LookContext, Matched, Resolver, Status};
use crate::certificate::Cover;
use crate::precedence::in_order;
use crate::server_name::ServerName;
use crate::store::{Lookup, Serving};

/// How often the search begins anew because files took the place of a set.
pub(super) const MOST_CHANGES: usize = 4;

impl Resolver {
    /// Offers those for a name, in their order. `names` are the name and those that decide besides,
    /// the name's wildcard and parent. `None` when a change got in the way of the search: then there
    /// may be others.
    pub(super) fn offer_serving<'a, I>(
        &mut self,
        names: impl Fn() -> I,
        look: &LookContext<'_>,
    ) -> Option<Choice>
    where
        I: Iterator<Item = &'a ServerName>,
    {
        let wildcard = look.name.wildcard();
        for _ in 0..MOST_CHANGES {
            let mut sets = in_order(&self.store, look.name, wildcard.as_ref())?;
            if self.settings.load == Load::Lazy {
                self.add_for_looks(names().skip(1), &mut sets);
            }
            if let Some(choice) = self.offer_in_order(&sets, look) {
                return Some(choice);
            }
            look.stamps.set(look.stamps.get().retake(&self.store, names())?);
        }
        None
    }

    /// Sets of the wildcard and the parent that do not serve the name, but may when their files are
    /// renewed.
    fn add_for_looks<'a>(
        &self,
        names: impl Iterator<Item = &'a ServerName>,
        sets: &mut Vec<Serving>,
    ) {
        for name in names {
            let Lookup::Found(entry) = self.store.find(name.as_str()) else { continue };
            if !entry.is_lazy() && sets.iter().all(|set| set.entry.id != entry.id) {
                sets.push(Serving {
                    name: name.as_str().to_owned(),
                    entry,
                    not_before: 0,
                    not_after: 0,
                });
            }
        }
    }

    /// `None` when another set has the place of one of these by now.
    fn offer_in_order(&mut self, sets: &[Serving], look: &LookContext<'_>) -> Option<Choice> {
        let mut choice = Choice::default();
        for set in sets {
            if choice.is_made() {
                break;
            }
            let Some(own) = ServerName::from_operator(set.name.as_bytes()) else { continue };
            let look = LookContext { present: Some(&set.entry), ..*look };
            let (parsed, found) = match self.look_beside(&own, &set.entry, &look) {
                Beside::Changed => return None,
                Beside::Own(parsed) => {
                    (Some(parsed), (Status::File, self.look_again(look.now), false))
                }
                Beside::Stays { look_again } => {
                    let parsed = self.parsed(&own, set.entry.id, look.host);
                    (parsed, (Status::Zone, look_again, true))
                }
            };
            let Some(parsed) = parsed else { continue };
            let (status, look_again, is_published) = found;
            let (candidate, matched) =
                offer_set(Found { parsed, status, look_again, is_published }, &look);
            choice.consider(candidate, matched);
        }
        Some(choice)
    }
}

fn offer_set(found: Found, look: &LookContext<'_>) -> (Candidate, Matched) {
    let matched = match found.parsed.set.matched(look.name) {
        Some(Cover::Exact) => Matched::Exact,
        Some(Cover::Wildcard) => Matched::Wildcard,
        None => {
            return (Candidate::Nothing { look_again: found.look_again }, Matched::Exact);
        }
    };
    let has_expired = found.parsed.set.expired_at(look.host.unix_seconds());
    let candidate = if has_expired { Candidate::Expired(found) } else { Candidate::Serves(found) };
    (candidate, matched)
}
