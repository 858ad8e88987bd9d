//! What all sets come to together, without a look at each of them: what was found out of a group of
//! buckets holds until that changes.

use std::time::Instant;

use super::{Store, Surveyed, groups, walk};
use crate::record::Source;

/// A lazy set that was not served for so long is a name that nobody has any more.
pub(crate) const IDLE_MSEC: u64 = 7 * 24 * 60 * 60 * 1_000;

impl Surveyed {
    /// Whether nobody has it any more; `now` is on the clock of `used_msec`.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        self.source == Source::Lazy && now > self.idle_after()
    }

    fn idle_after(&self) -> u64 {
        // 0 is not known: it may have been a moment ago.
        if self.used_msec == 0 { u64::MAX } else { self.used_msec.saturating_add(IDLE_MSEC) }
    }
}

/// What sets come to, without those that are idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) soonest_not_after: Option<i64>,
    /// Those whose last update failed.
    pub(crate) failing: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, set: &Surveyed) {
        self.join(Totals {
            soonest_not_after: set.members.iter().map(|member| member.not_after).min(),
            failing: u64::from(set.last_good || set.failure != 0),
        });
    }

    fn join(&mut self, other: Totals) {
        let ends = self.soonest_not_after.into_iter().chain(other.soonest_not_after);
        self.soonest_not_after = ends.min();
        self.failing += other.failing;
    }
}

/// What was found out of a group.
#[derive(Clone, Copy)]
struct Known {
    /// As they were before it was found out; `None`: it never was.
    changes: Option<u64>,
    /// Until one more set is idle, monotonic ms.
    until: u64,
    totals: Totals,
}

/// What a process has found out of a zone.
#[derive(Default)]
pub(crate) struct Survey(Vec<Known>);

impl Survey {
    /// Goes on from `place`, which is 0 at first, until `end` at the latest but for one group at
    /// least; `None`: to be called again.
    pub(crate) fn advance(
        &mut self,
        store: &Store,
        place: &mut usize,
        now: u64,
        end: Instant,
    ) -> Option<Totals> {
        let zone = &store.zone;
        let unknown = Known { changes: None, until: 0, totals: Totals::default() };
        self.0.resize(zone.geometry.group_count(), unknown);
        for (group, known) in self.0.iter_mut().enumerate().skip(*place) {
            let changes = Some(groups::changes(zone, group));
            if known.changes == changes && now <= known.until {
                continue;
            }
            *known = Known { changes, ..look(store, group, now) };
            *place = group + 1;
            if Instant::now() >= end {
                return None;
            }
        }
        let mut totals = Totals::default();
        self.0.iter().for_each(|known| totals.join(known.totals));
        Some(totals)
    }
}

fn look(store: &Store, group: usize, now: u64) -> Known {
    let mut found = Known { changes: None, until: u64::MAX, totals: Totals::default() };
    walk::survey(&store.zone, groups::buckets(&store.zone, group), &mut |set| {
        if set.is_idle(now) {
            return;
        }
        found.totals.add(set);
        if set.source == Source::Lazy {
            found.until = found.until.min(set.idle_after());
        }
    });
    found
}
