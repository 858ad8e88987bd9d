//! A server name to a certificate set: the only place that knows the order
//! cache → zone → files → `default=`.

mod from_files;

use std::cell::Cell;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::certificate::{CertificateSet, ChainCache};
use crate::ffi::decoder::KeyDecoder;
use crate::files::Pair;
use crate::server_name::{NameBuffer, ServerName};
use crate::store::{Lookup, SetId, Store, ZoneLock};
pub(crate) use crate::worker_cache::Matched;
use crate::worker_cache::{CANDIDATES, Cached, Entry, Parsed, Stamps, WorkerCache};

use from_files::{BadFiles, LookContext};
pub(crate) use from_files::{RefreshError, Refreshed};

/// Files that are bad or absent are looked at again after this, ms.
const LOOK_AGAIN_MSEC: u64 = 1_000;
/// A certificate that becomes valid this soon is taken for valid, s.
const CLOCK_SKEW_SECONDS: i64 = 300;
/// The zone is told of a name's use at most this often, ms.
const TOUCH_MSEC: u64 = 1_000;

/// What the resolver asks of the process that it runs in.
pub(crate) trait Host {
    /// Milliseconds of a clock that all processes share.
    fn monotonic_msec(&self) -> u64;
    /// Seconds since the epoch.
    fn unix_seconds(&self) -> i64;
    /// The zone's lock.
    fn lock(&self) -> &dyn ZoneLock;
    /// Whether the servers of the zone would take the set (their security level); the reason
    /// when not.
    fn accepts(&self, set: &CertificateSet) -> Result<(), String>;
    /// Something that an operator should know; the zone's name is added.
    fn warn(&self, text: fmt::Arguments<'_>);
    /// Something that should not be.
    fn alert(&self, text: fmt::Arguments<'_>);
}

/// Where a set was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Hit,
    Zone,
    File,
    Stale,
}

impl Status {
    /// The value of `$rust_shared_cert_status`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Hit => "hit",
            Status::Zone => "zone",
            Status::File => "file",
            Status::Stale => "stale",
        }
    }
}

/// The set for a handshake.
pub(crate) struct Served {
    pub(crate) parsed: Rc<Parsed>,
    pub(crate) status: Status,
    pub(crate) matched: Matched,
}

/// What one candidate gave.
struct Found {
    parsed: Rc<Parsed>,
    status: Status,
    /// As in `Entry`.
    look_again: u64,
    is_published: bool,
}

/// What a look at one candidate came to.
enum Candidate {
    Serves(Found),
    /// It serves, but all its certificates have expired: only when there is nothing better.
    Expired(Found),
    /// `look_again` as in `Entry`: when its files may be good.
    Nothing {
        look_again: u64,
    },
}

/// A zone as one worker uses it.
pub(crate) struct Resolver {
    store: Store,
    /// The configuration that this worker belongs to. An old worker looks at the files of an old
    /// configuration: what it reads is for itself.
    configuration: u64,
    pairs: Vec<Pair>,
    cache: WorkerCache,
    bad: BadFiles,
    decoder: KeyDecoder,
    chains: ChainCache,
}

impl Resolver {
    /// `worker_cache` is the number of names that are kept parsed.
    pub(crate) fn new(
        store: Store,
        configuration: u64,
        pairs: Vec<Pair>,
        worker_cache: usize,
    ) -> Resolver {
        Resolver {
            store,
            configuration,
            pairs,
            cache: WorkerCache::new(worker_cache),
            bad: BadFiles::new(),
            decoder: KeyDecoder::new(),
            chains: ChainCache::new(),
        }
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
            Cached::Unknown => self.look_up(&ServerName::from_operator(name)?, now, host),
        }
    }

    /// The candidates for a name in their order: the first that covers the name is taken.
    #[cold]
    fn look_up(&mut self, name: &ServerName, now: u64, host: &dyn Host) -> Option<Served> {
        let wildcard = name.wildcard();
        let parent = name.parent();
        let candidates: [(Option<&ServerName>, Matched); CANDIDATES] = [
            (Some(name), Matched::Exact),
            (wildcard.as_ref(), Matched::Wildcard),
            (parent.as_ref(), Matched::Parent),
        ];
        let names = candidates.iter().filter_map(|(candidate, _)| *candidate);
        let stamps = Cell::new(Stamps::take(&self.store, names)?);

        let mut expired = None;
        // A candidate that may become good is looked at again, whatever serves in the meantime.
        let mut pending = 0;
        for (candidate, matched) in candidates {
            let Some(candidate) = candidate else { continue };
            let present = match self.store.find(candidate.as_str()) {
                Lookup::Found(entry) => Some(entry),
                Lookup::Absent | Lookup::Contended => None,
            };
            let look = LookContext { name, present: present.as_ref(), stamps: &stamps, now, host };
            match self.candidate(candidate, &look) {
                Candidate::Serves(mut found) => {
                    found.look_again = sooner(found.look_again, pending);
                    return Some(self.remember(name, found, matched, stamps.get(), now));
                }
                Candidate::Expired(found) => {
                    pending = sooner(pending, found.look_again);
                    expired.get_or_insert((found, matched));
                }
                Candidate::Nothing { look_again } => pending = sooner(pending, look_again),
            }
        }
        if let Some((mut found, matched)) = expired {
            found.look_again = sooner(found.look_again, pending);
            self.report_expired(&found, host);
            return Some(self.remember(name, found, matched, stamps.get(), now));
        }
        self.cache.insert_absent(name, stamps.get(), now + LOOK_AGAIN_MSEC);
        None
    }

    fn remember(
        &mut self,
        name: &ServerName,
        found: Found,
        matched: Matched,
        stamps: Stamps,
        now: u64,
    ) -> Served {
        let Found { parsed, status, look_again, is_published } = found;
        self.store.touch(parsed.info.name.as_str(), now);
        let entry = Entry {
            parsed: Rc::clone(&parsed),
            matched,
            is_last_good: status == Status::Stale,
            stamps,
            look_again,
            touched: now,
            is_published,
        };
        self.cache.insert(name, entry);
        Served { parsed, status, matched }
    }

    /// One candidate: what the zone has of it, if that is not older than the last clear, else its
    /// files.
    fn candidate(&mut self, candidate: &ServerName, look: &LookContext<'_>) -> Candidate {
        let current = look.present.filter(|entry| entry.ticket > look.clear_epoch());
        if let Some(parsed) = current.and_then(|e| self.parsed(candidate, e.id, look.host)) {
            let found = Found { parsed, status: Status::Zone, look_again: 0, is_published: true };
            return self.offer(found, look);
        }
        self.look_at_files(candidate, look)
    }

    /// Only a set that covers the name is taken.
    fn offer(&self, found: Found, look: &LookContext<'_>) -> Candidate {
        if !found.parsed.set.covers(look.name) {
            Candidate::Nothing { look_again: found.look_again }
        } else if found.parsed.set.expired_at(look.host.unix_seconds()) {
            Candidate::Expired(found)
        } else {
            Candidate::Serves(found)
        }
    }

    /// One line for an expired set, by whichever worker meets it first.
    fn report_expired(&self, found: &Found, host: &dyn Host) {
        let mut hasher = DefaultHasher::new();
        ("expired", found.parsed.info.name.as_str(), found.parsed.digest).hash(&mut hasher);
        if self.store.report_once(hasher.finish()) {
            let name = &found.parsed.info.name;
            host.warn(format_args!(
                "certificate \"{name}\" has expired; it is served for want of a better one"
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
        match CertificateSet::from_record(&record, &mut self.decoder, &mut self.chains) {
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

    /// Drops parsed sets that are no longer current.
    pub(crate) fn sweep(&mut self) {
        self.cache.sweep(&self.store);
        self.chains.prune();
    }
}

/// The earlier of two times at which to look again; 0 is never.
fn sooner(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}
