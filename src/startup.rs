//! `load=startup`: the master reads all files that there are, with its own rights, at start and at
//! each reload. Workers open none.

mod apply;
mod check;
mod look;
mod pushed;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::certificate::Parser;
use crate::failure::Reason;
use crate::files::{Files, Scan, tag};
use crate::host::Host;
use crate::record::{Record, Source};
use crate::server_name::ServerName;
use crate::store::{Previous, SetId, Store};

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
}
