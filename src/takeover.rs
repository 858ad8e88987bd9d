//! A zone that begins with what the one of its name before it held: after a change of its size, or
//! in a module that was loaded from another path.

use crate::host::Host;
use crate::lookup::Load;
use crate::record::Source;
use crate::startup::{TooSmall, patient_writer};
use crate::store::{
    Details, Expects, Exported, Lookup, Need, Previous, Publication, PublishError, Store,
};

/// What was taken over, in sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakenOver {
    pub(crate) sets: usize,
    /// Lazy sets that had no room; they are read from their files again.
    pub(crate) left: usize,
}

/// Copies what a zone of `load` keeps: pushed sets in any case. `old` is superseded: nobody writes to it meanwhile. `host`
/// has the lock of `new`, which is empty. Fails when what must be kept does not fit; lazy sets need
/// not be, nor previous ones.
pub(crate) fn take_over(
    old: &Store,
    new: &Store,
    load: Load,
    host: &dyn Host,
) -> Result<TakenOver, TooSmall> {
    new.continue_from(old);
    let sets = old.export();
    let (lazy, fixed): (Vec<_>, Vec<_>) = sets.iter().partition(|set| set.entry.is_lazy());
    let mut taken = TakenOver::default();

    let mut need = Need::new();
    let mut is_full = false;
    let is_kept = |set: &&&Exported| load != Load::Off || set.entry.source == Source::Pushed;
    for set in fixed.iter().filter(is_kept) {
        let Lookup::Found(details) = old.details(&set.name) else { continue };
        need.add(&set.name, &details.record, &served(set));
        is_full = is_full || !copy(set, &details, new, host);
        taken.sets += 1;
    }
    if is_full {
        return Err(TooSmall::new(need.bytes()));
    }

    // The ones that were used last are first; the rest would only evict them.
    for set in lazy.iter().filter(|_| load == Load::Lazy) {
        let Lookup::Found(details) = old.details(&set.name) else { continue };
        let mut need = Need::new();
        need.add(&set.name, &details.record, &served(set));
        if need.bytes() < new.stats().free_bytes && copy(set, &details, new, host) {
            taken.sets += 1;
        } else {
            taken.left += 1;
        }
    }
    // Where there is room after all that serves.
    for set in &sets {
        let Lookup::Found(Details { previous: Some((generation, record)), .. }) =
            old.details(&set.name)
        else {
            continue;
        };
        let Some(mut writer) = patient_writer(new, host) else { break };
        writer.add_previous(&set.name, generation, &record);
    }
    Ok(taken)
}

fn served(set: &Exported) -> Vec<&str> {
    set.served.iter().map(String::as_str).collect()
}

/// False when there is no room.
fn copy(set: &Exported, details: &Details, new: &Store, host: &dyn Host) -> bool {
    let Some(mut writer) = patient_writer(new, host) else { return false };
    let publication = Publication {
        name: &set.name,
        record: &details.record,
        served: &served(set),
        ticket: set.entry.ticket,
        now_msec: set.entry.looked_at,
        stat: set.entry.stat,
        generation: details.generation,
        seen: set.entry.seen,
        previous: Previous::Drop,
        expects: Expects::Any,
        leaves_room: false,
    };
    match writer.publish(&publication) {
        Ok(_) => {
            writer.set_last_good(&set.name, set.entry.last_good);
            writer.set_failure(&set.name, set.entry.failure);
            true
        }
        Err(PublishError::Overtaken | PublishError::Unexpected { .. }) => true,
        Err(PublishError::Full { .. }) => false,
    }
}
