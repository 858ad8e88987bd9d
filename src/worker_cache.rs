//! What a worker keeps parsed: bounded, least recently used out first, valid by stamps.

mod round;

use std::cell::Cell;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};

use lru::LruCache;

use self::round::{Places, Round};

use crate::certificate::CertificateSet;
use crate::record::KeyType;
use crate::server_name::ServerName;
use crate::store::{Lookup, SetId, Stamp, Store};

/// How many names that nobody serves are remembered, for at most a second each (P15).
const ABSENT_NAMES: usize = 1_024;

/// The server name in candidate order: itself, its wildcard, its parent.
pub(crate) const CANDIDATES: usize = 3;

/// What a set is known by in variables and answers; without keys, so that a connection may keep
/// it for as long as it lives.
#[derive(Debug)]
pub(crate) struct SetInfo {
    pub(crate) name: ServerName,
    pub(crate) members: Box<[MemberInfo]>,
}

/// One certificate of a set.
#[derive(Debug)]
pub(crate) struct MemberInfo {
    pub(crate) key_type: KeyType,
    /// SHA-256 of the leaf's DER.
    pub(crate) fingerprint: [u8; 32],
    /// Seconds since the epoch, as `not_after`.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl MemberInfo {
    /// The fingerprint as 64 hexadecimal digits.
    pub(crate) fn fingerprint_hex(&self) -> String {
        use std::fmt::Write;
        self.fingerprint.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// A set that is ready to be installed.
pub(crate) struct Parsed {
    pub(crate) set: CertificateSet,
    pub(crate) info: Rc<SetInfo>,
    /// As `Record::digest`.
    pub(crate) digest: [u8; 16],
    /// By which the cache knows it.
    id: Cell<Option<SetId>>,
}

impl Parsed {
    pub(crate) fn new(name: ServerName, set: CertificateSet, digest: [u8; 16]) -> Rc<Parsed> {
        let members = set
            .members()
            .iter()
            .map(|m| MemberInfo {
                key_type: m.key_type(),
                fingerprint: *m.fingerprint(),
                not_before: m.not_before(),
                not_after: m.not_after(),
            })
            .collect();
        Rc::new(Parsed {
            set,
            info: Rc::new(SetInfo { name, members }),
            digest,
            id: Cell::new(None),
        })
    }
}

/// Which candidate was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    Exact,
    Wildcard,
    Parent,
    Default,
}

impl Matched {
    /// The value of `$rust_shared_cert_match`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Matched::Exact => "exact",
            Matched::Wildcard => "wildcard",
            Matched::Parent => "parent",
            Matched::Default => "default",
        }
    }
}

/// The state of the zone that an answer was found in. Taken before the zone is looked at: what
/// changes after that makes the answer old, never wrongly new.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps {
    clear_epoch: u64,
    /// Of each name that decided; the last is repeated where there are fewer.
    names: [Stamp; CANDIDATES],
}

impl Stamps {
    /// `names` are the names that decide, at least one; `None` when there are none.
    pub(crate) fn take<'a>(
        store: &Store,
        mut names: impl Iterator<Item = &'a ServerName>,
    ) -> Option<Stamps> {
        let clear_epoch = store.clear_epoch();
        let first = store.stamp(names.next()?.as_str());
        let mut stamps = [first; CANDIDATES];
        for (slot, name) in stamps.iter_mut().skip(1).zip(names) {
            *slot = store.stamp(name.as_str());
        }
        Some(Stamps { clear_epoch, names: stamps })
    }

    /// Of the names anew, to look all of them up again. The looks at files since then hold by the
    /// clear epoch from before them.
    pub(crate) fn retake<'a>(
        self,
        store: &Store,
        names: impl Iterator<Item = &'a ServerName>,
    ) -> Option<Stamps> {
        Some(Stamps { clear_epoch: self.clear_epoch, ..Stamps::take(store, names)? })
    }

    pub(crate) fn clear_epoch(&self) -> u64 {
        self.clear_epoch
    }

    /// After a publication of `name` by whoever holds these, who still has the right to write: what
    /// that announced makes the answer no older. Another change of the stripe meanwhile does.
    pub(crate) fn after_publication(mut self, store: &Store, name: &ServerName) -> Stamps {
        let now = store.stamp(name.as_str());
        for stamp in &mut self.names {
            if stamp.is_just_before(&now) {
                *stamp = now;
            }
        }
        self
    }

    /// Whether nothing that could change the answer has happened since; a handful of loads.
    #[inline]
    fn are_current(&self, store: &Store) -> bool {
        let [first, second, third] = &self.names;
        self.clear_epoch == store.clear_epoch()
            && store.is_current(first)
            && (second == first || store.is_current(second))
            && (third == first || store.is_current(third))
    }
}

/// The answer for one server name.
pub(crate) struct Entry {
    pub(crate) parsed: Rc<Parsed>,
    pub(crate) matched: Matched,
    /// The last good, served while its files are bad or absent.
    pub(crate) is_last_good: bool,
    pub(crate) stamps: Stamps,
    /// When the files are to be looked at again, monotonic ms; 0: not before a stamp changes.
    pub(crate) look_again: u64,
    /// When the answer was found, monotonic ms.
    pub(crate) made: u64,
    /// When the zone was last told of the use, monotonic ms.
    pub(crate) touched: u64,
    /// For when a look at the files is planned, monotonic ms; 0: for no time.
    pub(crate) planned: u64,
    /// The set is in the zone, so that it may be dropped here when it is no longer current.
    pub(crate) is_published: bool,
}

impl Entry {
    /// Whether the set is no longer in the zone, but for want of room only: an eviction is not
    /// announced, a removal is. For the entry of a set's own name.
    pub(crate) fn was_evicted(&self, store: &Store) -> bool {
        let [own, ..] = &self.stamps.names;
        let name = self.parsed.info.name.as_str();
        self.is_published && store.is_current(own) && store.find(name) == Lookup::Absent
    }

    /// Whether the zone still has the set: what changed may be another name's, or a clear was made, and
    /// its next handshake would parse it again for nothing.
    fn is_in_zone(&self, store: &Store) -> bool {
        let Lookup::Found(there) = store.find(self.parsed.info.name.as_str()) else { return false };
        self.parsed.id.get() == Some(there.id)
    }
}

/// A name that nobody serves, until then.
struct Absent {
    stamps: Stamps,
    look_again: u64,
}

/// What the cache knows of a name.
pub(crate) enum Cached<'a> {
    Found(&'a mut Entry),
    Absent,
    Unknown,
}

/// An answer, and its name's place in rounds.
struct Kept {
    entry: Entry,
    place: usize,
}

/// The parsed sets of one zone in one worker. Used by one thread.
pub(crate) struct WorkerCache {
    entries: LruCache<Rc<[u8]>, Kept>,
    places: Places,
    /// What of the entries is still to be looked at in this sweep.
    round: Round,
    absent: LruCache<Box<[u8]>, Absent>,
    /// Sets by their place in the zone, shared by all names that they serve.
    by_id: HashMap<SetId, Weak<Parsed>>,
    /// The zone's count of changes when the last sweep began.
    swept_at: u64,
}

impl WorkerCache {
    /// `capacity` is the number of names that are kept, at least one.
    pub(crate) fn new(capacity: usize) -> WorkerCache {
        let size = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        // unbounded() allocates nothing in advance; the bound is kept in insert().
        let mut entries = LruCache::unbounded();
        entries.resize(size(capacity));
        let mut absent = LruCache::unbounded();
        absent.resize(size(ABSENT_NAMES));
        let (places, round) = (Places::default(), Round::default());
        WorkerCache { entries, places, round, absent, by_id: HashMap::new(), swept_at: 0 }
    }

    /// The answer for a name if it still holds. On a hit: no lock, no allocation.
    #[inline]
    pub(crate) fn get(&mut self, name: &[u8], store: &Store, now: u64) -> Cached<'_> {
        if let Some(Kept { entry, .. }) = self.entries.get_mut(name) {
            let is_due = entry.look_again != 0 && now >= entry.look_again;
            if !is_due && entry.stamps.are_current(store) {
                return Cached::Found(entry);
            }
            return Cached::Unknown;
        }
        match self.absent.get(name) {
            Some(absent) if now < absent.look_again && absent.stamps.are_current(store) => {
                Cached::Absent
            }
            _ => Cached::Unknown,
        }
    }

    /// The last answer for a name, whether it still holds or not.
    pub(crate) fn last(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.peek(name).map(|kept| &kept.entry)
    }

    /// As `last()`.
    pub(crate) fn last_mut(&mut self, name: &[u8]) -> Option<&mut Entry> {
        self.entries.peek_mut(name).map(|kept| &mut kept.entry)
    }

    /// How many names are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many sets can be found by their place in the zone.
    #[cfg(test)]
    pub(crate) fn sets(&self) -> usize {
        self.by_id.len()
    }

    /// Remembers the answer for a name.
    pub(crate) fn insert(&mut self, name: &ServerName, entry: Entry) {
        self.absent.pop(name.as_str().as_bytes());
        let name: Rc<[u8]> = name.as_str().as_bytes().into();
        let place = self.places.add(Rc::clone(&name));
        if let Some((_, replaced)) = self.entries.push(name, Kept { entry, place }) {
            self.drop_entry(replaced);
        }
    }

    /// Remembers until `look_again`, monotonic ms, that nobody serves a name.
    pub(crate) fn insert_absent(&mut self, name: &ServerName, stamps: Stamps, look_again: u64) {
        self.remove(name.as_str().as_bytes());
        self.absent.push(name.as_str().as_bytes().into(), Absent { stamps, look_again });
    }

    fn remove(&mut self, name: &[u8]) {
        if let Some(kept) = self.entries.pop(name) {
            self.drop_entry(kept);
        }
    }

    fn drop_entry(&mut self, kept: Kept) {
        self.places.remove(kept.place);
        let parsed = &kept.entry.parsed;
        if let Some(id) = parsed.id.get().filter(|_| Rc::strong_count(parsed) == 1) {
            self.by_id.remove(&id);
        }
    }

    /// A set that was parsed for any name; parsed sets are shared.
    pub(crate) fn parsed(&self, id: SetId) -> Option<Rc<Parsed>> {
        self.by_id.get(&id).and_then(Weak::upgrade)
    }

    /// Remembers a parsed set by its place in the zone.
    pub(crate) fn insert_parsed(&mut self, id: SetId, parsed: &Rc<Parsed>) {
        // Those that died elsewhere are dropped when they outnumber the living: amortised over the
        // inserts.
        if self.by_id.len() > 2 * self.entries.len() + 16 {
            self.by_id.retain(|_, set| set.strong_count() > 0);
        }
        parsed.id.set(Some(id));
        self.by_id.insert(id, Rc::downgrade(parsed));
    }

    /// Begins to drop what the zone had and has no longer, as another set took its place or it was
    /// removed (P8); nothing is when the zone did not change since the last time. What goes on comes to its end first.
    pub(crate) fn begin_sweep(&mut self, store: &Store) {
        let changes = store.changes();
        if changes != self.swept_at && self.round.is_over() {
            self.swept_at = changes;
            self.round = Round::begin();
        }
    }

    /// Goes on with that for some names; true when there are others.
    pub(crate) fn sweep(&mut self, store: &Store) -> bool {
        for name in self.places.step(&mut self.round) {
            if self.last(&name).is_some_and(|entry| is_old(&name, entry, store)) {
                self.remove(&name);
            }
        }
        !self.round.is_over()
    }
}

fn is_old(name: &[u8], entry: &Entry, store: &Store) -> bool {
    if !entry.is_published || entry.stamps.are_current(store) || entry.is_in_zone(store) {
        return false;
    }
    let is_own = entry.parsed.info.name.as_str().as_bytes() == name;
    !(is_own && entry.was_evicted(store))
}
