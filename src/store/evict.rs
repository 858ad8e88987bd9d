//! Making room: previous sets go, then lazy ones, the ones unused for longest first, last-good ones
//! last (P14). Locked.

use super::groups::Hint;
use super::index::{self, Spot};
use super::layout::{
    EVICTIONS, FIRST_UNIT, FREE_UNITS, HAND, LAZY_SETS, PREVIOUS_HAND, PREVIOUS_SETS,
};
use super::name::Name;
use super::word::{Kind, Link};
use super::write::Fault;
use super::zone::Zone;
use super::{arena, blob, groups, name, node, set};

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
    /// And the blobs that nothing else needs.
    All,
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
            let (spot, hand) = victim(zone, keep)?;
            zone.set(HAND, hand as u64);
            evict(zone, &spot.ok_or(Fault::Full)?)?;
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
    let (spot, bucket) = next_previous(zone)?;
    index::drop_previous(zone, spot.link.unit())?;
    zone.set(PREVIOUS_HAND, bucket as u64);
    Ok(())
}

/// The next name that has a previous set, where one is counted, and its bucket.
fn next_previous(zone: &Zone) -> Result<(Spot, usize), Fault> {
    let buckets = zone.geometry.buckets;
    let first = zone.get(PREVIOUS_HAND) as usize % buckets;
    let marked = |from, end| groups::marked(zone, Hint::Previous, from, end);
    for bucket in marked(first, buckets).chain(marked(0, first)) {
        for spot in index::names(zone, bucket) {
            let spot = spot?;
            if spot.name.previous().is_some() {
                return Ok((spot, bucket));
            }
        }
        groups::unmark(zone, Hint::Previous, bucket);
    }
    // There is one less than was counted.
    Err(Fault::Damaged)
}

fn may_go(link: Link, name: &Name, keep: u32) -> bool {
    name.is_lazy() && link.unit() != keep
}

/// The set to evict next, and where the search for the one after it starts.
fn victim(zone: &Zone, keep: u32) -> Result<(Option<Spot>, usize), Fault> {
    let buckets = zone.geometry.buckets;
    let window = buckets.min(WINDOW);
    let mut from = zone.get(HAND) as usize % buckets / window * window;
    let (mut oldest, mut last_good) = (None, None);

    for _ in 0..buckets / window {
        for bucket in groups::marked(zone, Hint::Lazy, from, from + window) {
            let used = zone.get(zone.geometry.used + bucket);
            // A chain is followed only for what would be better.
            if oldest.as_ref().is_some_and(|(time, _)| *time <= used) {
                continue;
            }
            let candidates = candidates(zone, bucket, keep)?;
            note(&mut oldest, used, candidates.fresh);
            note(&mut last_good, used, candidates.last_good);
            if !candidates.is_lazy {
                groups::unmark(zone, Hint::Lazy, bucket);
            }
        }
        from = (from + window) % buckets;
        if oldest.is_some() {
            break;
        }
    }
    Ok((oldest.or(last_good).map(|(_, spot)| spot), from))
}

/// What a bucket has that may go: of several sets the one whose name came first, which is behind the
/// others.
#[derive(Default)]
struct Candidates {
    fresh: Option<Spot>,
    last_good: Option<Spot>,
    /// Whether there is a lazy set at all.
    is_lazy: bool,
}

fn candidates(zone: &Zone, bucket: usize, keep: u32) -> Result<Candidates, Fault> {
    let mut candidates = Candidates::default();
    for spot in index::names(zone, bucket) {
        let spot = spot?;
        candidates.is_lazy |= spot.name.is_lazy();
        if may_go(spot.link, &spot.name, keep) {
            let is_last_good = spot.name.set.has(Link::LAST_GOOD);
            let kind = if is_last_good { &mut candidates.last_good } else { &mut candidates.fresh };
            *kind = Some(spot);
        }
    }
    Ok(candidates)
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
        let near = match likely(zone, keep)? {
            Some(unit) => around(zone, unit, units, keep, *goes)?,
            None => None,
        };
        let pieces = match near {
            Some(pieces) => Some(pieces),
            None => neighbours(zone, units, keep, *goes)?,
        };
        let Some(pieces) = pieces else { continue };
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
    // Where one goes, others do: most often this is the end of it, however large the zone.
    if let Some(unit) = likely(zone, keep)? {
        if around(zone, unit, units, keep, Goes::All)?.is_some() {
            return Ok(true);
        }
    }
    let (mut unit, mut stretch) = (FIRST_UNIT, 0);
    for _ in 0..LOOKED_AT {
        if unit >= zone.geometry.end {
            return Ok(false);
        }
        let (gives_way, size) = gives_way(zone, unit, keep, Goes::All)?;
        stretch = if gives_way.is_some() { stretch + size } else { 0 };
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
        let (gives_way, size) = gives_way(zone, unit, keep, goes)?;
        match gives_way {
            Some(piece) => {
                stretch += size;
                pieces.extend(piece);
            }
            None => {
                pieces.clear();
                stretch = 0;
            }
        }
        if stretch >= units {
            return Ok(Some(pieces));
        }
        unit += size;
    }
    Ok(None)
}

/// The block that goes next.
fn likely(zone: &Zone, keep: u32) -> Result<Option<u32>, Fault> {
    if zone.get(PREVIOUS_SETS) > 0 {
        let (spot, _) = next_previous(zone)?;
        return Ok(spot.name.previous().map(Link::unit));
    }
    let (spot, _) = victim(zone, keep)?;
    Ok(spot.map(|spot| spot.name.set.unit()))
}

/// As `neighbours()`, in the stretch that this block is in.
fn around(
    zone: &Zone,
    unit: u32,
    units: u32,
    keep: u32,
    goes: Goes,
) -> Result<Option<Vec<Piece>>, Fault> {
    let mut pieces = Vec::new();
    let (mut start, mut end) = (unit, unit);
    while end - start < units && end < zone.geometry.end {
        let (Some(piece), size) = gives_way(zone, end, keep, goes)? else { break };
        pieces.extend(piece);
        end += size;
    }
    while end > unit && end - start < units {
        let ahead = match arena::before(zone, start) {
            0 => break,
            size => start.checked_sub(size).ok_or(Fault::Damaged)?,
        };
        let (gives_way, size) = gives_way(zone, ahead, keep, goes)?;
        if size != start - ahead {
            return Err(Fault::Damaged);
        }
        let Some(piece) = gives_way else { break };
        pieces.extend(piece);
        start = ahead;
    }
    Ok((end - start >= units).then_some(pieces))
}

/// Whether the block at a unit is free or may go, with what has to go for it; and its size.
fn gives_way(
    zone: &Zone,
    unit: u32,
    keep: u32,
    goes: Goes,
) -> Result<(Option<Option<Piece>>, u32), Fault> {
    let (kind, size) = zone.block(unit).map_err(|_| Fault::Damaged)?;
    let gives_way = match kind {
        Kind::Free => Some(None),
        // With the last set that goes.
        Kind::Blob => {
            let is_fixed = blob::is_fixed(zone, Link::new(unit, 0));
            (goes == Goes::All && !is_fixed).then_some(None)
        }
        _ => piece_at(zone, unit, kind, keep, goes).map(Some),
    };
    Ok((gives_way, size))
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
        Goes::LastGood | Goes::All => false,
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
