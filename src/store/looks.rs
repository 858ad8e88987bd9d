//! What is noted of a set that stays: how fresh it is, and what its files looked like. By whoever
//! holds the zone's lock.

use super::index::{self, Spot};
use super::name;
use super::word::Link;
use super::{SetId, Writer, hash};

/// A look at the files of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// As `Entry::stat`.
    pub(crate) stat: u64,
    /// As `Entry::seen`.
    pub(crate) seen: u64,
    /// Drawn before the look.
    pub(crate) ticket: u64,
    /// Of the look; monotonic.
    pub(crate) now_msec: u64,
}

impl Writer<'_> {
    /// Notes that the same content was read again, with `ticket` drawn before, from files with this
    /// `stat` at `now_msec`: the set is as fresh as that, and no longer a last good one. Nothing
    /// when it was noted to be fresher. False when the name has another set by now.
    pub(crate) fn restamp(
        &mut self,
        name: &str,
        id: SetId,
        ticket: u64,
        stat: u64,
        now_msec: u64,
    ) -> bool {
        let Some(spot) = self.spot_of(name, id) else {
            return false;
        };
        if ticket >= spot.name.about.ticket {
            let unit = spot.link.unit();
            name::set_set(&self.zone, unit, spot.name.set.with(Link::LAST_GOOD, false));
            name::set_ticket(&self.zone, unit, ticket);
            name::set_look(&self.zone, unit, stat, now_msec);
        }
        true
    }

    /// Claims the next look at the files of a set: true, and the last look is now, when the name
    /// still has that set and its last look is still the one that was `seen` (`Entry::looked_at`).
    /// Of all that saw the same look, one gets true, if `now_msec` is a later moment.
    pub(crate) fn claim_look(&mut self, name: &str, id: SetId, seen: u64, now_msec: u64) -> bool {
        match self.spot_of(name, id) {
            Some(spot) if spot.name.about.looked == seen => {
                name::set_look(&self.zone, spot.link.unit(), spot.name.about.stat, now_msec);
                true
            }
            _ => false,
        }
    }

    /// Notes what the files of a set look like now. False, and nothing noted, when the name has
    /// another set by now.
    pub(crate) fn note_stat(&mut self, name: &str, id: SetId, stat: u64, now_msec: u64) -> bool {
        match self.spot_of(name, id) {
            Some(spot) => {
                name::set_look(&self.zone, spot.link.unit(), stat, now_msec);
                true
            }
            None => false,
        }
    }

    /// Notes a look at the files of a set that stays, whatever they hold, so that they are not read
    /// again before they change. False, and nothing noted, when the name has another set by now.
    pub(crate) fn note_look(&mut self, name: &str, id: SetId, look: Look) -> bool {
        let Some(spot) = self.spot_of(name, id) else {
            return false;
        };
        let unit = spot.link.unit();
        name::set_look(&self.zone, unit, look.stat, look.now_msec);
        name::set_seen(&self.zone, unit, look.seen);
        // Last: whoever sees that the look came after a clear sees the look.
        name::set_ticket(&self.zone, unit, look.ticket.max(spot.name.about.ticket));
        true
    }

    /// Notes why the last change of a name's set failed, as a number; 0 that none did. False when
    /// the name has no set.
    pub(crate) fn set_failure(&mut self, name: &str, failure: u64) -> bool {
        match self.locate(name) {
            Some(spot) => {
                name::set_failure(&self.zone, spot.link.unit(), failure);
                true
            }
            None => false,
        }
    }

    /// Notes whether the set serves only because what came after it is bad or gone: such a set is
    /// evicted last. A change is announced, so that all workers say so. Nothing when the name has
    /// no set.
    pub(crate) fn set_last_good(&mut self, name: &str, last_good: bool) {
        if let Some(spot) = self.locate(name) {
            let set = spot.name.set.with(Link::LAST_GOOD, last_good);
            if set != spot.name.set {
                name::set_set(&self.zone, spot.link.unit(), set);
                index::announce(&self.zone, &[hash::of_name(name.as_bytes())]);
            }
        }
    }

    /// Where the name is, while it has that set.
    fn spot_of(&self, name: &str, id: SetId) -> Option<Spot> {
        self.locate(name).filter(|spot| spot.name.set.without_flags().0 == id.0)
    }

    fn locate(&self, name: &str) -> Option<Spot> {
        let hash = hash::of_name(name.as_bytes());
        self.repairing(|| index::locate(&self.zone, name.as_bytes(), hash)).ok().flatten()
    }
}
