//! Looking names up without the lock, whatever a writer does meanwhile and wherever it stopped.
//!
//! A lookup that meets a change starts again; it never waits for the writer to finish.

use crate::ffi::atomic::Ordering;
use std::ops::ControlFlow;

use super::layout::FIXED_SETS;
use super::name::{self, Name};
use super::node::{self, Node, Role};
use super::word::Link;
use super::zone::{Torn, Zone};
use super::{Details, Entry, Lookup, Serving, SetId, hash, set};
use crate::record::Record;

/// Each restart is a change of this very bucket or set, a few instructions wide.
const MAX_RESTARTS: usize = 64;

pub(super) fn find(zone: &Zone, wanted: &str) -> Lookup<Entry> {
    match find_name(zone, wanted) {
        Lookup::Found(name) => Lookup::Found(entry(&name)),
        Lookup::Absent => Lookup::Absent,
        Lookup::Contended => Lookup::Contended,
    }
}

/// What the block of the name says.
pub(super) fn find_name(zone: &Zone, wanted: &str) -> Lookup<Name> {
    let mut steps = zone.geometry.longest_chain();
    settle(|| locate(zone, wanted.as_bytes(), &mut steps))
}

pub(super) fn read(zone: &Zone, wanted: &str) -> Lookup<(Entry, Record)> {
    let mut steps = zone.geometry.longest_chain();
    settle(|| {
        let Some(name) = locate(zone, wanted.as_bytes(), &mut steps)? else {
            return Ok(None);
        };
        Ok(Some((entry(&name), set::read(zone, name.set)?)))
    })
}

pub(super) fn generation(zone: &Zone, wanted: &str) -> Lookup<u64> {
    let mut steps = zone.geometry.longest_chain();
    settle(|| match locate(zone, wanted.as_bytes(), &mut steps)? {
        Some(name) => Ok(Some(set::generation(zone, name.set)?)),
        None => Ok(None),
    })
}

pub(super) fn details(zone: &Zone, wanted: &str) -> Lookup<Details> {
    let mut steps = zone.geometry.longest_chain();
    settle(|| {
        let Some(name) = locate(zone, wanted.as_bytes(), &mut steps)? else {
            return Ok(None);
        };
        let copy = |link| Ok((set::generation(zone, link)?, set::read(zone, link)?));
        let (generation, record) = copy(name.set)?;
        let previous = name.previous().map(copy).transpose()?;
        // Links are never used again: the two were there at the same time.
        let again = locate(zone, wanted.as_bytes(), &mut steps)?.ok_or(Torn)?;
        let sets = |name: &Name| (name.set.without_flags().0, name.previous.0);
        if sets(&again) != sets(&name) {
            return Err(Torn);
        }
        Ok(Some(Details { entry: entry(&name), generation, record, previous }))
    })
}

pub(super) fn serving(zone: &Zone, wanted: &str) -> Lookup<Vec<Serving>> {
    if zone.region.load(FIXED_SETS, Ordering::Acquire) == 0 {
        return Lookup::Absent;
    }
    let mut steps = zone.geometry.longest_chain();
    settle(|| {
        let serving = all_serving(zone, wanted.as_bytes(), &mut steps)?;
        Ok((!serving.is_empty()).then_some(serving))
    })
}

/// Looks until nothing changes meanwhile.
pub(super) fn settle<T>(mut look: impl FnMut() -> Result<Option<T>, Torn>) -> Lookup<T> {
    for _ in 0..MAX_RESTARTS {
        match look() {
            Ok(Some(found)) => return Lookup::Found(found),
            Ok(None) => return Lookup::Absent,
            Err(Torn) => std::hint::spin_loop(),
        }
    }
    Lookup::Contended
}

pub(super) fn entry(name: &Name) -> Entry {
    Entry {
        id: SetId(name.set.without_flags().0),
        ticket: name.about.ticket,
        last_good: name.set.has(Link::LAST_GOOD),
        source: name.set.source(),
        stat: name.about.stat,
        looked_at: name.about.looked,
        seen: name.about.seen,
        failure: name.about.failure,
    }
}

/// Follows the chain of a bucket, comparing with bytes of this hash. A block that was unlinked
/// leads back into its chain or is torn, and one that is added is put at the front, so none that
/// stays is missed. `steps` are those left for all restarts together: a damaged chain may be a
/// circle.
pub(super) fn follow<T>(
    zone: &Zone,
    bucket: usize,
    (hash, wanted): (u64, &[u8]),
    steps: &mut usize,
    mut visit: impl FnMut(Link, &Node) -> Result<ControlFlow<T>, Torn>,
) -> Result<Option<T>, Torn> {
    let mut link = Link(zone.region.load(zone.geometry.heads + bucket, Ordering::Acquire));
    while !link.is_none() {
        *steps = steps.checked_sub(1).ok_or(Torn)?;
        let node = node::read(zone, link, hash, wanted)?;
        if zone.geometry.bucket(node.hash) != bucket {
            return Err(Torn);
        }
        if let ControlFlow::Break(found) = visit(link, &node)? {
            return Ok(Some(found));
        }
        link = node.next;
    }
    Ok(None)
}

/// The name, when it has a set.
fn locate(zone: &Zone, wanted: &[u8], steps: &mut usize) -> Result<Option<Name>, Torn> {
    let hash = hash::of_name(wanted);
    let bucket = zone.geometry.bucket(hash);
    let found = follow(zone, bucket, (hash, wanted), steps, |_, node| {
        Ok(match node.role {
            Role::Name(name) if node.found => ControlFlow::Break(name),
            _ => ControlFlow::Continue(()),
        })
    })?;
    Ok(found.filter(|name| !name.set.is_none()))
}

fn all_serving(zone: &Zone, wanted: &[u8], steps: &mut usize) -> Result<Vec<Serving>, Torn> {
    let hash = hash::of_name(wanted);
    let bucket = zone.geometry.bucket(hash);
    let mut serving = Vec::new();
    follow::<()>(zone, bucket, (hash, wanted), steps, |link, node| {
        if node.found {
            let owner = match node.role {
                Role::Name(_) => link,
                Role::Alias { owner } => owner,
            };
            serving.extend(candidate(zone, owner)?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    // One set, whatever a dead writer left.
    serving.sort_unstable_by_key(|serving: &Serving| serving.entry.id.0);
    serving.dedup_by_key(|serving| serving.entry.id.0);
    Ok(serving)
}

/// The set of the name that was linked to. `None` when there is none that serves more than the name
/// itself: a name that is no more, or not yet published, holds nobody up, however long it stays so.
/// A set that is gone while its name is there was replaced just now.
fn candidate(zone: &Zone, owner: Link) -> Result<Option<Serving>, Torn> {
    let Ok(name) = name::read_owner(zone, owner) else {
        return Ok(None);
    };
    if name.set.is_none() || name.is_lazy() {
        return Ok(None);
    }
    let Some(bytes) = node::bytes(zone, owner).ok().and_then(|b| String::from_utf8(b).ok()) else {
        return Ok(None);
    };
    let (not_before, not_after) = set::span(zone, name.set)?;
    Ok(Some(Serving { name: bytes, entry: entry(&name), not_before, not_after }))
}
