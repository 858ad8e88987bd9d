//! A server name to a certificate set: the only place that knows the order
//! cache → sets that serve all their names → files → `default=`.

mod bad;
mod beside;
mod candidate;
mod from_files;
mod gone;
mod looks;
mod refresh;
mod serving;

use std::cell::Cell;
use std::rc::Rc;

use crate::certificate::{CertificateSet, Parser};
use crate::files::{Files, tag};
use crate::handshakes::Ending;
use crate::host::Host;
use crate::server_name::{NameBuffer, ServerName};
use crate::store::{self, Lookup, Previous, SetId, Store, Survey};
pub(crate) use crate::worker_cache::Matched;
use crate::worker_cache::{CANDIDATES, Cached, Entry, Parsed, Stamps, WorkerCache};

use bad::BadFiles;
use candidate::{Candidate, Choice, Found, offer};
use from_files::LookContext;
use looks::Looks;
pub(crate) use refresh::{RefreshError, Refreshed};

/// Files that are bad or absent are looked at again after this, ms.
const LOOK_AGAIN_MSEC: u64 = 1_000;
/// The zone is told of a name's use at most this often, ms.
const TOUCH_MSEC: u64 = 1_000;

/// Who reads the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// A worker, at the first handshake for a name.
    Lazy,
    /// The master, at start and at each reload.
    Startup,
    /// Nobody.
    Off,
}

/// A zone's configuration.
pub(crate) struct Settings {
    pub(crate) load: Load,
    pub(crate) files: Files,
    /// Files of a lazy set are looked at again when the last look is this long ago, ms.
    pub(crate) valid_msec: Option<u64>,
    /// How many names a worker keeps parsed.
    pub(crate) worker_cache: usize,
    /// A set that files replace is kept, for who can roll back to it.
    pub(crate) keeps_previous: Cell<bool>,
}

impl Settings {
    /// What becomes of a set that files replace.
    pub(crate) fn previous(&self) -> Previous {
        if self.keeps_previous.get() { Previous::Keep } else { Previous::Drop }
    }
}

/// Where a set was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Hit,
    Zone,
    File,
    Stale,
}

impl From<Status> for Ending {
    fn from(status: Status) -> Ending {
        match status {
            Status::Hit => Ending::Hit,
            Status::Zone => Ending::Zone,
            Status::File => Ending::File,
            Status::Stale => Ending::Stale,
        }
    }
}

/// The set for a handshake.
pub(crate) struct Served {
    pub(crate) parsed: Rc<Parsed>,
    pub(crate) status: Status,
    pub(crate) matched: Matched,
}

/// A zone as one worker uses it.
pub(crate) struct Resolver {
    store: Store,
    /// The configuration that this worker belongs to. An old worker looks at the files of an old
    /// configuration: what it reads is for itself.
    configuration: u64,
    settings: Rc<Settings>,
    cache: WorkerCache,
    bad: BadFiles,
    looks: Looks,
    parser: Parser,
    /// The names whose files took the place of what was pushed, which may be on disk still.
    replaced: Vec<ServerName>,
    /// What metrics tell of all sets.
    survey: Survey,
}

impl Resolver {
    pub(crate) fn new(store: Store, configuration: u64, settings: Rc<Settings>) -> Resolver {
        Resolver {
            store,
            configuration,
            cache: WorkerCache::new(settings.worker_cache),
            settings,
            bad: BadFiles::new(),
            looks: Looks::default(),
            parser: Parser::new(),
            replaced: Vec::new(),
            survey: Survey::default(),
        }
    }

    /// The names whose files took the place of what was pushed, for whoever keeps that on disk.
    pub(crate) fn take_replaced(&mut self) -> Vec<ServerName> {
        std::mem::take(&mut self.replaced)
    }

    /// Of the zone's configurations, that of this worker.
    pub(crate) fn configuration(&self) -> u64 {
        self.configuration
    }

    /// The set for a handshake: of the name that the client sent, else of `default`.
    pub(crate) fn resolve(
        &mut self,
        asked: Option<&[u8]>,
        default: Option<&ServerName>,
        host: &dyn Host,
    ) -> Option<Served> {
        if let Some(name) = asked.and_then(NameBuffer::from_client) {
            let served = self.by_name(name.as_bytes(), host);
            if served.is_some() {
                return served;
            }
        }
        let default = default?;
        let mut served = self.by_name(default.as_str().as_bytes(), host)?;
        served.matched = Matched::Default;
        Some(served)
    }

    /// `name` is a host name in its normal form.
    fn by_name(&mut self, name: &[u8], host: &dyn Host) -> Option<Served> {
        let now = host.monotonic_msec();
        match self.cache.get(name, &self.store, now) {
            Cached::Found(entry) => {
                if now.wrapping_sub(entry.touched) > TOUCH_MSEC {
                    entry.touched = now;
                    self.store.touch(entry.parsed.info.name.as_str(), now);
                }
                let status = if entry.is_last_good { Status::Stale } else { Status::Hit };
                Some(Served { parsed: Rc::clone(&entry.parsed), status, matched: entry.matched })
            }
            Cached::Absent => None,
            Cached::Unknown => {
                self.look_up(&ServerName::from_operator(name)?, now, looks::PATIENCE_MSEC, host)
            }
        }
    }

    /// The candidates for a name in their order: the first that covers the name is taken. Files
    /// whose look is overdue by `patience`, ms, are looked at.
    #[cold]
    fn look_up(
        &mut self,
        name: &ServerName,
        now: u64,
        patience: u64,
        host: &dyn Host,
    ) -> Option<Served> {
        let (wildcard, parent) = (name.wildcard(), name.parent());
        let candidates: [(Option<&ServerName>, Matched); CANDIDATES] = [
            (Some(name), Matched::Exact),
            (wildcard.as_ref(), Matched::Wildcard),
            (parent.as_ref(), Matched::Parent),
        ];
        let names = || candidates.iter().filter_map(|(candidate, _)| *candidate);
        let stamps = Cell::new(Stamps::take(&self.store, names())?);

        let look = LookContext { name, present: None, stamps: &stamps, now, patience, host };
        let offered = self.offer_serving(names, &look);
        let is_settled = offered.is_some();
        let mut choice = offered.unwrap_or_default();
        for (candidate, matched) in candidates {
            if choice.is_made() {
                break;
            }
            let Some(candidate) = candidate else { continue };
            let present = match self.store.find(candidate.as_str()) {
                Lookup::Found(entry) => Some(entry),
                Lookup::Absent | Lookup::Contended => None,
            };
            let present = present.as_ref();
            let look = LookContext { present, ..look };
            let offered = match self.settings.load {
                Load::Lazy => self.candidate(candidate, &look),
                Load::Startup | Load::Off => self.of_later_workers(candidate, &look),
            };
            choice.consider(offered, matched);
        }

        let Some((found, matched)) = choice.made() else {
            if is_settled {
                self.cache.insert_absent(name, stamps.get(), now + LOOK_AGAIN_MSEC);
            }
            return None;
        };
        if found.parsed.set.expired_at(host.unix_seconds()) {
            self.report_expired(&found, host);
        }
        Some(self.remember(name, found, matched, stamps.get(), now))
    }

    fn remember(
        &mut self,
        name: &ServerName,
        found: Found,
        matched: Matched,
        stamps: Stamps,
        now: u64,
    ) -> Served {
        let Found { parsed, mut status, look_again, is_published } = found;
        self.store.touch(parsed.info.name.as_str(), now);
        let is_last_good = status == Status::Stale;
        let last = self.cache.last(name.as_str().as_bytes());
        // Something changed in the zone, but not for this name: names share their stamps.
        if status == Status::Zone && last.is_some_and(|last| Rc::ptr_eq(&last.parsed, &parsed)) {
            status = Status::Hit;
        }
        let planned = last.map_or(0, |last| last.planned);
        let planned = self.looks.plan(name, looks::planned_for(look_again, is_last_good), planned);
        let entry = Entry {
            parsed: Rc::clone(&parsed),
            matched,
            is_last_good,
            stamps,
            look_again,
            made: now,
            touched: now,
            planned,
            is_published,
        };
        self.cache.insert(name, entry);
        Served { parsed, status, matched }
    }

    /// One candidate: what the zone has of it, if that is not older than the last clear and its
    /// files need no look, else its files.
    fn candidate(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> Candidate {
        let is_current =
            |entry: &&store::Entry| !entry.last_good && entry.ticket > look.clear_epoch();
        // It was offered with all that it serves, unless it came since; its files are looked at there.
        if let Some(entry) = look.present.filter(|entry| !entry.is_lazy()) {
            return match self.parsed(candidate, entry.id, look.host) {
                Some(parsed) => offer(Found::in_zone(parsed), look),
                None => Candidate::Nothing { look_again: 0 },
            };
        }
        if let Some(entry) = look.present.filter(is_current) {
            if let Some(look_again) = self.need_no_look(candidate, entry, look) {
                if let Some(parsed) = self.parsed(candidate, entry.id, look.host) {
                    return offer(Found { look_again, ..Found::in_zone(parsed) }, look);
                }
            }
        }
        self.look_at_files(candidate, look)
    }

    /// What workers of a later configuration have read, where this one's workers read nothing: they
    /// take the place of what served.
    fn of_later_workers(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> Candidate {
        let entry = look.present.filter(|entry| entry.is_lazy());
        match entry.and_then(|entry| self.parsed(candidate, entry.id, look.host)) {
            Some(parsed) => offer(Found { look_again: look.now, ..Found::in_zone(parsed) }, look),
            None => Candidate::Nothing { look_again: 0 },
        }
    }

    /// One line for an expired set, by whichever worker meets it first.
    fn report_expired(&self, found: &Found, host: &dyn Host) {
        let info = &found.parsed.info;
        if self.report_once(&("expired", info.name.as_str(), found.parsed.digest)) {
            let name = &found.parsed.info.name;
            host.warn(format_args!(
                "certificate \"{name}\" has expired; it is served where there is none better"
            ));
        }
    }

    /// A set of the zone, parsed; `None` when it is gone by now, or cannot be decoded, or when the
    /// servers of this configuration do not take it: an earlier one may have asked for less.
    fn parsed(&mut self, candidate: &ServerName, id: SetId, host: &dyn Host) -> Option<Rc<Parsed>> {
        if let Some(parsed) = self.cache.parsed(id) {
            return Some(parsed);
        }
        let Lookup::Found((entry, record)) = self.store.read(candidate.as_str()) else {
            return None;
        };
        match CertificateSet::from_record(&record, &mut self.parser) {
            Ok(set) => {
                host.accepts(&set).ok()?;
                let parsed = Parsed::new(candidate.clone(), set, record.digest);
                self.cache.insert_parsed(entry.id, &parsed);
                Some(parsed)
            }
            Err(error) => {
                host.alert(format_args!("certificate \"{candidate}\" in shared memory: {error}"));
                None
            }
        }
    }

    /// What a push of the name is made over: the tag of its files as they are now, or as they were
    /// when the master last looked.
    pub(crate) fn seen_files(&mut self, name: &ServerName) -> u64 {
        let files = &self.settings.files;
        match self.settings.load {
            // Another configuration may have other files.
            Load::Lazy if !self.may_write() => tag::UNKNOWN,
            Load::Lazy => files.tag(&files.read(name), &self.store),
            Load::Startup | Load::Off => match self.store.find(name.as_str()) {
                Lookup::Found(entry) => entry.seen,
                Lookup::Absent => tag::NONE,
                Lookup::Contended => tag::UNKNOWN,
            },
        }
    }

    /// What this worker has found out of all sets.
    pub(crate) fn survey(&mut self) -> &mut Survey {
        &mut self.survey
    }

    /// What sets are parsed with in this worker.
    pub(crate) fn parser(&mut self) -> &mut Parser {
        &mut self.parser
    }

    /// Begins to drop parsed sets that are no longer current.
    pub(crate) fn begin_sweep(&mut self) {
        self.cache.begin_sweep(&self.store);
        self.parser.chains.prune();
    }

    /// Goes on with that; true when there is more to do.
    pub(crate) fn sweep(&mut self) -> bool {
        self.cache.sweep(&self.store)
    }
}

#[cfg(test)]
mod tests;
