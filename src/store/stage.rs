//! The blocks of a publication before it is one: all of them, or none. Locked.

use super::index::{self, Spot};
use super::layout::{FIXED_UNITS, FREE_UNITS};
use super::word::Link;
use super::write::Fault;
use super::zone::Zone;
use super::{alias, arena, blob, evict, name, reserve, set};
use crate::record::{Record, Source};

/// What is to be allocated.
pub(super) struct Plan<'a> {
    pub(super) record: &'a Record,
    /// The name, when it is not there yet.
    pub(super) name: Option<&'a [u8]>,
    /// Its further names that have no alias yet.
    pub(super) aliases: &'a [&'a [u8]],
    /// Units when nothing of the record is there.
    pub(super) needed: u64,
    /// As `Publication::leaves_room`.
    pub(super) leaves_room: bool,
}

/// Blocks of a set that is not published yet.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) blobs: Vec<Link>,
    pub(super) set: u32,
    /// 0 when the name is there already.
    pub(super) name: u32,
    pub(super) aliases: Vec<u32>,
    is_fixed: bool,
    /// The set's block is the reserve.
    pub(super) is_in_reserve: bool,
}

impl Staged {
    /// Allocates everything, the largest part first. `present` is the name's block, which is not
    /// evicted.
    fn fill(&mut self, zone: &Zone, plan: &Plan<'_>, present: u32) -> Result<(), Fault> {
        let Some((own, room)) = set::units_of(plan.record).zip(set::room_of(plan.record)) else {
            return Err(Fault::Full);
        };
        // What replaces a set takes what there is, and a new one leaves room for what replaces it.
        let least = if plan.name.is_some() { room } else { own };
        let alloc_set = || arena::alloc_up_to(zone, least, room);
        self.set = evict::until_fit(zone, least, present, alloc_set)?;
        self.fill_rest(zone, plan, present)?;
        let grown = reserve::grow(zone, reserve::wanted(zone, plan.record), |units| {
            evict::until_fit(zone, units, present, || arena::alloc(zone, units))
        });
        if plan.leaves_room { grown } else { full_is_good_enough(grown) }
    }

    /// As `fill()`, with the set where room is kept for it, and nothing evicted.
    fn fill_in_reserve(&mut self, zone: &Zone, plan: &Plan<'_>, present: u32) -> Result<(), Fault> {
        self.set = reserve::take(zone).ok_or(Fault::Full)?;
        self.is_in_reserve = true;
        self.fill_rest(zone, plan, present)
    }

    /// All but the set.
    fn fill_rest(&mut self, zone: &Zone, plan: &Plan<'_>, present: u32) -> Result<(), Fault> {
        let alloc = |units| evict::until_fit(zone, units, present, || arena::alloc(zone, units));
        self.is_fixed = plan.record.source != Source::Lazy;
        if let Some(name) = plan.name {
            self.name = alloc(name::units_of(name))?;
        }
        for name in plan.aliases {
            self.aliases.push(alloc(alias::units_of(name))?);
        }
        for der in plan.record.members.iter().flat_map(|m| &m.chain) {
            let intern = || blob::intern(zone, der, self.is_fixed);
            self.blobs.push(evict::until_fit(zone, blob::units_of(der), present, intern)?);
        }
        Ok(())
    }

    /// As `fill()` for a previous set, which is worth no eviction.
    fn fill_previous(&mut self, zone: &Zone, record: &Record) -> Result<(), Fault> {
        self.set = arena::alloc(zone, set::units_of(record).ok_or(Fault::Full)?)?;
        for der in record.members.iter().flat_map(|m| &m.chain) {
            self.blobs.push(blob::intern(zone, der, false)?);
        }
        Ok(())
    }

    fn discard(self, zone: &Zone) -> Result<(), Fault> {
        let set = if self.is_in_reserve { 0 } else { self.set };
        let units = [set, self.name].into_iter().chain(self.aliases);
        for unit in units.filter(|unit| *unit != 0) {
            arena::free(zone, unit)?;
        }
        if self.is_in_reserve {
            reserve::put(zone, self.set)?;
        }
        for link in self.blobs {
            blob::release(zone, link, self.is_fixed)?;
        }
        Ok(())
    }
}

fn full_is_good_enough(result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(Fault::Full) => Ok(()),
        other => other,
    }
}

/// All blocks of the plan, or none. `old` is where the name is.
pub(super) fn run(zone: &Zone, plan: &Plan<'_>, old: Option<&Spot>) -> Result<Staged, Fault> {
    let present = old.map_or(0, |old| old.link.unit());
    let attempt = || attempt(zone, |staged| staged.fill(zone, plan, present));
    let done = match may_fit(zone, plan, old)? {
        true => match attempt() {
            // When all is evicted and it does not fit, what was staged first may lie in the middle.
            Err(Fault::Full) => attempt(),
            done => done,
        },
        false => Err(Fault::Full),
    };
    match old.filter(|old| matches!(done, Err(Fault::Full)) && can_take_turns(zone, plan, old)) {
        Some(_) => self::attempt(zone, |staged| staged.fill_in_reserve(zone, plan, present)),
        None => done,
    }
}

fn attempt(
    zone: &Zone,
    fill: impl FnOnce(&mut Staged) -> Result<(), Fault>,
) -> Result<Staged, Fault> {
    let mut staged = Staged::default();
    match fill(&mut staged) {
        Ok(()) => Ok(staged),
        Err(Fault::Full) => {
            staged.discard(zone)?;
            Err(Fault::Full)
        }
        Err(fault) => Err(fault),
    }
}

/// Whether the set can be in the reserve until the old one's block is free, and then in that.
fn can_take_turns(zone: &Zone, plan: &Plan<'_>, old: &Spot) -> bool {
    let units_at = |unit| zone.header(unit).units();
    let own = set::units_of(plan.record).unwrap_or(u32::MAX);
    let is_fixed = plan.record.source != Source::Lazy && !old.name.is_lazy();
    is_fixed && own <= reserve::units(zone) && own <= units_at(old.name.set.unit())
}

/// The blocks of a previous set, if there is room for them as it is.
pub(super) fn without_eviction(zone: &Zone, record: &Record) -> Result<Option<Staged>, Fault> {
    let mut staged = Staged::default();
    match staged.fill_previous(zone, record) {
        Ok(()) => Ok(Some(staged)),
        Err(Fault::Full) => staged.discard(zone).map(|()| None),
        Err(fault) => Err(fault),
    }
}

/// Whether the plan fits beside what stays: sets that are not evicted, and the old set, until the
/// new one is published. If not, nothing need be evicted to find out.
fn may_fit(zone: &Zone, plan: &Plan<'_>, old: Option<&Spot>) -> Result<bool, Fault> {
    let set = u64::from(set::units_of(plan.record).unwrap_or(u32::MAX));
    let present = u64::from(reserve::units(zone));
    let reserve = match plan.leaves_room {
        true => present.max(reserve::wanted(zone, plan.record).into()),
        false => present,
    };
    if plan.needed + (reserve - present) <= zone.get(FREE_UNITS) {
        return Ok(true);
    }
    let units_at = |unit| u64::from(zone.header(unit).units());
    let mut units = set + reserve;
    units += plan.name.map_or(0, |name| u64::from(name::units_of(name)));
    units += plan.aliases.iter().map(|name| u64::from(alias::units_of(name))).sum::<u64>();
    units = units.saturating_add(zone.get(FIXED_UNITS));

    let mut staying = Vec::new();
    if let Some(old) = old.filter(|old| old.name.is_lazy()) {
        let set = old.name.set;
        units = units.saturating_add(units_at(old.link.unit()) + units_at(set.unit()));
        staying = index::set_links(zone, set).map_err(|_| Fault::Damaged)?;
        staying.retain(|link| !blob::is_fixed(zone, *link));
        staying.sort_unstable_by_key(|link| link.0);
        staying.dedup();
        units = units.saturating_add(staying.iter().map(|link| units_at(link.unit())).sum());
    }
    for der in distinct_blobs(plan.record) {
        let found = blob::find(zone, der)?;
        if !found.is_some_and(|link| blob::is_fixed(zone, link) || staying.contains(&link)) {
            units = units.saturating_add(u64::from(blob::units_of(der)));
        }
    }
    Ok(units <= u64::from(zone.geometry.units()))
}

/// The intermediates of all chains, each once.
pub(super) fn distinct_blobs(record: &Record) -> Vec<&Vec<u8>> {
    let mut blobs: Vec<&Vec<u8>> = record.members.iter().flat_map(|m| &m.chain).collect();
    blobs.sort_unstable();
    blobs.dedup();
    blobs
}
