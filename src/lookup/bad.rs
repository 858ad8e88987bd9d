//! What a worker knows of files that were bad or absent at the last look, and what serves meanwhile.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

use super::candidate::{Candidate, Found, offer};
use super::from_files::LookContext;
use super::gone::ABSENT;
use super::{LOOK_AGAIN_MSEC, Resolver, Status};
use crate::failure::Failure;
use crate::files::SetStat;
use crate::replacement::BadSet;
use crate::server_name::ServerName;
use crate::store::Counter;
use crate::worker_cache::Parsed;

/// How many names with bad or vanished files a worker remembers.
const BAD_NAMES: usize = 1_024;

/// What was wrong with a candidate's files at the last look.
pub(super) struct BadLook {
    /// The zone's clear epoch at the look: a clear makes the look old.
    pub(super) clear_epoch: u64,
    /// When to look again, monotonic ms.
    pub(super) look_again: u64,
    /// What the files were like; `None` when the reason may go away without a change to them.
    pub(super) stat: Option<SetStat>,
    /// Since when all files are absent, monotonic ms.
    pub(super) absent_since: Option<u64>,
}

/// The candidates whose files were bad or absent; bounded.
pub(super) struct BadFiles(LruCache<ServerName, BadLook>);

impl BadFiles {
    pub(super) fn new() -> BadFiles {
        BadFiles(LruCache::new(NonZeroUsize::new(BAD_NAMES).unwrap_or(NonZeroUsize::MIN)))
    }

    pub(super) fn note(&mut self, candidate: &ServerName, look: BadLook) {
        self.0.push(candidate.clone(), look);
    }

    pub(super) fn forget(&mut self, candidate: &ServerName) {
        self.0.pop(candidate);
    }

    /// Since when a candidate's files, or those of one pair, are absent, monotonic ms.
    pub(super) fn absent_since(&self, candidate: &ServerName) -> Option<u64> {
        self.0.peek(candidate)?.absent_since
    }
}

impl Resolver {
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
            let consequence = match (has_last_good, &error.good_part) {
                (true, _) => "the last good one is served",
                (false, Some(_)) => "its other key types are served",
                (false, None) => "it is not served",
            };
            self.report(candidate, &error, stat, consequence, look);
            self.note_failure(candidate, &error, look);
        }
        if let Some(entry) = look.present.filter(|entry| entry.stat == ABSENT) {
            if let Some(mut writer) = self.writer(look.host) {
                writer.note_stat(candidate.as_str(), entry.id, 0, look.now);
            }
        }
        let look_again = look.now + LOOK_AGAIN_MSEC;
        let bad = BadLook {
            clear_epoch: look.clear_epoch(),
            look_again,
            stat: (!error.may_pass).then(|| stat.clone()),
            absent_since: error.is_one_absent.then(|| self.absent_since(candidate, look)),
        };
        self.bad.note(candidate, bad);

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
    pub(super) fn is_still_bad(
        &mut self,
        candidate: &ServerName,
        look: &LookContext<'_>,
    ) -> Option<u64> {
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

    pub(super) fn forget_bad(&mut self, candidate: &ServerName, look: &LookContext<'_>) {
        self.bad.forget(candidate);
        let Some(entry) = look.present else { return };
        let has_failed = Failure::is_of_files(entry.failure);
        if !entry.last_good && !has_failed {
            return;
        }
        if let Some(mut writer) = self.writer(look.host) {
            writer.set_last_good(candidate.as_str(), false);
            if has_failed {
                writer.set_failure(candidate.as_str(), Failure::NONE);
            }
        }
    }

    /// Tells those who ask the API of what serves.
    fn note_failure(&self, candidate: &ServerName, error: &BadSet, look: &LookContext<'_>) {
        let Some(entry) = look.present else { return };
        let failure = Failure::noted(entry.failure, error.kind, look.host.unix_seconds());
        if failure == entry.failure {
            return;
        }
        if let Some(mut writer) = self.writer(look.host) {
            if self.is_same(candidate, entry) {
                writer.set_failure(candidate.as_str(), failure);
            }
        }
    }

    /// The last good set of a candidate: the zone's, else one that only this worker has.
    pub(super) fn last_good(
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
    pub(super) fn unpublished(&self, candidate: &ServerName) -> Option<Rc<Parsed>> {
        let entry = self.cache.last(candidate.as_str().as_bytes())?;
        let is_own = entry.parsed.info.name == *candidate;
        let is_kept = is_own && (!entry.is_published || entry.was_evicted(&self.store));
        is_kept.then(|| Rc::clone(&entry.parsed))
    }

    /// One line for a reason after each clear, by whichever worker meets it first; and it counts.
    pub(super) fn report(
        &self,
        candidate: &ServerName,
        error: &BadSet,
        stat: &SetStat,
        consequence: &str,
        look: &LookContext<'_>,
    ) {
        if error.is_common {
            if self.report_once(&(&error.text, look.clear_epoch())) {
                self.count(error);
                look.host.warn(format_args!("certificate files cannot be read: {}", error.text));
            }
            return;
        }
        if self.report_once(&(candidate.as_str(), &error.text, stat, look.clear_epoch())) {
            self.count(error);
            let text = &error.text;
            look.host.warn(format_args!("certificate \"{candidate}\": {text}; {consequence}"));
        }
    }

    fn count(&self, error: &BadSet) {
        self.store.add(Counter::LoadFailures(error.kind.number()), 1);
    }

    /// Whether nobody told of it yet.
    pub(super) fn report_once(&self, what: &impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.store.report_once(hasher.finish())
    }
}
