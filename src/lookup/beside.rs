//! The files of a set that is not lazy, in a lazy zone: what was pushed serves until they hold something
//! else, and good, than when it was. Then they serve in its place, and all names of their certificate.
//!
//! What is known of a look is in the zone, so that all workers go by one: when it was, what the files
//! held, and whether that was bad.

use std::rc::Rc;

use super::bad::BadLook;
use super::from_files::LookContext;
use super::gone::{ABSENT, GONE_MSEC};
use super::looks::PATIENCE_MSEC;
use super::{LOOK_AGAIN_MSEC, Load, Resolver};
use crate::certificate::CertificateSet;
use crate::failure::{Failure, Reason};
use crate::files::{Look, SetFiles, SetStat, tag};
use crate::record::Source;
use crate::replacement::{BadSet, judge_beside, lost_key_type};
use crate::server_name::ServerName;
use crate::store::{self, Counter, Expects, Publication, PublishError};
use crate::worker_cache::Parsed;

/// What became of a set by a look at its files.
pub(super) enum Beside {
    /// `look_again` as in `worker_cache::Entry`.
    Stays { look_again: u64 },
    /// Another set has its place by now, or none.
    Changed,
    /// What the files hold, for this worker alone: its zone takes no writes any more.
    Own(Rc<Parsed>),
}

/// Files that must not take the place of a set.
pub(super) struct BadBeside {
    pub(super) bad: BadSet,
    stat: SetStat,
    ticket: u64,
}

impl Resolver {
    /// Looks at the files of a set, if that is due and nobody else does. `own` is the set's NAME.
    pub(super) fn look_beside(
        &mut self,
        own: &ServerName,
        entry: &store::Entry,
        look: &LookContext<'_>,
    ) -> Beside {
        if let Some(look_again) = self.need_no_look_beside(own, entry, look) {
            return Beside::Stays { look_again };
        }
        let soon = look.now + LOOK_AGAIN_MSEC + PATIENCE_MSEC;
        if Failure::is_of_files(entry.failure) && self.is_still_bad(own, look).is_some() {
            return Beside::Stays { look_again: soon };
        }
        match self.read_beside(own, entry, look) {
            Ok(beside) => beside,
            Err(bad) => {
                self.note_bad_beside(own, entry, &bad, look);
                Beside::Stays { look_again: soon }
            }
        }
    }

    /// `look_again` of a set whose files are not looked at now.
    fn need_no_look_beside(
        &self,
        own: &ServerName,
        entry: &store::Entry,
        look: &LookContext<'_>,
    ) -> Option<u64> {
        if self.settings.load != Load::Lazy {
            return Some(0);
        }
        if self.store.is_superseded() {
            // Neither pushes nor looks of others reach this zone.
            return None;
        }
        if !self.may_write() {
            // The workers of the present configuration look, at what may be other files.
            return Some(0);
        }
        if entry.ticket > look.clear_epoch() {
            let is_pending = Failure::is_of_files(entry.failure) || entry.stat == ABSENT;
            let wait = if is_pending { Some(LOOK_AGAIN_MSEC) } else { self.settings.valid_msec };
            let Some(wait) = wait else { return Some(0) };
            let due = entry.looked_at.saturating_add(wait);
            if look.now < due.saturating_add(look.patience) {
                return Some(due.saturating_add(PATIENCE_MSEC));
            }
        }
        let claimed = self.writer(look.host).is_some_and(|mut writer| {
            writer.claim_look(own.as_str(), entry.id, entry.looked_at, look.now)
        });
        (!claimed).then_some(look.now + LOOK_AGAIN_MSEC + PATIENCE_MSEC)
    }

    /// Reads the files of a set, unless they are as they were.
    pub(super) fn read_beside(
        &mut self,
        own: &ServerName,
        entry: &store::Entry,
        look: &LookContext<'_>,
    ) -> Result<Beside, BadBeside> {
        let host = look.host;
        let mark = |stat: &SetStat| stat.mark(host.unix_seconds(), host.accepts_by());
        // Both before the files are opened: what comes in between must be seen at the next look.
        let ticket = self.store.next_ticket();
        let stat = mark(&self.settings.files.stat(own));
        let has_trouble = entry.last_good || Failure::is_of_files(entry.failure);
        let seen = Seen { tag: entry.seen, stat, ticket };
        if stat != 0 && stat == entry.stat && !has_trouble {
            if entry.ticket <= look.clear_epoch() {
                self.note_good_beside(own, entry, &seen, look);
            }
            return Ok(Beside::Stays { look_again: self.look_again(look.now) });
        }

        let files = match self.settings.files.read(own) {
            Look::Absent => return Ok(self.absent_beside(own, entry, &seen, look)),
            Look::Present(files) => files,
        };
        let seen = Seen { tag: files.tag(), stat: mark(files.stat()), ticket };
        if seen.tag != tag::UNKNOWN && seen.tag == entry.seen {
            return Ok(self.note_good_beside(own, entry, &seen, look));
        }
        let serving = self.parsed(own, entry.id, host);
        let serving = serving.as_ref().map(|parsed| &parsed.set);
        let bad = |bad: BadSet, files: &SetFiles| BadBeside {
            bad: bad.at(files.certificate_path()),
            stat: files.stat().clone(),
            ticket,
        };
        let checked = self.settings.files.check(&files, &mut self.parser);
        let set = checked.map_err(|error| BadBeside {
            bad: BadSet::of_files(error),
            stat: files.stat().clone(),
            ticket,
        })?;
        judge_beside(&set, serving, seen.stat != 0, host)
            .and_then(|()| {
                let lost = lost_key_type(&set, serving).filter(|_| files.is_one_absent());
                match lost.filter(|_| !self.can_tell(look)) {
                    Some(lost) => Err(BadSet::without(lost)),
                    None => Ok(()),
                }
            })
            .map_err(|error| bad(error, &files))?;
        let is_same = serving.is_some_and(|serving| set.is_same_as(serving));
        if is_same || entry.seen == tag::UNKNOWN {
            return Ok(self.note_good_beside(own, entry, &seen, look));
        }
        self.replace_beside(own, entry, set, files.digest(), &seen, look)
            .map_err(|error| bad(error, &files))
    }

    /// What was pushed stays without files. What was read from files ends with them, as a lazy set
    /// does: at the second look.
    fn absent_beside(
        &mut self,
        own: &ServerName,
        entry: &store::Entry,
        seen: &Seen,
        look: &LookContext<'_>,
    ) -> Beside {
        if entry.source == Source::Pushed {
            let tag = self.settings.files.tag(&Look::Absent, &self.store);
            if tag == tag::UNKNOWN {
                let seen = Seen { stat: entry.stat, ..*seen };
                return self.note_good_beside(own, entry, &seen, look);
            }
            return self.note_good_beside(own, entry, &Seen { tag, ..*seen }, look);
        }
        let is_certain = self.can_tell(look);
        let is_second =
            entry.stat == ABSENT && look.now.saturating_sub(entry.looked_at) >= GONE_MSEC;
        if is_certain && is_second && self.remove(own, look) {
            return Beside::Changed;
        }
        let stat = if is_certain { ABSENT } else { entry.stat };
        self.note_beside(own, entry, &Seen { stat, ..*seen }, entry.failure, look);
        Beside::Stays { look_again: look.now + LOOK_AGAIN_MSEC + PATIENCE_MSEC }
    }

    /// Makes what the files hold the set of the name.
    fn replace_beside(
        &mut self,
        own: &ServerName,
        entry: &store::Entry,
        set: CertificateSet,
        digest: [u8; 16],
        seen: &Seen,
        look: &LookContext<'_>,
    ) -> Result<Beside, BadSet> {
        let record = set
            .to_record(Source::Startup, digest)
            .map_err(|error| BadSet::new(Reason::Other, error.to_string()))?;
        let parsed = Parsed::new(own.clone(), set, digest);
        let Some(mut writer) = self.writer(look.host) else {
            return Ok(if self.store.is_superseded() {
                Beside::Own(parsed)
            } else {
                Beside::Stays { look_again: look.now + LOOK_AGAIN_MSEC + PATIENCE_MSEC }
            });
        };
        // What these files are compared with may have been replaced since.
        if !self.is_same(own, entry) {
            return Ok(Beside::Changed);
        }
        let served: Vec<&str> = parsed.set.names().collect();
        let publication = Publication {
            name: own.as_str(),
            record: &record,
            served: &served,
            ticket: seen.ticket,
            now_msec: look.now,
            stat: seen.stat,
            generation: seen.ticket,
            seen: seen.tag,
            previous: self.settings.previous(),
            expects: Expects::Any,
            leaves_room: false,
        };
        match writer.publish(&publication) {
            Ok(id) => {
                drop(writer);
                self.bad.forget(own);
                self.settings.files.note_directories(&self.store);
                self.cache.insert_parsed(id, &parsed);
                if entry.source == Source::Pushed {
                    look.host.notice(format_args!(
                        "certificate \"{own}\": its files changed and take the place of what was \
                         pushed"
                    ));
                    self.replaced.push(own.clone());
                }
                Ok(Beside::Changed)
            }
            Err(PublishError::Overtaken | PublishError::Unexpected { .. }) => Ok(Beside::Changed),
            Err(PublishError::Full { needed, .. }) => {
                drop(writer);
                self.note_no_room_beside(own, entry, needed, seen.ticket, look);
                Ok(Beside::Stays { look_again: self.look_again(look.now) })
            }
        }
    }

    fn note_no_room_beside(
        &self,
        own: &ServerName,
        entry: &store::Entry,
        needed: u64,
        ticket: u64,
        look: &LookContext<'_>,
    ) {
        let failure = Failure::noted(entry.failure, Reason::NoRoom, look.host.unix_seconds());
        let seen = Seen { tag: entry.seen, stat: entry.stat, ticket };
        self.note_beside(own, entry, &seen, failure, look);
        if self.report_once(&("room", own.as_str(), self.configuration)) {
            self.store.add(Counter::LoadFailures(Reason::NoRoom.number()), 1);
            look.host.warn(format_args!(
                "certificate \"{own}\": its files changed and have no room, {needed} bytes are \
                 needed; {}",
                consequence(entry)
            ));
        }
    }

    /// Tells of files that are bad. They are not what the files last held: when they are again as they
    /// were before, nothing has changed.
    pub(super) fn note_bad_beside(
        &mut self,
        own: &ServerName,
        entry: &store::Entry,
        BadBeside { bad, stat, ticket }: &BadBeside,
        look: &LookContext<'_>,
    ) {
        self.report(own, bad, stat, consequence(entry), look);
        let failure = Failure::noted(entry.failure, bad.kind, look.host.unix_seconds());
        let seen = Seen { tag: entry.seen, stat: entry.stat, ticket: *ticket };
        self.note_beside(own, entry, &seen, failure, look);
        let look_again = look.now + LOOK_AGAIN_MSEC;
        let bad = BadLook {
            clear_epoch: look.clear_epoch(),
            look_again,
            stat: (!bad.may_pass).then(|| stat.clone()),
            absent_since: None,
        };
        self.bad.note(own, bad);
    }

    /// Nothing is to be done but to note what the files hold.
    fn note_good_beside(
        &mut self,
        own: &ServerName,
        entry: &store::Entry,
        seen: &Seen,
        look: &LookContext<'_>,
    ) -> Beside {
        self.bad.forget(own);
        self.note_beside(own, entry, seen, Failure::without_files(entry.failure), look);
        if entry.last_good {
            if let Some(mut writer) = self.writer(look.host) {
                if self.is_same(own, entry) {
                    writer.set_last_good(own.as_str(), false);
                }
            }
        }
        Beside::Stays { look_again: self.look_again(look.now) }
    }

    fn note_beside(
        &self,
        own: &ServerName,
        entry: &store::Entry,
        seen: &Seen,
        failure: u64,
        look: &LookContext<'_>,
    ) {
        let Some(mut writer) = self.writer(look.host) else { return };
        let Seen { tag: seen, stat, ticket } = *seen;
        let noted = store::Look { stat, seen, ticket, now_msec: look.now };
        if writer.note_look(own.as_str(), entry.id, noted) && failure != entry.failure {
            writer.set_failure(own.as_str(), failure);
        }
    }
}

/// What a look at files saw: see `store::Look`.
#[derive(Clone, Copy)]
struct Seen {
    tag: u64,
    stat: u64,
    ticket: u64,
}

fn consequence(entry: &store::Entry) -> &'static str {
    if entry.source == Source::Pushed {
        "what was pushed is served"
    } else {
        "the last good one is served"
    }
}
