//! One look at the files of a name: what is to be done for it.

use super::{Change, NewSet, Outcome, Seen, Startup};
use crate::certificate::CertificateSet;
use crate::failure::{Failure, Reason};
use crate::files::{Look, SetFiles};
use crate::host::Host;
use crate::record::Source;
use crate::replacement::{BadSet, judge_fixed, lost_key_type, names_of};
use crate::server_name::ServerName;
use crate::store::{Entry, Lookup, SetId};

/// One of `replacement`.
pub(super) type Judge =
    fn(&CertificateSet, Option<&CertificateSet>, bool, &dyn Host) -> Result<(), BadSet>;

impl Startup<'_> {
    /// `may_wait`: another look is to come, if this one asks for it.
    pub(super) fn look(&mut self, name: &ServerName, may_wait: bool) -> Outcome {
        let present = match self.store.find(name.as_str()) {
            Lookup::Found(entry) => Some(entry),
            Lookup::Absent | Lookup::Contended => None,
        };
        if present.as_ref().is_some_and(|entry| self.is_unchanged(name, entry)) {
            return Outcome::Unchanged;
        }
        if let Some(entry) = present.as_ref().filter(|entry| entry.source == Source::Pushed) {
            return self.look_beside(name, entry, may_wait);
        }

        let ticket = self.store.next_ticket();
        let files = match self.files.read(name) {
            Look::Present(files) => files,
            Look::Absent if present.is_none() => return Outcome::Nothing,
            Look::Absent if may_wait => return Outcome::Pending,
            Look::Absent => return Outcome::Change(self.absent(name)),
        };
        let stat = files.stat().mark(self.host.unix_seconds(), self.host.accepts_by());
        let seen = Seen { ticket, stat, tag: files.tag() };
        let serving = present.and_then(|entry| self.serving(name, &entry));
        if let Some(serving) = serving.as_ref().filter(|s| s.is_startup) {
            if serving.digest == files.digest() && self.host.accepts(&serving.set).is_ok() {
                return Outcome::Change(Change::Same { id: serving.id, seen });
            }
        }
        let serving_set = serving.as_ref().map(|s| &s.set);
        let checked = self.check(&files, serving_set, stat != 0, judge_fixed).and_then(|set| {
            let lost = lost_key_type(&set, serving_set).filter(|_| files.is_one_absent());
            match lost.filter(|_| may_wait || !self.can_tell()) {
                Some(key_type) => Err(BadSet::without(key_type)),
                None => Ok(set),
            }
        });
        match checked {
            Ok(set) => {
                self.warn_of_lost_names(name, &set, serving_set);
                self.publish(&set, &files, seen, false)
            }
            Err(bad) if bad.may_pass && may_wait => Outcome::Pending,
            Err(bad) => {
                let serves = serving.is_some_and(|s| self.host.accepts(&s.set).is_ok());
                self.bad(name, bad, present.is_some(), serves, seen)
            }
        }
    }

    /// One line for the names that end with the set that is replaced.
    fn warn_of_lost_names(
        &self,
        name: &ServerName,
        set: &CertificateSet,
        serving: Option<&CertificateSet>,
    ) {
        let lost = set.uncovered(&names_of(serving));
        let Some(first) = lost.first() else { return };
        let others = match lost.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        self.host.warn(format_args!(
            "certificate \"{name}\": its files no longer cover \"{first}\"{others}"
        ));
    }

    fn is_unchanged(&self, name: &ServerName, entry: &Entry) -> bool {
        let mark = || {
            let stat = self.files.stat(name);
            stat.mark(self.host.unix_seconds(), self.host.accepts_by())
        };
        let has_trouble = entry.last_good || Failure::is_of_files(entry.failure);
        !entry.is_lazy() && !has_trouble && entry.stat != 0 && entry.stat == mark()
    }

    /// Absent at the last look, more than a second after the first.
    fn absent(&self, name: &ServerName) -> Change {
        if self.can_tell() {
            return Change::Remove;
        }
        self.host.warn(format_args!(
            "certificate \"{name}\": no files, but their directory is not as it was; the last good \
             one is served"
        ));
        Change::Bad(Reason::Absent)
    }

    pub(super) fn can_tell(&self) -> bool {
        self.files.can_tell(self.store)
    }

    pub(super) fn serving(&mut self, name: &ServerName, entry: &Entry) -> Option<Serving> {
        let Lookup::Found((found, record)) = self.store.read(name.as_str()) else { return None };
        if found.id != entry.id {
            return None;
        }
        let set = CertificateSet::from_record(&record, &mut self.parser).ok()?;
        let is_startup = record.source == Source::Startup;
        Some(Serving { id: entry.id, digest: record.digest, is_startup, set })
    }

    pub(super) fn check(
        &mut self,
        files: &SetFiles,
        serving: Option<&CertificateSet>,
        is_settled: bool,
        judge: Judge,
    ) -> Result<CertificateSet, BadSet> {
        let set = self.files.check(files, &mut self.parser).map_err(|bad| BadSet {
            // What was written a moment ago may still be being written.
            may_pass: !is_settled,
            ..BadSet::of_files(bad)
        })?;
        judge(&set, serving, is_settled, self.host).map_err(|bad| BadSet {
            // Waiting makes no certificate valid.
            may_pass: bad.may_pass && !is_settled,
            ..bad.at(files.certificate_path())
        })?;
        if set.expired_at(self.host.unix_seconds()) {
            let path = files.certificate_path().display();
            self.host.warn(format_args!("\"{path}\": the certificate has expired; it is served"));
        }
        Ok(set)
    }

    pub(super) fn publish(
        &self,
        set: &CertificateSet,
        files: &SetFiles,
        seen: Seen,
        is_over_push: bool,
    ) -> Outcome {
        match set.to_record(Source::Startup, files.digest()) {
            Ok(record) => {
                let served = set.names().map(str::to_owned).collect();
                let new = NewSet { record, served, seen, failure: None, is_over_push };
                Outcome::Change(Change::Publish(Box::new(new)))
            }
            Err(error) => {
                self.host.alert(format_args!("{}: {error}", files.certificate_path().display()));
                Outcome::Nothing
            }
        }
    }

    fn bad(
        &mut self,
        name: &ServerName,
        bad: BadSet,
        has_last_good: bool,
        serves: bool,
        seen: Seen,
    ) -> Outcome {
        self.counts.bad += 1;
        let part = if has_last_good { None } else { bad.good_part };
        let consequence = match (serves, &part) {
            (true, _) => "the last good one is served",
            (false, Some(_)) => "its other key types are served",
            (false, None) => "it is not served",
        };
        self.host.warn(format_args!("certificate \"{name}\": {}; {consequence}", bad.text));
        if has_last_good {
            return Outcome::Change(Change::Bad(bad.kind));
        }
        // Not to be taken for what the files hold: it has no digest of theirs, and no stat.
        let record = part.and_then(|part| {
            let served: Vec<String> = part.names().map(str::to_owned).collect();
            part.to_record(Source::Startup, [0; 16]).ok().map(|record| (record, served))
        });
        match record {
            Some((record, served)) if !served.is_empty() => {
                let (seen, failure) = (Seen { stat: 0, ..seen }, Some(bad.kind));
                let new = NewSet { record, served, seen, failure, is_over_push: false };
                Outcome::Change(Change::Publish(Box::new(new)))
            }
            _ => Outcome::Change(Change::Bad(bad.kind)),
        }
    }
}

/// What the zone has of a name.
pub(super) struct Serving {
    id: SetId,
    digest: [u8; 16],
    is_startup: bool,
    pub(super) set: CertificateSet,
}
