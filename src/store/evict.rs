//! Making room: lazy sets go, the ones unused for longest first, last-good ones last (P14). Locked.

use super::index::{self, Spot};
use super::layout::{EVICTIONS, FIRST_UNIT, FREE_UNITS, HAND};
use super::name::Name;
use super::word::{Kind, Link, halves};
use super::write::Fault;
use super::zone::Zone;
use super::{name, node, set};

/// Buckets that are looked at for one victim: all of a zone of 4 MiB, a sample of a larger one.
const WINDOW: usize = 4096;

/// So much free space in pieces, relative to the piece that is needed, says that more victims here
/// and there will not make it.
const IN_PIECES: u64 = 4;

/// Repeats `attempt`, which allocates `units`, and evicts a set before each repetition, until it
/// has the room or there is no set to evict. The name at unit `keep` stays.
pub(super) fn until_fit<T>(
    zone: &Zone,
    units: u32,
    keep: u32,
    mut attempt: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut pieces_tried = false;
    loop {
        match attempt() {
            Err(Fault::Full) => {}
            done => return done,
        }
        let in_pieces = zone.get(FREE_UNITS) / IN_PIECES > u64::from(units);
        if in_pieces && !pieces_tried {
            pieces_tried = true;
            join_pieces(zone, units, keep)?;
        } else {
            let spot = victim(zone, keep)?.ok_or(Fault::Full)?;
            evict(zone, &spot)?;
        }
    }
}

/// Cached answers stay good: what is evicted is not outdated.
fn evict(zone: &Zone, spot: &Spot) -> Result<(), Fault> {
    index::retire(zone, spot);
    zone.set(EVICTIONS, zone.get(EVICTIONS).wrapping_add(1));
    index::discard(zone, spot)
}

fn may_go(link: Link, name: &Name, keep: u32) -> bool {
    name.is_lazy() && link.unit() != keep
}

/// The set to evict next.
fn victim(zone: &Zone, keep: u32) -> Result<Option<Spot>, Fault> {
    let buckets = zone.geometry.buckets;
    let window = buckets.min(WINDOW);
    let mut bucket = zone.get(HAND) as usize % buckets;
    let (mut oldest, mut last_good) = (None, None);

    for _ in 0..buckets / window {
        for _ in 0..window {
            let used = zone.get(zone.geometry.used + bucket);
            let [fresh, kept] = candidates(zone, bucket, keep)?;
            note(&mut oldest, used, fresh);
            note(&mut last_good, used, kept);
            bucket = (bucket + 1) % buckets;
        }
        if oldest.is_some() {
            break;
        }
    }
    zone.set(HAND, bucket as u64);
    Ok(oldest.or(last_good).map(|(_, spot)| spot))
}

/// The sets of a bucket that may go, one that is not a last good one and one that is: of several
/// the one whose name came first, which is behind the others.
fn candidates(zone: &Zone, bucket: usize, keep: u32) -> Result<[Option<Spot>; 2], Fault> {
    let (mut fresh, mut kept) = (None, None);
    for spot in index::names(zone, bucket) {
        let spot = spot?;
        if may_go(spot.link, &spot.name, keep) {
            let last_good = spot.name.set.has(Link::LAST_GOOD);
            *(if last_good { &mut kept } else { &mut fresh }) = Some(spot);
        }
    }
    Ok([fresh, kept])
}

fn note(best: &mut Option<(u64, Spot)>, used: u64, candidate: Option<Spot>) {
    if let Some(spot) = candidate {
        if best.is_none_or(|(time, _)| used < time) {
            *best = Some((used, spot));
        }
    }
}

/// Evicts sets that lie next to each other, for one free block of `units`.
fn join_pieces(zone: &Zone, units: u32, keep: u32) -> Result<(), Fault> {
    for spare_last_good in [true, false] {
        let Some(names) = neighbours(zone, units, keep, spare_last_good)? else {
            continue;
        };
        for link in names {
            // A name and its set may both be in the way: the second time it is gone.
            if let Some(spot) = spot_of(zone, link)? {
                evict(zone, &spot)?;
            }
        }
        return Ok(());
    }
    Ok(())
}

/// The names of the blocks in the first stretch of `units` that is all free or may go.
fn neighbours(
    zone: &Zone,
    units: u32,
    keep: u32,
    spare_last_good: bool,
) -> Result<Option<Vec<Link>>, Fault> {
    let (mut names, mut stretch) = (Vec::new(), 0);
    let mut unit = FIRST_UNIT;
    while unit < zone.geometry.end {
        let (kind, size) = zone.block(unit).map_err(|_| Fault::Damaged)?;
        let owner = match kind {
            Kind::Name => unit,
            Kind::Set => halves(zone.get(zone.at(unit) + set::OWNER)).1,
            _ => 0,
        };
        let link = Link::new(owner, zone.header(owner).generation());
        let goes = owner != 0
            && name::read_owner(zone, link).is_ok_and(|name| {
                let is_spared = spare_last_good && name.set.has(Link::LAST_GOOD);
                may_go(link, &name, keep) && !is_spared
            });
        if kind == Kind::Free || goes {
            stretch += size;
            if goes {
                names.push(link);
            }
        } else {
            names.clear();
            stretch = 0;
        }
        if stretch >= units {
            return Ok(Some(names));
        }
        unit += size;
    }
    Ok(None)
}

/// Where the name is that was linked to; `None` when it is gone.
fn spot_of(zone: &Zone, link: Link) -> Result<Option<Spot>, Fault> {
    let Ok(node) = node::read(zone, link, 0, b"") else {
        return Ok(None);
    };
    for spot in index::names(zone, zone.geometry.bucket(node.hash)) {
        let spot = spot?;
        if spot.link == link {
            return Ok(Some(spot));
        }
    }
    Ok(None)
}
