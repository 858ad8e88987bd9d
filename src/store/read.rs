//! Looking names up without the lock, whatever a writer does meanwhile and wherever it stopped.
//!
//! A lookup that meets a change starts again; it never waits for the writer to finish.

use std::sync::atomic::Ordering;

use super::name::{self, MAX_CHAIN, Name};
use super::word::Link;
use super::zone::{Torn, Zone};
use super::{Entry, Lookup, SetId, hash, set};
use crate::record::Record;

/// Each restart is a change of this very bucket or set, a few instructions wide.
const MAX_RESTARTS: usize = 64;

pub(super) fn find(zone: &Zone, wanted: &str) -> Lookup<Entry> {
    let mut steps = MAX_CHAIN;
    settle(|| Ok(locate(zone, wanted.as_bytes(), &mut steps)?.map(|name| entry(&name))))
}

pub(super) fn read(zone: &Zone, wanted: &str) -> Lookup<(Entry, Record)> {
    let mut steps = MAX_CHAIN;
    settle(|| {
        let Some(name) = locate(zone, wanted.as_bytes(), &mut steps)? else {
            return Ok(None);
        };
        Ok(Some((entry(&name), set::read(zone, name.set)?)))
    })
}

fn settle<T>(mut look: impl FnMut() -> Result<Option<T>, Torn>) -> Lookup<T> {
    for _ in 0..MAX_RESTARTS {
        match look() {
            Ok(Some(found)) => return Lookup::Found(found),
            Ok(None) => return Lookup::Absent,
            Err(Torn) => std::hint::spin_loop(),
        }
    }
    Lookup::Contended
}

fn entry(name: &Name) -> Entry {
    Entry {
        id: SetId(name.set.without_flags().0),
        ticket: name.about.ticket,
        last_good: name.set.has(Link::LAST_GOOD),
        is_lazy: name.set.has(Link::LAZY),
        stat: name.about.stat,
        looked_at: name.about.looked,
    }
}

/// Follows the chain of the bucket. A name that was unlinked leads back into its chain or is torn,
/// and one that is added is put at the front, so no name that stays is missed. `steps` are those
/// left for all restarts together: a damaged chain may be a circle.
fn locate(zone: &Zone, wanted: &[u8], steps: &mut usize) -> Result<Option<Name>, Torn> {
    let hash = hash::of_name(wanted);
    let bucket = zone.geometry.bucket(hash);

    let mut link = Link(zone.region.load(zone.geometry.heads + bucket, Ordering::Acquire));
    while !link.is_none() {
        *steps = steps.checked_sub(1).ok_or(Torn)?;
        let name = name::read(zone, link, hash, wanted)?;
        if name.found {
            return Ok(Some(name));
        }
        if zone.geometry.bucket(name.hash) != bucket {
            return Err(Torn);
        }
        link = name.next;
    }
    Ok(None)
}
