//! `load=startup`: the master reads all files that there are, with its own rights, at start and at
//! each reload. Workers open none.

mod apply;
mod check;
mod pushed;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::certificate::{CertificateSet, Parser};
use crate::failure::{Failure, Reason};
use crate::files::{Files, Look, Scan, SetFiles, tag};
use crate::host::Host;
use crate::record::{Record, Source};
use crate::replacement::{BadSet, judge_fixed, lost_key_type, names_of};
use crate::server_name::ServerName;
use crate::store::{Entry, Lookup, Previous, SetId, Store};

pub(crate) use apply::{Plan, TooSmall, fill, forget, patient_writer};

/// Files that are absent, or bad in a way that may pass, are looked at so often, this far apart.
const LOOKS: usize = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1_050);

/// The clock is set for so many names each: nobody else does while the master reads.
const CLOCK_UPDATE: usize = 256;

/// There is a line of progress for so many names each.
const PROGRESS: usize = 10_000;

/// What is to be done for a name. Nothing is, where its files did not change.
pub(crate) enum Change {
    /// Its files hold a set that is to serve.
    Publish(Box<NewSet>),
    /// Its files changed, but not what they hold.
    Same { id: SetId, seen: Seen },
    /// Nothing takes the place of the set that was pushed; but what its files hold is noted.
    Seen { id: SetId, seen: Seen },
    /// Its files are bad: what serves is the last good, or what was pushed.
    Bad(Reason),
    /// Its files are gone.
    Remove,
}

/// A set that files hold.
pub(crate) struct NewSet {
    record: Record,
    served: Vec<String>,
    seen: Seen,
    /// Some of its key types are bad: they are left out.
    failure: Option<Reason>,
    /// It takes the place of a set that was pushed.
    is_over_push: bool,
}

/// What a look at the files of a name saw.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// Drawn before they were opened.
    ticket: u64,
    /// As `store::Entry::stat`.
    stat: u64,
    /// As `store::Entry::seen`.
    tag: u64,
}

/// Reads files for a zone.
pub(crate) struct Startup<'a> {
    files: &'a Files,
    /// What becomes of a set that files replace.
    previous: Previous,
    store: &'a Store,
    host: &'a dyn Host,
    parser: Parser,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    looked_at: usize,
    unchanged: usize,
    bad: usize,
    gone: usize,
}

/// One of `replacement`.
type Judge = fn(&CertificateSet, Option<&CertificateSet>, bool, &dyn Host) -> Result<(), BadSet>;

/// What a look at a name came to.
enum Outcome {
    Unchanged,
    Change(Change),
    /// To be looked at once more.
    Pending,
    /// There are no files, and nothing serves.
    Nothing,
}

impl<'a> Startup<'a> {
    pub(crate) fn new(
        files: &'a Files,
        previous: Previous,
        store: &'a Store,
        host: &'a dyn Host,
    ) -> Startup<'a> {
        let (parser, counts) = (Parser::new(), Counts::default());
        Startup { files, previous, store, host, parser, counts }
    }

    /// Looks at the files of all names and tells what is to be done; bad pairs are in the log.
    /// Waits about a second, three times at the most, where files are absent that were there, or
    /// are being written.
    pub(crate) fn run(&mut self, mut apply: impl FnMut(&ServerName, Change)) {
        let scan = self.files.scan();
        self.report(&scan);
        let gone = self.names_without_files(&scan);

        let mut pending = Vec::new();
        for name in &scan.names {
            self.progress(scan.names.len());
            match self.look(name, true) {
                Outcome::Pending => pending.push(name.clone()),
                outcome => self.settle(name, outcome, &mut apply),
            }
        }
        for name in gone {
            match self.look(&name, true) {
                Outcome::Pending => pending.push(name),
                outcome => self.settle(&name, outcome, &mut apply),
            }
        }
        self.look_again(pending, &mut apply);
        self.host.notice(format_args!(
            "{} certificates looked at, {} of them unchanged, {} bad",
            self.counts.looked_at, self.counts.unchanged, self.counts.bad
        ));
        if self.counts.gone > 0 {
            self.host.warn(format_args!("{} certificates have no files and end", self.counts.gone));
        }
    }

    fn report(&self, scan: &Scan) {
        for error in &scan.errors {
            self.host.error(format_args!("{error}; no certificate is removed"));
        }
        if scan.errors.is_empty() && scan.names.is_empty() {
            self.host.error(format_args!("no certificate files found; no certificate is removed"));
        }
        self.report_skipped(scan);
    }

    /// Names that were read at an earlier start, or are known to have had files when they were
    /// pushed, and that the scan did not find.
    fn names_without_files(&self, scan: &Scan) -> Vec<ServerName> {
        if !scan.is_complete() {
            return Vec::new();
        }
        let found: HashSet<&str> = scan.names.iter().map(ServerName::as_str).collect();
        let names = self.store.names().into_iter();
        let names = names.filter(|(_, entry)| match entry.source {
            Source::Startup => true,
            Source::Pushed => entry.seen != tag::NONE,
            Source::Lazy => false,
        });
        names
            .filter(|(name, _)| !found.contains(name.as_str()))
            .filter_map(|(name, _)| ServerName::from_operator(name.as_bytes()))
            .collect()
    }

    fn progress(&mut self, of: usize) {
        self.counts.looked_at += 1;
        let count = self.counts.looked_at;
        if count % CLOCK_UPDATE == 1 {
            self.host.update_clock();
        }
        if of > PROGRESS && count % PROGRESS == 0 {
            self.host.notice(format_args!("{count} of {of} certificates looked at"));
        }
    }

    fn look_again(
        &mut self,
        mut pending: Vec<ServerName>,
        apply: &mut impl FnMut(&ServerName, Change),
    ) {
        for look in 1..LOOKS {
            if pending.is_empty() {
                return;
            }
            thread::sleep(BETWEEN_LOOKS);
            self.host.update_clock();
            let may_wait = look + 1 < LOOKS;
            for name in std::mem::take(&mut pending) {
                match self.look(&name, may_wait) {
                    Outcome::Pending => pending.push(name),
                    outcome => self.settle(&name, outcome, apply),
                }
            }
        }
    }

    fn settle(
        &mut self,
        name: &ServerName,
        outcome: Outcome,
        apply: &mut impl FnMut(&ServerName, Change),
    ) {
        match outcome {
            Outcome::Unchanged => self.counts.unchanged += 1,
            Outcome::Change(change) => {
                self.counts.gone += usize::from(matches!(change, Change::Remove));
                apply(name, change);
            }
            Outcome::Pending | Outcome::Nothing => {}
        }
    }

    /// `may_wait`: another look is to come, if this one asks for it.
    fn look(&mut self, name: &ServerName, may_wait: bool) -> Outcome {
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
        let lost = set.uncovered(&names_of(serving).collect::<Vec<_>>());
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

    fn can_tell(&self) -> bool {
        self.files.can_tell(self.store)
    }

    fn serving(&mut self, name: &ServerName, entry: &Entry) -> Option<Serving> {
        let Lookup::Found((found, record)) = self.store.read(name.as_str()) else { return None };
        if found.id != entry.id {
            return None;
        }
        let set = CertificateSet::from_record(&record, &mut self.parser).ok()?;
        let is_startup = record.source == Source::Startup;
        Some(Serving { id: entry.id, digest: record.digest, is_startup, set })
    }

    fn check(
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

    fn publish(
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
struct Serving {
    id: SetId,
    digest: [u8; 16],
    is_startup: bool,
    set: CertificateSet,
}
