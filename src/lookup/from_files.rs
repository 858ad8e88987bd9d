//! A candidate's files: read, checked, published; the last good while they are not.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

use super::{CLOCK_SKEW_SECONDS, Candidate, Found, Host, LOOK_AGAIN_MSEC, Resolver, Status};
use crate::certificate::CertificateSet;
use crate::files::{self, Look, SetFiles, SetStat};
use crate::record::Source;
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
    pub(super) host: &'a dyn Host,
}

impl LookContext<'_> {
    /// The zone's, from before the look.
    pub(super) fn clear_epoch(&self) -> u64 {
        self.stamps.get().clear_epoch()
    }
}

/// Files that must not take the place of what serves.
struct BadSet {
    /// Path and reason.
    text: String,
    /// The reason may go away without a change to the files.
    may_pass: bool,
    is_not_covered: bool,
    /// The key types whose files are good.
    good_part: Option<CertificateSet>,
}

impl BadSet {
    fn new(text: impl Into<String>) -> BadSet {
        BadSet { text: text.into(), may_pass: false, is_not_covered: false, good_part: None }
    }
}

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

/// Files that serve.
struct Good {
    parsed: Rc<Parsed>,
    changed: bool,
    /// In the zone; otherwise it serves from this worker's cache.
    is_published: bool,
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
        let files = match files::read(&self.pairs, candidate) {
            Look::Absent { is_certain } => return self.absent(candidate, look, is_certain),
            Look::Present(files) => files,
        };
        let stat = files.stat().clone();
        match self.check(candidate, files, look, ticket) {
            Ok(good) => {
                self.forget_bad(candidate, look);
                let Good { parsed, is_published, .. } = good;
                let found = Found { parsed, status: Status::File, look_again: 0, is_published };
                self.offer(found, look)
            }
            Err(error) => self.note_bad(candidate, &stat, look, error),
        }
    }

    /// The right to write to the zone; `None` when another process has it, or when this worker's
    /// configuration is not the present one. To be asked after the ticket was drawn: a reload after
    /// that makes the ticket stale.
    fn writer<'a>(&self, host: &'a dyn Host) -> Option<Writer<'a>> {
        if self.store.configuration() != self.configuration {
            return None;
        }
        self.store.write(host.lock())
    }

    /// Whether what was found in the zone is still what is there. Asked by a writer.
    fn is_same(&self, candidate: &ServerName, entry: &store::Entry) -> bool {
        matches!(self.store.find(candidate.as_str()), Lookup::Found(now) if now.id == entry.id)
    }

    /// Notes that a candidate's files are bad, and serves what there is.
    fn note_bad(
        &mut self,
        candidate: &ServerName,
        stat: &SetStat,
        look: &LookContext<'_>,
        error: BadSet,
    ) -> Candidate {
        // The parent's files need not cover each name below it.
        if !(error.is_not_covered && candidate != look.name) {
            let has_last_good = look.present.is_some() || self.unpublished(candidate).is_some();
            self.report(candidate, &error, stat, has_last_good, look.host);
        }
        let look_again = look.now + LOOK_AGAIN_MSEC;
        let bad = BadLook {
            clear_epoch: look.clear_epoch(),
            look_again,
            stat: (!error.may_pass).then(|| stat.clone()),
            absent_since: None,
        };
        self.bad.0.push(candidate.clone(), bad);

        match (self.last_good(candidate, look, look_again), error.good_part) {
            // Rather some key types than none; not for the zone, where it would count as whole.
            (Candidate::Nothing { .. }, Some(part)) => {
                let parsed = Parsed::new(candidate.clone(), part, [0; 16]);
                let found = Found { parsed, status: Status::File, look_again, is_published: false };
                self.offer(found, look)
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
        if files::stat(&self.pairs, candidate) != *stat {
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
                self.offer(found, look)
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
    fn absent(
        &mut self,
        candidate: &ServerName,
        look: &LookContext<'_>,
        is_certain: bool,
    ) -> Candidate {
        if look.present.is_none() && self.unpublished(candidate).is_none() {
            return Candidate::Nothing { look_again: 0 };
        }
        let since = self.bad.0.peek(candidate).and_then(|bad| bad.absent_since);
        let since = since.filter(|_| is_certain).unwrap_or(look.now);
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
    fn check(
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
        let is_settled = files.stat().is_settled(host.unix_seconds());
        if let Some((id, parsed)) = present.as_ref().filter(|(_, p)| p.digest == digest) {
            // The same files again: nothing to parse.
            if let Some(mut writer) = self.writer(host) {
                writer.restamp(candidate.as_str(), *id, ticket, 0, look.now);
            }
            let is_published = true;
            return Ok(Good { parsed: Rc::clone(parsed), changed: false, is_published });
        }

        let set = files.check().map_err(|bad| BadSet {
            good_part: bad.good_part,
            ..BadSet::new(bad.error.to_string())
        })?;
        let unpublished = self.unpublished(candidate);
        let serving = present.map(|(_, parsed)| parsed).or(unpublished);
        let serving = serving.as_ref().map(|p| &p.set);
        let judged = judge(&set, candidate, look, serving).and_then(|()| {
            if !is_settled && serving.is_some_and(|s| set.seems_cut_short(s)) {
                let text = "the chain is cut short, and the file may still be being written";
                return Err(BadSet { may_pass: true, ..BadSet::new(text) });
            }
            Ok(())
        });
        judged.map_err(|bad| {
            let path = files.certificate_path().display();
            BadSet { text: format!("\"{path}\": {}", bad.text), ..bad }
        })?;
        self.publish(candidate, set, digest, ticket, look)
    }

    /// Makes a set that was found good the one that all workers serve.
    fn publish(
        &mut self,
        candidate: &ServerName,
        mut set: CertificateSet,
        digest: [u8; 16],
        ticket: u64,
        look: &LookContext<'_>,
    ) -> Result<Good, BadSet> {
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
            stat: 0,
        };
        match writer.publish(&publication) {
            Ok(id) => {
                // What this very publication announced is in the answer.
                look.stamps.set(look.stamps.get().after_publication(&self.store, candidate));
                drop(writer);
                self.cache.insert_parsed(id, &good.parsed);
                good.is_published = true;
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
            Err(PublishError::Full { .. }) => {}
        }
        Ok(good)
    }

    /// One line for a reason, by whichever worker meets it first.
    fn report(
        &self,
        candidate: &ServerName,
        error: &BadSet,
        stat: &SetStat,
        has_last_good: bool,
        host: &dyn Host,
    ) {
        let mut hasher = DefaultHasher::new();
        candidate.as_str().hash(&mut hasher);
        error.text.hash(&mut hasher);
        stat.hash(&mut hasher);
        if self.store.report_once(hasher.finish()) {
            let consequence =
                if has_last_good { "the last good one is served" } else { "it is not served" };
            host.warn(format_args!("certificate \"{candidate}\": {}; {consequence}", error.text));
        }
    }

    /// Reads the files of a name now, whatever is cached: what `clear?name=` does. The first
    /// candidate that has files is taken.
    pub(crate) fn refresh(
        &mut self,
        name: &ServerName,
        host: &dyn Host,
    ) -> Result<Refreshed, RefreshError> {
        if self.store.configuration() != self.configuration {
            self.store.clear();
            return Err(RefreshError::OldWorker);
        }
        let now = host.monotonic_msec();
        let stamps = Stamps::take(&self.store, std::iter::once(name)).ok_or(RefreshError::Busy)?;
        let stamps = Cell::new(stamps);
        for candidate in [Some(name.clone()), name.wildcard(), name.parent()].into_iter().flatten()
        {
            let present = match self.store.find(candidate.as_str()) {
                Lookup::Found(entry) => Some(entry),
                Lookup::Absent => None,
                Lookup::Contended => return Err(RefreshError::Busy),
            };
            let look = LookContext { name, present: present.as_ref(), stamps: &stamps, now, host };
            let ticket = self.store.next_ticket();
            let files = match files::read(&self.pairs, &candidate) {
                // The zone's set is what handshakes get, not the next candidate's: the name is not
                // gone before its files are absent at a second look, which a clear lets begin.
                Look::Absent { .. } if present.is_some() => {
                    self.store.clear();
                    return Err(RefreshError::Files(format!(
                        "no files for \"{candidate}\"; until they are found to be gone, the last \
                         good certificate is served"
                    )));
                }
                Look::Absent { .. } => continue,
                Look::Present(files) => files,
            };
            let good = match self.check(&candidate, files, &look, ticket) {
                Ok(good) => good,
                // The parent's files need not cover each name below it.
                Err(error) if error.is_not_covered && candidate != *name => continue,
                Err(error) => return Err(RefreshError::Files(error.text)),
            };
            if !good.parsed.set.covers(name) {
                continue;
            }
            self.bad.0.pop(&candidate);
            if good.changed && !good.is_published {
                // Not in the zone, for want of room or of the lock: every worker has to read.
                self.store.clear();
            }
            return Ok(Refreshed { parsed: good.parsed, changed: good.changed });
        }
        Err(RefreshError::Files(format!("no files for \"{name}\"")))
    }
}

/// Whether a set that is good in itself may take the place of what serves now.
fn judge(
    set: &CertificateSet,
    candidate: &ServerName,
    look: &LookContext<'_>,
    serving: Option<&CertificateSet>,
) -> Result<(), BadSet> {
    let covers_own = set.covers(candidate);
    let is_worse = !covers_own && serving.is_some_and(|s| s.covers(candidate));
    if is_worse || (!covers_own && !set.covers(look.name)) {
        let text = format!("the certificate does not cover \"{}\"", look.name);
        return Err(BadSet { is_not_covered: true, ..BadSet::new(text) });
    }
    let now = look.host.unix_seconds();
    if serving.is_some_and(|s| !s.expired_at(now)) {
        if set.expired_at(now) {
            return Err(BadSet { may_pass: true, ..BadSet::new("the certificate has expired") });
        }
        if set.not_yet_valid_at(now + CLOCK_SKEW_SECONDS) {
            let text = "the certificate is not yet valid";
            return Err(BadSet { may_pass: true, ..BadSet::new(text) });
        }
    }
    look.host.accepts(set).map_err(BadSet::new)
}
