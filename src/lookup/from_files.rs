//! A candidate's files: read, checked, published.

use std::cell::Cell;
use std::rc::Rc;

use super::candidate::{Candidate, Found, offer};
use super::{Resolver, Status};
use crate::certificate::CertificateSet;
use crate::failure::Reason;
use crate::files::{Look, SetFiles};
use crate::host::Host;
use crate::record::Source;
use crate::replacement::{BadSet, judge};
use crate::server_name::ServerName;
use crate::store::{self, Expects, Lookup, Publication, PublishError, Writer};
use crate::worker_cache::{Parsed, Stamps};

/// What a candidate is looked at for.
#[derive(Clone, Copy)]
pub(super) struct LookContext<'a> {
    /// The server name of the handshake.
    pub(super) name: &'a ServerName,
    /// What the zone has of the candidate.
    pub(super) present: Option<&'a store::Entry>,
    /// What the answer will hold by.
    pub(super) stamps: &'a Cell<Stamps>,
    /// Monotonic ms.
    pub(super) now: u64,
    /// By how much a look must be overdue, ms.
    pub(super) patience: u64,
    pub(super) host: &'a dyn Host,
}

impl LookContext<'_> {
    /// The zone's, from before the look.
    pub(super) fn clear_epoch(&self) -> u64 {
        self.stamps.get().clear_epoch()
    }
}

/// Files that serve.
pub(super) struct Good {
    pub(super) parsed: Rc<Parsed>,
    pub(super) changed: bool,
    /// In the zone; otherwise it serves from this worker's cache.
    pub(super) is_published: bool,
    /// The zone has it with a ticket that is no earlier than this read's: what another worker read
    /// before cannot take its place.
    pub(super) is_stamped: bool,
}

impl Resolver {
    /// The files of a candidate that the zone has nothing current of.
    pub(super) fn look_at_files(
        &mut self,
        candidate: &ServerName,
        look: &LookContext<'_>,
    ) -> Candidate {
        if let Some(look_again) = self.is_still_bad(candidate, look) {
            return self.last_good(candidate, look, look_again);
        }

        // Drawn before the files are opened: a clear that comes in between makes this read old.
        let ticket = self.store.next_ticket();
        let files = match self.settings.files.read(candidate) {
            Look::Absent => return self.absent(candidate, look),
            Look::Present(files) => files,
        };
        let stat = files.stat().clone();
        match self.check(candidate, files, look, ticket) {
            Ok(good) => {
                self.forget_bad(candidate, look);
                let Good { parsed, is_published, .. } = good;
                let look_again = self.look_again(look.now);
                let found = Found { parsed, status: Status::File, look_again, is_published };
                offer(found, look)
            }
            Err(error) => self.note_bad(candidate, &stat, look, error),
        }
    }

    /// Whether this worker's configuration is the present one of the zone, and the zone the one
    /// of its name.
    pub(crate) fn may_write(&self) -> bool {
        self.store.configuration() == self.configuration && !self.store.is_superseded()
    }

    /// The right to write to the zone; `None` when another process has it, or when this worker may
    /// not. To be asked after the ticket was drawn: a reload after that makes the ticket stale.
    pub(super) fn writer<'a>(&self, host: &'a dyn Host) -> Option<Writer<'a>> {
        if self.may_write() { self.store.write(host.lock()) } else { None }
    }

    /// Whether what was found in the zone is still what is there. Asked by a writer.
    pub(super) fn is_same(&self, candidate: &ServerName, entry: &store::Entry) -> bool {
        matches!(self.store.find(candidate.as_str()), Lookup::Found(now) if now.id == entry.id)
    }

    /// Checks what was read and publishes it.
    pub(super) fn check(
        &mut self,
        candidate: &ServerName,
        files: SetFiles,
        look: &LookContext<'_>,
        ticket: u64,
    ) -> Result<Good, BadSet> {
        let host = look.host;
        let present = look.present.and_then(|entry| {
            self.parsed(candidate, entry.id, host).map(|parsed| (entry.id, parsed))
        });
        let digest = files.digest();
        let stat = files.stat().mark(host.unix_seconds(), host.accepts_by());
        let is_lazy = look.present.is_some_and(store::Entry::is_lazy);
        let same = present.as_ref().filter(|(_, p)| is_lazy && p.digest == digest);
        if let Some((id, parsed)) = same {
            // The same files again: nothing to parse.
            let is_stamped = self.writer(host).is_some_and(|mut writer| {
                writer.restamp(candidate.as_str(), *id, ticket, stat, look.now)
            });
            let parsed = Rc::clone(parsed);
            return Ok(Good { parsed, changed: false, is_published: true, is_stamped });
        }

        let set = self.settings.files.check(&files, &mut self.parser).map_err(BadSet::of_files)?;
        let unpublished = self.unpublished(candidate);
        let serving = present.map(|(_, parsed)| parsed).or(unpublished);
        let serving = serving.as_ref().map(|p| &p.set);
        let judged = covers(&set, candidate, look, serving)
            .and_then(|()| judge(&set, serving, stat != 0, host))
            .and_then(|()| self.keep_key_types(candidate, &set, serving, &files, look));
        judged.map_err(|bad| bad.at(files.certificate_path()))?;
        let origin = Origin { digest, stat, seen: files.tag(), ticket };
        self.publish(candidate, set, origin, look)
    }

    /// Makes a set that was found good the one that all workers serve.
    fn publish(
        &mut self,
        candidate: &ServerName,
        set: CertificateSet,
        origin: Origin,
        look: &LookContext<'_>,
    ) -> Result<Good, BadSet> {
        let Origin { digest, stat, seen, ticket } = origin;
        let record = set
            .to_record(Source::Lazy, digest)
            .map_err(|e| BadSet::new(Reason::Other, e.to_string()))?;
        let parsed = Parsed::new(candidate.clone(), set, digest);
        let mut good = Good { parsed, changed: true, is_published: false, is_stamped: false };

        let Some(mut writer) = self.writer(look.host) else { return Ok(good) };
        let publication = Publication {
            name: candidate.as_str(),
            record: &record,
            served: &[],
            ticket,
            now_msec: look.now,
            stat,
            generation: ticket,
            seen,
            previous: self.settings.previous(),
            expects: Expects::Any,
            leaves_room: false,
        };
        let evictions = self.store.stats().evictions;
        // A push that began before this read and is made since: it is the newer one.
        let is_pushed =
            matches!(self.store.find(candidate.as_str()), Lookup::Found(now) if !now.is_lazy());
        let published =
            if is_pushed { Err(PublishError::Overtaken) } else { writer.publish(&publication) };
        match published {
            Ok(id) => {
                // What this very publication announced is in the answer.
                look.stamps.set(look.stamps.get().after_publication(&self.store, candidate));
                drop(writer);
                self.settings.files.note_directories(&self.store);
                self.cache.insert_parsed(id, &good.parsed);
                good.is_published = true;
                good.is_stamped = true;
                let is_full = self.store.stats().evictions != evictions;
                if is_full && self.report_once(&("full", self.configuration)) {
                    look.host.warn(format_args!(
                        "there is no room for all certificates; those that were not used for \
                         longest are read from their files again when they are needed"
                    ));
                }
            }
            Err(PublishError::Overtaken | PublishError::Unexpected { .. }) => {
                // Another worker read the files later than we did: its set is the newer one, as is
                // one that was pushed.
                drop(writer);
                if let Lookup::Found(entry) = self.store.find(candidate.as_str()) {
                    if let Some(parsed) = self.parsed(candidate, entry.id, look.host) {
                        good.parsed = parsed;
                        good.is_published = true;
                        good.is_stamped = true;
                    }
                }
            }
            // It serves from this worker's cache.
            Err(PublishError::Full { needed, .. }) => {
                drop(writer);
                if self.report_once(&("room", candidate.as_str(), self.configuration)) {
                    look.host.warn(format_args!(
                        "certificate \"{candidate}\" has no room, {needed} bytes are needed; each \
                         worker reads and keeps it for itself"
                    ));
                }
            }
        }
        Ok(good)
    }
}

/// What was read, besides the set: see `Publication`.
struct Origin {
    digest: [u8; 16],
    stat: u64,
    seen: u64,
    ticket: u64,
}

/// Whether a set covers the names that it is to serve.
fn covers(
    set: &CertificateSet,
    candidate: &ServerName,
    look: &LookContext<'_>,
    serving: Option<&CertificateSet>,
) -> Result<(), BadSet> {
    let covers_own = set.covers(candidate);
    let is_worse = !covers_own && serving.is_some_and(|s| s.covers(candidate));
    if is_worse || (!covers_own && !set.covers(look.name)) {
        return Err(BadSet::not_covering(format_args!("\"{}\"", look.name)));
    }
    Ok(())
}
