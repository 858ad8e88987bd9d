//! The files of a name that a set was pushed for: they take its place when they hold something else,
//! and good, than when it was pushed.

use super::{Change, Outcome, Seen, Startup};
use crate::files::{Look, tag};
use crate::replacement::{BadSet, judge_beside, lost_key_type};
use crate::server_name::ServerName;
use crate::store::Entry;

impl Startup<'_> {
    /// `may_wait`: another look is to come, if this one asks for it. It is not for absent files: what
    /// was pushed does not end with them.
    pub(super) fn look_beside(
        &mut self,
        name: &ServerName,
        entry: &Entry,
        may_wait: bool,
    ) -> Outcome {
        let ticket = self.store.next_ticket();
        // Before the files are opened: what comes after that must look changed at the next look.
        let stat = self.files.stat(name).mark(self.host.unix_seconds(), self.host.accepts_by());
        let noted = |seen: Seen| Outcome::Change(Change::Seen { id: entry.id, seen });
        let files = match self.files.read(name) {
            Look::Present(files) => files,
            Look::Absent => {
                return match self.files.tag(&Look::Absent, self.store) {
                    tag::UNKNOWN => Outcome::Nothing,
                    tag => noted(Seen { ticket, stat, tag }),
                };
            }
        };
        let stat = files.stat().mark(self.host.unix_seconds(), self.host.accepts_by());
        let seen = Seen { ticket, stat, tag: files.tag() };
        if seen.tag != tag::UNKNOWN && seen.tag == entry.seen {
            return noted(seen);
        }

        let serving = self.serving(name, entry).map(|serving| serving.set);
        let serving = serving.as_ref();
        let checked = self.check(&files, serving, stat != 0, judge_beside).and_then(|set| {
            let lost = lost_key_type(&set, serving).filter(|_| files.is_one_absent());
            match lost.filter(|_| !self.can_tell()) {
                Some(key_type) => Err(BadSet::without(key_type)),
                None => Ok(set),
            }
        });
        match checked {
            Ok(set) if entry.seen == tag::UNKNOWN || serving.is_some_and(|s| set.is_same_as(s)) => {
                noted(seen)
            }
            Ok(set) => self.publish(&set, &files, seen, true),
            Err(bad) if bad.may_pass && may_wait => Outcome::Pending,
            Err(bad) => {
                self.counts.bad += 1;
                self.host.warn(format_args!(
                    "certificate \"{name}\": {}; what was pushed is served",
                    bad.text
                ));
                Outcome::Change(Change::Bad(bad.kind))
            }
        }
    }
}
