//! `clear?name=`: the files of a name are read now.

use std::cell::Cell;
use std::rc::Rc;

use super::beside::Beside;
use super::from_files::LookContext;
use super::serving::MOST_CHANGES;
use super::{Resolver, Stamps};
use crate::files::Look;
use crate::host::Host;
use crate::precedence::in_order;
use crate::server_name::ServerName;
use crate::store::{self, Lookup};
use crate::worker_cache::Parsed;

/// What `clear?name=` did.
pub(crate) struct Refreshed {
    pub(crate) parsed: Rc<Parsed>,
    /// Whether the files held something else than what was served.
    pub(crate) changed: bool,
}

/// Why `clear?name=` could not.
pub(crate) enum RefreshError {
    /// The files are absent or bad: path and reason.
    Files(String),
    /// The name changes too often to be read.
    Busy,
    /// This worker is of a configuration before the present one, and knows its files only. Everything
    /// was cleared.
    OldWorker,
}

impl Resolver {
    /// Reads the files of a name now, whatever is cached: what `clear?name=` does. The first
    /// candidate that has files is taken.
    pub(crate) fn refresh(
        &mut self,
        name: &ServerName,
        host: &dyn Host,
    ) -> Result<Refreshed, RefreshError> {
        if !self.may_write() {
            self.store.clear();
            return Err(RefreshError::OldWorker);
        }
        let now = host.monotonic_msec();
        let stamps = Stamps::take(&self.store, std::iter::once(name)).ok_or(RefreshError::Busy)?;
        let stamps = Cell::new(stamps);
        if let Some(refreshed) = self.refresh_fixed(name, &stamps, now, host)? {
            return Ok(refreshed);
        }
        let mut reason = format!("no files for \"{name}\"");
        for candidate in [Some(name.clone()), name.wildcard(), name.parent()].into_iter().flatten()
        {
            let present = match self.store.find(candidate.as_str()) {
                Lookup::Found(entry) => Some(entry),
                Lookup::Absent => None,
                Lookup::Contended => return Err(RefreshError::Busy),
            };
            // One that serves the name was found before.
            if present.is_some_and(|entry| !entry.is_lazy()) {
                reason = format!("certificate \"{candidate}\" does not cover \"{name}\"");
                continue;
            }
            let present = present.as_ref();
            let look = LookContext { name, present, stamps: &stamps, now, patience: 0, host };
            let ticket = self.store.next_ticket();
            let files = match self.settings.files.read(&candidate) {
                // The zone's set is what handshakes get, not the next candidate's: the name is not
                // gone before its files are absent at a second look, which a clear lets begin.
                Look::Absent if present.is_some() => {
                    self.store.clear();
                    return Err(RefreshError::Files(format!(
                        "no files for \"{candidate}\"; until they are found to be gone, the last \
                         good certificate is served"
                    )));
                }
                Look::Absent => continue,
                Look::Present(files) => files,
            };
            let stat = files.stat().clone();
            let good = match self.check(&candidate, files, &look, ticket) {
                Ok(good) => good,
                // The parent's files need not cover each name below it.
                Err(error) if error.is_not_covered && candidate != *name => {
                    reason = error.text;
                    continue;
                }
                Err(error) => {
                    let text = error.text.clone();
                    // As after any look: what serves is the last good from now on, and says so.
                    self.note_bad(&candidate, &stat, &look, error);
                    return Err(RefreshError::Files(text));
                }
            };
            if !good.parsed.set.covers(name) {
                reason = format!("certificate \"{candidate}\" does not cover \"{name}\"");
                continue;
            }
            self.forget_bad(&candidate, &look);
            if !good.is_stamped {
                // The zone does not have it, or not that it was read just now, for want of room or of
                // the lock: every worker has to read, and what one has read before is stale.
                self.store.clear();
            }
            let refreshed = Refreshed { parsed: good.parsed, changed: good.changed };
            if refreshed.parsed.set.expired_at(host.unix_seconds()) {
                return self.unless_another_serves(name, refreshed, now, host);
            }
            return Ok(refreshed);
        }
        Err(RefreshError::Files(reason))
    }

    /// An expired set serves where there is none better: what a handshake gets says so.
    fn unless_another_serves(
        &mut self,
        name: &ServerName,
        expired: Refreshed,
        now: u64,
        host: &dyn Host,
    ) -> Result<Refreshed, RefreshError> {
        let own = &expired.parsed.info.name;
        let served = self.look_up(name, now, 0, host);
        match served.map(|served| served.parsed.info.name.clone()).filter(|other| other != own) {
            Some(other) => Err(RefreshError::Files(format!(
                "certificate \"{own}\" has expired; that of \"{other}\" is served"
            ))),
            None => Ok(expired),
        }
    }
}

impl Resolver {
    /// Looks at the files of the set that serves a name and is not lazy; `None` when there is none.
    fn refresh_fixed(
        &mut self,
        name: &ServerName,
        stamps: &Cell<Stamps>,
        now: u64,
        host: &dyn Host,
    ) -> Result<Option<Refreshed>, RefreshError> {
        let wildcard = name.wildcard();
        let mut changed = false;
        let begun = self.store.next_ticket();
        'search: for _ in 0..MOST_CHANGES {
            let sets = in_order(&self.store, name, wildcard.as_ref());
            for set in sets.ok_or(RefreshError::Busy)? {
                let Some(own) = ServerName::from_operator(set.name.as_bytes()) else { continue };
                let present = Some(&set.entry);
                let look = LookContext { name, present, stamps, now, patience: 0, host };
                match self.read_beside(&own, &set.entry, &look) {
                    Ok(Beside::Stays { .. }) => self.hold(&own, begun, &look),
                    Ok(Beside::Changed | Beside::Own(_)) => {
                        changed = true;
                        continue 'search;
                    }
                    Err(bad) => {
                        self.note_bad_beside(&own, &set.entry, &bad, &look);
                        return Err(RefreshError::Files(bad.bad.text));
                    }
                }
                let parsed = self.parsed(&own, set.entry.id, host);
                if let Some(parsed) = parsed.filter(|parsed| parsed.set.covers(name)) {
                    return Ok(Some(Refreshed { parsed, changed }));
                }
            }
            return Ok(None);
        }
        Err(RefreshError::Busy)
    }

    /// Makes the set that serves the later one of what others read before `ticket` was drawn; where that
    /// cannot be noted, what they read is made stale.
    fn hold(&self, own: &ServerName, ticket: u64, look: &LookContext<'_>) {
        let is_noted = match self.store.find(own.as_str()) {
            Lookup::Found(entry) if entry.ticket >= ticket => true,
            Lookup::Found(entry) => self.writer(look.host).is_some_and(|mut writer| {
                let (stat, seen) = (entry.stat, entry.seen);
                let look = store::Look { stat, seen, ticket, now_msec: look.now };
                writer.note_look(own.as_str(), entry.id, look)
            }),
            Lookup::Absent | Lookup::Contended => false,
        };
        if !is_noted {
            self.store.clear();
        }
    }
}
