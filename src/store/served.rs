//! The further names that a set serves: which aliases a publication adds, keeps and drops. Locked.

use super::publish::Publication;
use super::word::Link;
use super::write::Fault;
use super::zone::Zone;
use super::{alias, hash, node};
use crate::record::{Record, Source};

/// The names that need an alias: each once, without the set's own name; none for a lazy set.
/// Sorted.
pub(super) fn aliases<'a>(name: &str, record: &Record, served: &[&'a str]) -> Vec<&'a [u8]> {
    if record.source == Source::Lazy {
        return Vec::new();
    }
    let others = served.iter().filter(|other| **other != name);
    let mut aliases: Vec<&[u8]> = others.map(|other| other.as_bytes()).collect();
    aliases.sort_unstable();
    aliases.dedup();
    aliases
}

/// From the aliases that a name has to those that it shall have.
pub(super) struct Change<'a> {
    pub(super) added: Vec<&'a [u8]>,
    /// Units of the aliases that go; sorted.
    pub(super) dropped: Vec<u32>,
    /// Of all names that the set before or the new one serves.
    pub(super) hashes: Vec<u64>,
}

impl<'a> Change<'a> {
    /// What a publication changes; `present` is its name's block, 0 when there is none.
    pub(super) fn of(
        zone: &Zone,
        publication: &Publication<'a>,
        present: u32,
    ) -> Result<Change<'a>, Fault> {
        let Publication { name, record, served, .. } = *publication;
        let wanted = aliases(name, record, served);
        let mut is_there = vec![false; wanted.len()];
        let mut dropped = Vec::new();
        let mut hashes = vec![hash::of_name(name.as_bytes())];
        hashes.extend(wanted.iter().map(|bytes| hash::of_name(bytes)));

        for link in aliases_of(zone, present)? {
            let bytes = node::bytes(zone, link).map_err(|_| Fault::Damaged)?;
            let found = wanted.binary_search(&bytes.as_slice()).ok();
            match found.and_then(|i| is_there.get_mut(i)).filter(|is_there| !**is_there) {
                Some(is_there) => *is_there = true,
                None => {
                    dropped.push(link.unit());
                    hashes.push(hash::of_name(&bytes));
                }
            }
        }
        dropped.sort_unstable();
        let added = wanted.into_iter().zip(is_there).filter_map(|(b, there)| (!there).then_some(b));
        Ok(Change { added: added.collect(), dropped, hashes })
    }
}

/// The hashes of a name, and of all its aliases.
pub(super) fn hashes_of(zone: &Zone, unit: u32, hash: u64) -> Result<Vec<u64>, Fault> {
    let mut hashes = vec![hash];
    for link in alias::all_of(zone, unit)? {
        hashes.push(node::read(zone, link, 0, b"").map_err(|_| Fault::Damaged)?.hash);
    }
    Ok(hashes)
}

fn aliases_of(zone: &Zone, present: u32) -> Result<Vec<Link>, Fault> {
    if present == 0 { Ok(Vec::new()) } else { alias::all_of(zone, present) }
}
