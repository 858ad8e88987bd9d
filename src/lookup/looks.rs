//! `valid=`: when the files of a set that serves are looked at again, and by whom.
//!
//! A timer looks at the files of names that are being used, so that no handshake waits for a file
//! system; a handshake looks itself when it comes for a name that nobody used for that long. Of all
//! workers one looks, which it tells the others by the time of the last look in the zone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::{LOOK_AGAIN_MSEC, LookContext, Resolver};
use crate::host::Host;
use crate::server_name::ServerName;
use crate::store;

/// How much later than the timer a handshake looks at files that are good, ms.
pub(super) const PATIENCE_MSEC: u64 = 1_000;
/// At most so many names are looked at in one turn of the event loop, and for so long.
const MAX_LOOKS: usize = 256;
const MAX_TURN: Duration = Duration::from_millis(10);

/// When the timer looks for an answer of the worker cache, by `Entry::look_again`; 0 is never.
pub(super) fn planned_for(look_again: u64, is_last_good: bool) -> u64 {
    if is_last_good { look_again } else { look_again.saturating_sub(PATIENCE_MSEC) }
}

/// The names of the worker cache whose files are to be looked at, by time in monotonic ms. One that
/// is not what `Entry::planned` says is void.
#[derive(Default)]
pub(super) struct Looks(BinaryHeap<Reverse<(u64, ServerName)>>);

impl Looks {
    /// Plans a look; nothing when `at` is 0 or not before the one that is planned already. The time
    /// that is planned then.
    pub(super) fn plan(&mut self, name: &ServerName, at: u64, planned: u64) -> u64 {
        if at == 0 || (planned != 0 && planned <= at) {
            return planned;
        }
        self.0.push(Reverse((at, name.clone())));
        at
    }

    fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    fn due(&mut self, now: u64) -> Option<(u64, ServerName)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(look)| look)
    }
}

/// Whether it is this worker's turn to look at files.
enum Turn {
    Mine,
    /// Another process looked meanwhile, or is writing.
    NotNow,
}

impl Resolver {
    /// Looks at files that are due. When to call again at the latest, monotonic ms; `None` when
    /// nothing is planned.
    pub(crate) fn look_around(&mut self, host: &dyn Host) -> Option<u64> {
        let now = host.monotonic_msec();
        let begin = Instant::now();
        for _ in 0..MAX_LOOKS {
            if begin.elapsed() > MAX_TURN {
                break;
            }
            let Some((at, name)) = self.looks.due(now) else { break };
            let Some(entry) = self.cache.last_mut(name.as_str().as_bytes()) else { continue };
            if entry.planned != at {
                continue;
            }
            entry.planned = 0;
            let due = planned_for(entry.look_again, entry.is_last_good);
            if due > now {
                entry.planned = self.looks.plan(&name, due, 0);
            } else if due != 0 && entry.touched > entry.made {
                self.look_up(&name, now, 0, host);
            }
            // One that nobody used meanwhile is looked at in the next handshake for it.
        }
        self.drop_void_looks();
        self.looks.next()
    }

    /// Keeps the looks within twice the names, whatever comes and goes.
    fn drop_void_looks(&mut self) {
        if self.looks.0.len() > 2 * self.cache.len() + MAX_LOOKS {
            let cache = &self.cache;
            self.looks.0.retain(|Reverse((at, name))| {
                cache.last(name.as_str().as_bytes()).is_some_and(|entry| entry.planned == *at)
            });
        }
    }

    /// `Entry::look_again` of what was found to be good just now.
    pub(super) fn look_again(&self, now: u64) -> u64 {
        if self.store.is_superseded() {
            // Clears reach the zone that took its place: this old worker looks in each handshake.
            return now;
        }
        self.settings.valid_msec.map_or(0, |valid| now.saturating_add(valid + PATIENCE_MSEC))
    }

    /// `Entry::look_again` of a set that is current; `None` when its files are to be looked at now.
    pub(super) fn need_no_look(
        &mut self,
        candidate: &ServerName,
        entry: &store::Entry,
        look: &LookContext<'_>,
    ) -> Option<u64> {
        if self.store.is_superseded() {
            return self.is_unchanged(candidate, entry, look).then(|| self.look_again(look.now));
        }
        let Some(valid) = self.settings.valid_msec else { return Some(0) };
        let due = entry.looked_at.saturating_add(valid);
        if look.now < due.saturating_add(look.patience) {
            return Some(due.saturating_add(PATIENCE_MSEC));
        }
        match self.take_turn(candidate, entry, look) {
            Turn::NotNow => Some(look.now + LOOK_AGAIN_MSEC + PATIENCE_MSEC),
            Turn::Mine if self.is_unchanged(candidate, entry, look) => {
                Some(self.look_again(look.now))
            }
            Turn::Mine => None,
        }
    }

    /// An old worker, which does not write to the zone, looks for itself alone.
    fn take_turn(
        &self,
        candidate: &ServerName,
        entry: &store::Entry,
        look: &LookContext<'_>,
    ) -> Turn {
        if !self.may_write() {
            return Turn::Mine;
        }
        let claimed = self.writer(look.host).is_some_and(|mut writer| {
            writer.claim_look(candidate.as_str(), entry.id, entry.looked_at, look.now)
        });
        if claimed { Turn::Mine } else { Turn::NotNow }
    }

    fn is_unchanged(
        &self,
        candidate: &ServerName,
        entry: &store::Entry,
        look: &LookContext<'_>,
    ) -> bool {
        let stat = self.settings.files.stat(candidate);
        entry.stat != 0 && stat.mark(look.host.unix_seconds(), look.host.accepts_by()) == entry.stat
    }
}
