//! A candidate's files: read, checked, published; the last good while they are not.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

use super::{Candidate, Found, LOOK_AGAIN_MSEC, Resolver, Status, offer};
use crate::certificate::CertificateSet;
use crate::files::{Look, SetFiles, SetStat};
use crate::host::Host;
use crate::record::Source;
use crate::replacement::{BadSet, judge, lost_key_type};
use crate::server_name::ServerName;
use crate::store::{self, Lookup, Publication, PublishError, Writer};
use crate::worker_cache::{Parsed, Stamps};

/// How many names with bad or vanished files a worker remembers.
const BAD_NAMES: usize = 1_024;
/// A name is gone when its files are absent at two looks this far apart, ms.
const GONE_MSEC: u64 = 1_000;

/// What was wrong with a candidate's files at the last look.
struct BadLook {
    /// The zone's clear epoch at the look: a clear makes the look old.
    clear_epoch: u64,
    /// When to look again, monotonic ms.
    look_again: u64,
    /// What the files were like; `None` when the reason may go away without a change to them.
    stat: Option<SetStat>,
    /// Since when all files are absent, monotonic ms.
    absent_since: Option<u64>,
}

/// The candidates whose files were bad or absent; bounded.
pub(super) struct BadFiles(LruCache<ServerName, BadLook>);

impl BadFiles {
    pub(super) fn new() -> BadFiles {
        BadFiles(LruCache::new(NonZeroUsize::new(BAD_NAMES).unwrap_or(NonZeroUsize::MIN)))
    }

    pub(super) fn forget(&mut self, candidate: &ServerName) {
        self.0.pop(candidate);
    }
}

/// What a candidate is looked at for.
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
    pub(super) fn may_write(&self) -> bool {
        self.store.configuration() == self.configuration && !self.store.is_superseded()
    }

    /// The right to write to the zone; `None` when another process has it, or when this worker may
    /// not. To be asked after the ticket was drawn: a reload after that makes the ticket stale.
    pub(super) fn writer<'a>(&self, host: &'a dyn Host) -> Option<Writer<'a>> {
        if self.may_write() { self.store.write(host.lock()) } else { None }
    }

    /// Whether what was found in the zone is still what is there. Asked by a writer.
    fn is_same(&self, candidate: &ServerName, entry: &store::Entry) -> bool {
        matches!(self.store.find(candidate.as_str()), Lookup::Found(now) if now.id == entry.id)
    }

    /// Notes that a candidate's files are bad, and serves what there is.
    pub(super) fn note_bad(
        &mut self,
        candidate: &ServerName,
        stat: &SetStat,
        look: &LookContext<'_>,
        error: BadSet,
    ) -> Candidate {
        // The parent's files need not cover each name below it.
        if !(error.is_not_covered && candidate != look.name) {
            let has_last_good = look.present.is_some() || self.unpublished(candidate).is_some();
            self.report(candidate, &error, stat, has_last_good, look);
        }
        let look_again = look.now + LOOK_AGAIN_MSEC;
        let bad = BadLook {
            clear_epoch: look.clear_epoch(),
            look_again,
            stat: (!error.may_pass).then(|| stat.clone()),
            absent_since: error.is_one_absent.then(|| self.absent_since(candidate, look)),
        };
        self.bad.0.push(candidate.clone(), bad);

        match (self.last_good(candidate, look, look_again), error.good_part) {
            // Rather some key types than none; not for the zone, where it would count as whole.
            (Candidate::Nothing { .. }, Some(part)) => {
                let parsed = Parsed::new(candidate.clone(), part, [0; 16]);
                let found = Found { parsed, status: Status::File, look_again, is_published: false };
                offer(found, look)
            }
            (candidate, _) => candidate,
        }
    }

    /// When to look again at files that were bad at the last look and did not change since.
    fn is_still_bad(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> Option<u64> {
        let bad = self.bad.0.get_mut(candidate)?;
        if bad.clear_epoch != look.clear_epoch() {
            return None;
        }
        if look.now < bad.look_again {
            return Some(bad.look_again);
        }
        // Files that were written a moment ago may be written again within the same tick of the
        // file system's clock.
        let stat = bad.stat.as_ref().filter(|s| s.is_settled(look.host.unix_seconds()))?;
        if self.settings.files.stat(candidate) != *stat {
            return None;
        }
        bad.look_again = look.now + LOOK_AGAIN_MSEC;
        Some(bad.look_again)
    }

    fn forget_bad(&mut self, candidate: &ServerName, look: &LookContext<'_>) {
        self.bad.0.pop(candidate);
        if look.present.is_some_and(|entry| entry.last_good) {
            if let Some(mut writer) = self.writer(look.host) {
                writer.set_last_good(candidate.as_str(), false);
            }
        }
    }

    /// The last good set of a candidate: the zone's, else one that only this worker has.
    fn last_good(
        &mut self,
        candidate: &ServerName,
        look: &LookContext<'_>,
        look_again: u64,
    ) -> Candidate {
        let parsed = match look.present {
            Some(entry) => {
                if !entry.last_good {
                    if let Some(mut writer) = self.writer(look.host) {
                        if self.is_same(candidate, entry) {
                            writer.set_last_good(candidate.as_str(), true);
                        }
                    }
                }
                self.parsed(candidate, entry.id, look.host).map(|parsed| (parsed, true))
            }
            None => self.unpublished(candidate).map(|parsed| (parsed, false)),
        };
        match parsed {
            Some((parsed, is_published)) => {
                let found = Found { parsed, status: Status::Stale, look_again, is_published };
                offer(found, look)
            }
            None => Candidate::Nothing { look_again },
        }
    }

    /// A set that did not fit into the zone, or was evicted from it, lives in the cache, under its
    /// own name.
    fn unpublished(&self, candidate: &ServerName) -> Option<Rc<Parsed>> {
        let entry = self.cache.last(candidate.as_str().as_bytes())?;
        let is_own = entry.parsed.info.name == *candidate;
        let is_kept = is_own && (!entry.is_published || entry.was_evicted(&self.store));
        is_kept.then(|| Rc::clone(&entry.parsed))
    }

    /// All files are absent: the last good serves until they are absent at a second look.
    fn absent(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> Candidate {
        if look.present.is_none() && self.unpublished(candidate).is_none() {
            return Candidate::Nothing { look_again: 0 };
        }
        let is_certain = self.can_tell(look);
        let since = if is_certain { self.absent_since(candidate, look) } else { look.now };
        if is_certain && look.now.saturating_sub(since) >= GONE_MSEC && self.remove(candidate, look)
        {
            return Candidate::Nothing { look_again: 0 };
        }
        let look_again = look.now + LOOK_AGAIN_MSEC;
        let bad = BadLook {
            clear_epoch: look.clear_epoch(),
            look_again,
            stat: None,
            absent_since: is_certain.then_some(since),
        };
        self.bad.0.push(candidate.clone(), bad);
        self.last_good(candidate, look, look_again)
    }

    /// Since when files are absent, monotonic ms: now, if this is the first look that finds it.
    fn absent_since(&self, candidate: &ServerName, look: &LookContext<'_>) -> u64 {
        let since = self.bad.0.peek(candidate).and_then(|bad| bad.absent_since);
        since.unwrap_or(look.now)
    }

    /// Whether absent files are gone. When not, one line says so.
    fn can_tell(&self, look: &LookContext<'_>) -> bool {
        if self.settings.files.directories().can_tell(self.store.directories()) {
            return true;
        }
        if self.report_once(&("directory", look.clear_epoch())) {
            let missing = self.settings.files.missing_directories();
            let reason = missing.first().map_or_else(
                || "their directory is empty and not the one that it was".to_owned(),
                ToString::to_string,
            );
            look.host.warn(format_args!(
                "certificate files are not there: {reason}; last good certificates are served"
            ));
        }
        false
    }

    /// Ends a name whose files are gone; false when another process is writing.
    fn remove(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> bool {
        if look.present.is_some() {
            let Some(mut writer) = self.writer(look.host) else { return false };
            if look.present.is_some_and(|entry| self.is_same(candidate, entry)) {
                writer.remove(candidate.as_str());
            }
        }
        self.bad.0.pop(candidate);
        true
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
        let is_lazy = look.present.is_some_and(|entry| entry.is_lazy);
        let same = present.as_ref().filter(|(_, p)| is_lazy && p.digest == digest);
        if let Some((id, parsed)) = same {
            // The same files again: nothing to parse.
            if let Some(mut writer) = self.writer(host) {
                writer.restamp(candidate.as_str(), *id, ticket, stat, look.now);
            }
            let is_published = true;
            return Ok(Good { parsed: Rc::clone(parsed), changed: false, is_published });
        }

        let set = self.settings.files.check(&files).map_err(BadSet::of_files)?;
        let unpublished = self.unpublished(candidate);
        let serving = present.map(|(_, parsed)| parsed).or(unpublished);
        let serving = serving.as_ref().map(|p| &p.set);
        let judged = covers(&set, candidate, look, serving)
            .and_then(|()| judge(&set, serving, stat != 0, host))
            .and_then(|()| self.keep_key_types(candidate, &set, serving, &files, look));
        judged.map_err(|bad| bad.at(files.certificate_path()))?;
        self.publish(candidate, set, Origin { digest, stat, ticket }, look)
    }

    /// A key type whose files are gone is one at the second look.
    fn keep_key_types(
        &self,
        candidate: &ServerName,
        set: &CertificateSet,
        serving: Option<&CertificateSet>,
        files: &SetFiles,
        look: &LookContext<'_>,
    ) -> Result<(), BadSet> {
        let Some(lost) = lost_key_type(set, serving).filter(|_| files.is_one_absent()) else {
            return Ok(());
        };
        let since = self.absent_since(candidate, look);
        if !self.can_tell(look) || look.now.saturating_sub(since) < GONE_MSEC {
            return Err(BadSet::without(lost));
        }
        Ok(())
    }

    /// Makes a set that was found good the one that all workers serve.
    fn publish(
        &mut self,
        candidate: &ServerName,
        mut set: CertificateSet,
        origin: Origin,
        look: &LookContext<'_>,
    ) -> Result<Good, BadSet> {
        let Origin { digest, stat, ticket } = origin;
        let record = set.to_record(Source::Lazy, digest).map_err(|e| BadSet::new(e.to_string()))?;
        set.share_chains(&mut self.chains);
        let parsed = Parsed::new(candidate.clone(), set, digest);
        let mut good = Good { parsed, changed: true, is_published: false };

        let Some(mut writer) = self.writer(look.host) else { return Ok(good) };
        let publication = Publication {
            name: candidate.as_str(),
            record: &record,
            served: &[],
            ticket,
            now_msec: look.now,
            stat,
        };
        let evictions = self.store.stats().evictions;
        match writer.publish(&publication) {
            Ok(id) => {
                // What this very publication announced is in the answer.
                look.stamps.set(look.stamps.get().after_publication(&self.store, candidate));
                drop(writer);
                if let Some(identity) = self.settings.files.directories_identity() {
                    self.store.set_directories(identity);
                }
                self.cache.insert_parsed(id, &good.parsed);
                good.is_published = true;
                let is_full = self.store.stats().evictions != evictions;
                if is_full && self.report_once(&("full", self.configuration)) {
                    look.host.warn(format_args!(
                        "there is no room for all certificates; those that were not used for \
                         longest are read from their files again when they are needed"
                    ));
                }
            }
            Err(PublishError::Overtaken) => {
                // Another worker read the files later than we did: its set is the newer one.
                drop(writer);
                if let Lookup::Found(entry) = self.store.find(candidate.as_str()) {
                    if let Some(parsed) = self.parsed(candidate, entry.id, look.host) {
                        good.parsed = parsed;
                        good.is_published = true;
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

    /// One line for a reason after each clear, by whichever worker meets it first.
    fn report(
        &self,
        candidate: &ServerName,
        error: &BadSet,
        stat: &SetStat,
        has_last_good: bool,
        look: &LookContext<'_>,
    ) {
        if error.is_common {
            if self.report_once(&(&error.text, look.clear_epoch())) {
                look.host.warn(format_args!("certificate files cannot be read: {}", error.text));
            }
            return;
        }
        if self.report_once(&(candidate.as_str(), &error.text, stat, look.clear_epoch())) {
            let consequence =
                if has_last_good { "the last good one is served" } else { "it is not served" };
            let text = &error.text;
            look.host.warn(format_args!("certificate \"{candidate}\": {text}; {consequence}"));
        }
    }

    /// Whether nobody told of it yet.
    pub(super) fn report_once(&self, what: &impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.store.report_once(hasher.finish())
    }
}

/// What was read, besides the set: see `Publication`.
struct Origin {
    digest: [u8; 16],
    stat: u64,
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
