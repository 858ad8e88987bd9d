//! Files that are absent: a name, or a key type of it, is gone at the second look.

use super::bad::BadLook;
use super::candidate::Candidate;
use super::from_files::LookContext;
use super::{LOOK_AGAIN_MSEC, Resolver};
use crate::certificate::CertificateSet;
use crate::files::SetFiles;
use crate::replacement::{BadSet, lost_key_type};
use crate::server_name::ServerName;

/// A name is gone when its files are absent at two looks this far apart, ms.
pub(super) const GONE_MSEC: u64 = 1_000;

/// In the zone, in the place of `SetStat::mark()`: the last look found no file. All workers go by the
/// first of those.
pub(super) const ABSENT: u64 = 1;

impl Resolver {
    /// All files are absent: the last good serves until they are absent at a second look.
    pub(super) fn absent(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> Candidate {
        if look.present.is_none() && self.unpublished(candidate).is_none() {
            return Candidate::Nothing { look_again: 0 };
        }
        let is_certain = self.can_tell(look);
        let since = if is_certain { self.absent_since(candidate, look) } else { look.now };
        if is_certain && look.now.saturating_sub(since) >= GONE_MSEC && self.remove(candidate, look)
        {
            return Candidate::Nothing { look_again: 0 };
        }
        if let Some(entry) = look.present.filter(|entry| is_certain && entry.stat != ABSENT) {
            if let Some(mut writer) = self.writer(look.host) {
                writer.note_stat(candidate.as_str(), entry.id, ABSENT, look.now);
            }
        }
        let look_again = look.now + LOOK_AGAIN_MSEC;
        let bad = BadLook {
            clear_epoch: look.clear_epoch(),
            look_again,
            stat: None,
            absent_since: is_certain.then_some(since),
        };
        self.bad.note(candidate, bad);
        self.last_good(candidate, look, look_again)
    }

    /// Since when files are absent, monotonic ms: now, if this is the first look that finds it.
    pub(super) fn absent_since(&self, candidate: &ServerName, look: &LookContext<'_>) -> u64 {
        let by_others = look.present.filter(|e| e.stat == ABSENT).map(|e| e.looked_at);
        let since = self.bad.absent_since(candidate).into_iter().chain(by_others).min();
        since.unwrap_or(look.now)
    }

    /// Whether absent files are gone. When not, one line says so.
    pub(super) fn can_tell(&self, look: &LookContext<'_>) -> bool {
        if self.settings.files.can_tell(&self.store) {
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
    pub(super) fn remove(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> bool {
        if look.present.is_some() {
            let Some(mut writer) = self.writer(look.host) else { return false };
            if look.present.is_some_and(|entry| self.is_same(candidate, entry)) {
                writer.remove(candidate.as_str());
            }
        }
        self.bad.forget(candidate);
        true
    }

    /// A key type whose files are gone is one at the second look.
    pub(super) fn keep_key_types(
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
}
