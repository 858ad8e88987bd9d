//! What the candidates for a name gave, and which of them is taken.

use std::rc::Rc;

use super::from_files::LookContext;
use super::{Matched, Status};
use crate::worker_cache::Parsed;

/// What one candidate gave.
pub(super) struct Found {
    pub(super) parsed: Rc<Parsed>,
    pub(super) status: Status,
    /// As in `Entry`.
    pub(super) look_again: u64,
    pub(super) is_published: bool,
}

impl Found {
    /// A set that serves until it is replaced in the zone.
    pub(super) fn in_zone(parsed: Rc<Parsed>) -> Found {
        Found { parsed, status: Status::Zone, look_again: 0, is_published: true }
    }
}

/// What a look at one candidate came to.
pub(super) enum Candidate {
    Serves(Found),
    /// It serves, but all its certificates have expired: only when there is nothing better.
    Expired(Found),
    /// `look_again` as in `Entry`: when its files may be good.
    Nothing {
        look_again: u64,
    },
}

/// Only a set that covers the name is taken.
pub(super) fn offer(found: Found, look: &LookContext<'_>) -> Candidate {
    if !found.parsed.set.covers(look.name) {
        Candidate::Nothing { look_again: found.look_again }
    } else if found.parsed.set.expired_at(look.host.unix_seconds()) {
        Candidate::Expired(found)
    } else {
        Candidate::Serves(found)
    }
}

/// The candidate to take: the first that serves, else the first that has expired.
#[derive(Default)]
pub(super) struct Choice {
    serves: Option<(Found, Matched)>,
    expired: Option<(Found, Matched)>,
    /// A candidate that may become good is looked at again, whatever serves in the meantime.
    pending: u64,
}

impl Choice {
    pub(super) fn consider(&mut self, candidate: Candidate, matched: Matched) {
        match candidate {
            Candidate::Serves(found) => {
                self.serves.get_or_insert((found, matched));
            }
            Candidate::Expired(found) => {
                self.pending = sooner(self.pending, found.look_again);
                self.expired.get_or_insert((found, matched));
            }
            Candidate::Nothing { look_again } => self.pending = sooner(self.pending, look_again),
        }
    }

    pub(super) fn is_made(&self) -> bool {
        self.serves.is_some()
    }

    pub(super) fn made(self) -> Option<(Found, Matched)> {
        let (found, matched) = self.serves.or(self.expired)?;
        let look_again = sooner(found.look_again, self.pending);
        Some((Found { look_again, ..found }, matched))
    }
}

/// The earlier of two times at which to look again; 0 is never.
pub(super) fn sooner(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}
