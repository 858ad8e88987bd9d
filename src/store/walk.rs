//! All sets of a zone, found without the lock bucket by bucket: each one is there that is there all
//! the time.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use super::name::Name;
use super::node::{self, Node, Role};
use super::word::Link;
use super::zone::{Torn, Zone};
use super::{Entry, Exported, Lookup, Surveyed, hash, read, set};

/// A name with its set, by the link to its block; or an alias, by that to its owner's.
enum Found {
    Name(Link, String, Name),
    Alias(Link, String),
}

/// What a walk wants of a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Names,
    Aliases,
}

pub(super) fn names(zone: &Zone) -> Vec<(String, Entry)> {
    let mut all = Vec::new();
    each_bucket(zone, 0..zone.geometry.buckets, Want::Names, |_, found| {
        if let Found::Name(_, name, block) = found {
            all.push((name, read::entry(&block)));
        }
    });
    all
}

/// From the aliases' own links, not from the lists of their owners: these a dead writer may have
/// left half done.
pub(super) fn export(zone: &Zone) -> Vec<Exported> {
    let mut all = Vec::new();
    let mut places = HashMap::new();
    let mut aliases = Vec::new();
    each_bucket(zone, 0..zone.geometry.buckets, Want::Aliases, |bucket, found| match found {
        Found::Name(link, name, block) => {
            places.insert(link.0, all.len());
            let used = zone.get(zone.geometry.used + bucket);
            all.push((used, Exported { name, entry: read::entry(&block), served: Vec::new() }));
        }
        Found::Alias(owner, name) => aliases.push((owner, name)),
    });
    for (owner, name) in aliases {
        let place = places.get(&owner.0).and_then(|place| all.get_mut(*place));
        if let Some((_, exported)) = place.filter(|(_, exported)| !exported.entry.is_lazy()) {
            exported.served.push(name);
        }
    }
    for (_, exported) in &mut all {
        exported.served.sort_unstable();
        exported.served.dedup();
    }
    all.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    all.into_iter().map(|(_, exported)| exported).collect()
}

/// The names in the order of their buckets, and of their bytes within one: the first ones after
/// `after`, which need not be there any more.
pub(super) fn page(zone: &Zone, after: Option<&str>, limit: usize) -> Vec<String> {
    let bucket_of_name = |name: &str| zone.geometry.bucket(hash::of_name(name.as_bytes()));
    let first = after.map_or(0, bucket_of_name);
    let mut page = Vec::new();
    for bucket in first..zone.geometry.buckets {
        if page.len() >= limit {
            break;
        }
        let mut names = names_of(zone, bucket);
        names.retain(|name| bucket != first || after.is_none_or(|after| after < name.as_str()));
        names.sort_unstable();
        page.extend(names.into_iter().take(limit - page.len()));
    }
    page
}

fn names_of(zone: &Zone, bucket: usize) -> Vec<String> {
    let mut steps = zone.geometry.longest_chain();
    let Lookup::Found(found) = read::settle(|| bucket_of(zone, bucket, Want::Names, &mut steps))
    else {
        return Vec::new();
    };
    let name = |found| match found {
        Found::Name(_, name, _) => Some(name),
        Found::Alias(..) => None,
    };
    found.into_iter().filter_map(name).collect()
}

/// All sets of buckets, without what is in them.
pub(super) fn survey(zone: &Zone, buckets: Range<usize>, visit: &mut dyn FnMut(&Surveyed)) {
    each_bucket(zone, buckets, Want::Names, |bucket, found| {
        let Found::Name(_, name, block) = found else { return };
        let entry = read::entry(&block);
        // One that was replaced since is what it is now.
        let validity = set::validity(zone, block.set).map_or_else(
            |Torn| match read::find_name(zone, &name) {
                Lookup::Found(now) => set::validity(zone, now.set).ok(),
                Lookup::Absent | Lookup::Contended => None,
            },
            Some,
        );
        if let Some(members) = validity {
            visit(&Surveyed {
                name,
                source: entry.source,
                used_msec: zone.get(zone.geometry.used + bucket),
                last_good: entry.last_good,
                failure: entry.failure,
                members,
            });
        }
    });
}

/// Visits what is in each bucket. One that never settles is left out, and a damaged zone's walk ends
/// after so many blocks as no other zone has.
fn each_bucket(
    zone: &Zone,
    buckets: Range<usize>,
    want: Want,
    mut visit: impl FnMut(usize, Found),
) {
    let mut left = 2 * zone.geometry.units() as usize;
    for bucket in buckets {
        let mut steps = left.min(zone.geometry.longest_chain());
        let given = steps;
        if let Lookup::Found(found) = read::settle(|| bucket_of(zone, bucket, want, &mut steps)) {
            found.into_iter().for_each(|found| visit(bucket, found));
        }
        left -= given - steps;
    }
}

fn bucket_of(
    zone: &Zone,
    bucket: usize,
    want: Want,
    steps: &mut usize,
) -> Result<Option<Vec<Found>>, Torn> {
    let mut all = Vec::new();
    read::follow::<()>(zone, bucket, (0, b""), steps, |link, node| {
        all.extend(found(zone, link, node, want)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Some(all))
}

/// `None` for a name without a set, and bytes that are no name.
fn found(zone: &Zone, link: Link, node: &Node, want: Want) -> Result<Option<Found>, Torn> {
    let is_wanted = match node.role {
        Role::Name(name) => !name.set.is_none(),
        Role::Alias { .. } => want == Want::Aliases,
    };
    if !is_wanted {
        return Ok(None);
    }
    let Ok(bytes) = String::from_utf8(node::bytes(zone, link)?) else {
        return Ok(None);
    };
    Ok(Some(match node.role {
        Role::Name(name) => Found::Name(link, bytes, name),
        Role::Alias { owner } => Found::Alias(owner, bytes),
    }))
}
