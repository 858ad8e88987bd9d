//! Making room: previous sets go, then lazy ones, the ones unused for longest first, last-good ones
//! last (P14). Locked.

use super::index::{self, Spot};
use super::layout::{
    EVICTIONS, FIRST_UNIT, FREE_UNITS, HAND, LAZY_SETS, PREVIOUS_HAND, PREVIOUS_SETS,
};
use super::name::Name;
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::Zone;
use super::{blob, name, node, set};

/// Buckets that are looked at for one victim: all of a zone of 4 MiB, a sample of a larger one.
const WINDOW: usize = 4096;

/// So much free space in pieces, relative to the piece that is needed, says that more victims here
/// and there will not make it.
const IN_PIECES: u64 = 4;

/// What may go to join the free space around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// Previous sets.
    Previous,
    /// Those, and lazy ones but for the last good.
    Fresh,
    /// Those too.
    LastGood,
}

/// A block that goes, by the name that it is of.
#[derive(Clone, Copy)]
enum Piece {
    Name(Link),
    Previous(Link),
}

/// Repeats `attempt`, which allocates `units`, and drops or evicts a set before each repetition,
/// until it has the room or there is no set left to go. The name at unit `keep` stays, with its
/// present set.
pub(super) fn until_fit<T>(
    zone: &Zone,
    units: u32,
    keep: u32,
    mut attempt: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let (mut previous_joined, mut pieces_tried, mut is_hopeful) = (false, false, false);
    loop {
        match attempt() {
            Err(Fault::Full) => {}
            done => return done,
        }
        // Nothing goes for what no place comes of.
        is_hopeful = is_hopeful || may_come_free(zone, units, keep)?;
        if !is_hopeful {
            return Err(Fault::Full);
        }
        let in_pieces = zone.get(FREE_UNITS) / IN_PIECES > u64::from(units);
        if zone.get(PREVIOUS_SETS) > 0 {
            if in_pieces && !previous_joined {
                previous_joined = true;
                join_pieces(zone, units, keep, &[Goes::Previous])?;
            } else {
                drop_a_previous(zone, keep)?;
            }
        } else if in_pieces && !pieces_tried {
            pieces_tried = true;
            join_pieces(zone, units, keep, &[Goes::Fresh, Goes::LastGood])?;
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

/// Drops the previous set of the name that is kept, which it loses in any case, else the next one
/// that there is.
fn drop_a_previous(zone: &Zone, keep: u32) -> Result<(), Fault> {
    if keep != 0 && index::drop_previous(zone, keep)? {
        return Ok(());
    }
    let buckets = zone.geometry.buckets;
    let first = zone.get(PREVIOUS_HAND) as usize % buckets;
    for bucket in (first..buckets).chain(0..first) {
        for spot in index::names(zone, bucket) {
            if index::drop_previous(zone, spot?.link.unit())? {
                zone.set(PREVIOUS_HAND, bucket as u64);
                return Ok(());
            }
        }
    }
    // There is one less than was counted.
    Err(Fault::Damaged)
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

/// Has sets go that lie next to each other, for one free block of `units`; the first of `kinds` that
/// gives one.
fn join_pieces(zone: &Zone, units: u32, keep: u32, kinds: &[Goes]) -> Result<(), Fault> {
    for goes in kinds {
        let Some(pieces) = neighbours(zone, units, keep, *goes)? else {
            continue;
        };
        for piece in pieces {
            // A name and its set may both be in the way: the second time it is gone.
            match piece {
                Piece::Name(link) => {
                    if let Some(spot) = spot_of(zone, link)? {
                        evict(zone, &spot)?;
                    }
                }
                Piece::Previous(link) => {
                    if let Some(spot) = spot_of(zone, link)? {
                        index::drop_previous(zone, spot.link.unit())?;
                    }
                }
            }
        }
        return Ok(());
    }
    Ok(())
}

/// How many blocks are looked at for a place that may come free: all of a zone of some 100 MB.
const LOOKED_AT: usize = 1 << 18;

/// Whether there is a stretch of `units` in which nothing stays, as far as can be told.
fn may_come_free(zone: &Zone, units: u32, keep: u32) -> Result<bool, Fault> {
    if zone.get(PREVIOUS_SETS) == 0 && zone.get(LAZY_SETS) == 0 {
        return Ok(false);
    }
    let (mut unit, mut stretch) = (FIRST_UNIT, 0);
    for _ in 0..LOOKED_AT {
        if unit >= zone.geometry.end {
            return Ok(false);
        }
        let (kind, size) = zone.block(unit).map_err(|_| Fault::Damaged)?;
        let goes = match kind {
            Kind::Free => true,
            // With the last set that goes.
            Kind::Blob => !blob::is_fixed(zone, Link::new(unit, 0)),
            _ => piece_at(zone, unit, kind, keep, Goes::LastGood).is_some(),
        };
        stretch = if goes { stretch + size } else { 0 };
        if stretch >= units {
            return Ok(true);
        }
        unit += size;
    }
    Ok(true)
}

/// The blocks in the first stretch of `units` that is all free or may go.
fn neighbours(zone: &Zone, units: u32, keep: u32, goes: Goes) -> Result<Option<Vec<Piece>>, Fault> {
    let (mut pieces, mut stretch) = (Vec::new(), 0);
    let mut unit = FIRST_UNIT;
    while unit < zone.geometry.end {
        let (kind, size) = zone.block(unit).map_err(|_| Fault::Damaged)?;
        let piece = piece_at(zone, unit, kind, keep, goes);
        if kind == Kind::Free || piece.is_some() {
            stretch += size;
            pieces.extend(piece);
        } else {
            pieces.clear();
            stretch = 0;
        }
        if stretch >= units {
            return Ok(Some(pieces));
        }
        unit += size;
    }
    Ok(None)
}

/// The block at a unit, if it may go.
fn piece_at(zone: &Zone, unit: u32, kind: Kind, keep: u32, goes: Goes) -> Option<Piece> {
    let owner = match kind {
        Kind::Name => unit,
        Kind::Set => set::owner(zone, unit),
        _ => return None,
    };
    let link = Link::new(owner, zone.header(owner).generation());
    let name = name::read_owner(zone, link).ok()?;
    if name.previous().is_some_and(|previous| previous.unit() == unit) {
        return Some(Piece::Previous(link));
    }
    let is_spared = match goes {
        Goes::Previous => true,
        Goes::Fresh => name.set.has(Link::LAST_GOOD),
        Goes::LastGood => false,
    };
    (may_go(link, &name, keep) && !is_spared).then_some(Piece::Name(link))
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
