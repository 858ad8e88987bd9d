//! The zone and its state directory: what is in one and not in the other, brought to it.

use std::time::{Duration, Instant};

use crate::certificate::names_of_leaves;
use crate::host::Host;
use crate::record::Source;
use crate::server_name::ServerName;
use crate::startup::{TooSmall, patient_writer};
use crate::state::{
    Durable, Flush, Generation, Loaded, Ownership, StateEntry, StateError, Written,
};
use crate::store::{
    Counter, Expects, Lookup, Need, Previous, Publication, PublishError, Store, Writer,
};

/// How long the master waits for a write to the directory by another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a zone cannot begin with what is in its directory.
pub(crate) enum RestoreError {
    TooSmall(TooSmall),
    State(StateError),
    /// Another process was stopped in a write to the zone.
    Locked,
}

/// Why the zone does not get what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBrought {
    /// Another process is writing to the zone, or it is superseded.
    Busy,
    Full,
}

/// Brings all entries to the zone that it does not have, in the master.
pub(crate) fn restore(
    durable: &Durable,
    store: &Store,
    host: &dyn Host,
) -> Result<(), RestoreError> {
    let fixed = store.fixed_bytes();
    let mut need = Need::new();
    let (mut restored, mut is_full, mut is_locked) = (0, false, false);
    load(durable, store, host, &mut |entry| {
        let served = names(&entry.current);
        need.add(entry.name.as_str(), &entry.current.record, &strs(&served));
        if is_full || is_locked {
            return;
        }
        match patient_writer(store, host) {
            Some(mut writer) => match bring_entry(&entry, store, &mut writer) {
                Ok(()) => restored += 1,
                Err(_) => is_full = true,
            },
            None => is_locked = true,
        }
    })
    .map_err(RestoreError::State)?;
    if is_full {
        return Err(RestoreError::TooSmall(TooSmall::new(fixed + need.bytes())));
    }
    if is_locked {
        return Err(RestoreError::Locked);
    }
    if restored > 0 {
        host.notice(format_args!("{restored} pushed certificates read from the state directory"));
    }
    Ok(())
}

/// Reads all entries. What cannot be read is in the log, and is left alone.
fn load(
    durable: &Durable,
    store: &Store,
    host: &dyn Host,
    visit: &mut dyn FnMut(StateEntry),
) -> Result<(), StateError> {
    durable.directory().load(&mut |loaded| match loaded {
        Loaded::Entry(entry) => {
            store.start_clock(entry.current.number);
            visit(entry);
        }
        Loaded::Skipped(error) => {
            store.add(Counter::StateErrors, 1);
            host.warn(format_args!("{error}; it is skipped"));
        }
    })
}

/// Brings all pushed sets of the zone to a directory that it did not have before, in the master.
/// What cannot be written is in the log.
pub(crate) fn save(durable: &Durable, store: &Store, host: &dyn Host) {
    let is_pushed = |source| source == Source::Pushed;
    for (name, _) in store.names().into_iter().filter(|(_, entry)| is_pushed(entry.source)) {
        let Some(name) = ServerName::from_operator(name.as_bytes()) else { continue };
        if let Err(text) = save_one(durable, &name, store) {
            store.add(Counter::StateErrors, 1);
            host.error(format_args!(
                "certificate \"{name}\" is not in the state directory: {text}"
            ));
        }
    }
    // Once for all: a sync for each would keep the master for minutes.
    if let Err(error) = durable.directory().sync_all() {
        report(&error, store, host);
    }
}

/// Removes the entries of names whose files took the place of what was pushed, in the master.
pub(crate) fn forget_replaced(durable: &Durable, store: &Store, host: &dyn Host) {
    let is_replaced = |name: &ServerName| match store.find(name.as_str()) {
        Lookup::Found(entry) => entry.source != Source::Pushed,
        Lookup::Absent | Lookup::Contended => false,
    };
    let forgotten = durable.directory().entries().and_then(|names| {
        names
            .iter()
            .filter(|name| is_replaced(name))
            .try_for_each(|name| forget(durable, name, store).map(drop))
    });
    if let Err(error) = forgotten {
        report(&error, store, host);
    }
}

/// Removes the entry of a name unless what was pushed is served; false when another process is
/// writing it.
fn forget(durable: &Durable, name: &ServerName, store: &Store) -> Result<bool, StateError> {
    let Some(mut shard) = durable.directory().lock(name)? else { return Ok(false) };
    let is_pushed = match store.find(name.as_str()) {
        Lookup::Found(entry) => entry.source == Source::Pushed,
        Lookup::Absent => true,
        Lookup::Contended => return Ok(false),
    };
    if is_pushed || shard.unsettled()?.is_some() {
        return Ok(is_pushed);
    }
    // What comes back with the machine is found older than the files again.
    shard.remove(name, u64::MAX, Flush::Later)?;
    shard.settle()?;
    Ok(true)
}

fn save_one(durable: &Durable, name: &ServerName, store: &Store) -> Result<(), String> {
    let Lookup::Found(details) = store.details(name.as_str()) else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    let shard = durable.directory().lock_until(name, deadline).map_err(|e| e.to_string())?;
    let mut shard = shard.ok_or("another process is writing for too long")?;
    shard.settle().map_err(|e| e.to_string())?;
    let on_disk = shard.generation(name).map_err(|e| e.to_string())?;
    if on_disk.is_some_and(|there| there >= details.generation) {
        return Ok(());
    }
    let generation = |number, record| Generation { number, record };
    let entry = StateEntry {
        name: name.clone(),
        seen: details.entry.seen,
        current: generation(details.generation, details.record),
        previous: details.previous.map(|(number, record)| generation(number, record)),
    };
    match shard.write(&entry, Flush::Later).map_err(|e| e.to_string())? {
        Written::Done | Written::Older(_) => shard.settle().map_err(|e| e.to_string()),
    }
}

/// Makes the set of a NAME in the zone the one on disk: after a writer that died between the two.
pub(crate) fn bring(
    name: &ServerName,
    entry: Option<&StateEntry>,
    store: &Store,
    host: &dyn Host,
) -> Result<(), NotBrought> {
    let mut writer = store.write(host.lock()).ok_or(NotBrought::Busy)?;
    match entry {
        Some(entry) => {
            store.start_clock(entry.current.number);
            bring_entry(entry, store, &mut writer)
        }
        None => {
            // What was not pushed is no business of the directory's.
            if let Lookup::Found(present) = store.find(name.as_str()) {
                if present.source == Source::Pushed {
                    writer.remove(name.as_str());
                }
            }
            Ok(())
        }
    }
}

fn bring_entry(
    entry: &StateEntry,
    store: &Store,
    writer: &mut Writer<'_>,
) -> Result<(), NotBrought> {
    let name = entry.name.as_str();
    let current = &entry.current;
    if let Lookup::Found(there) = store.generation(name) {
        if there >= current.number {
            return Ok(());
        }
    }
    let served = names(current);
    let publication = Publication {
        name,
        record: &current.record,
        served: &strs(&served),
        ticket: current.number,
        generation: current.number,
        // Its files are looked at as soon as somebody asks for it.
        now_msec: 0,
        stat: 0,
        seen: entry.seen,
        previous: Previous::Drop,
        expects: Expects::Any,
    };
    match writer.publish(&publication) {
        Ok(_) => {}
        Err(PublishError::Overtaken | PublishError::Unexpected { .. }) => return Ok(()),
        Err(PublishError::Full { .. }) => return Err(NotBrought::Full),
    }
    if let Some(previous) = &entry.previous {
        writer.add_previous(name, previous.number, &previous.record);
    }
    Ok(())
}

fn names(generation: &Generation) -> Vec<String> {
    names_of_leaves(&generation.record).unwrap_or_default()
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Looks after what writers left that died, and after the directory itself where its owner has. For
/// a worker's timer: nothing of it waits for another process.
/// `replaced` has the names whose files took the place of what was pushed; those stay that could not
/// be done.
pub(crate) fn heal(
    durable: &Durable,
    replaced: &mut Vec<ServerName>,
    store: &Store,
    host: &dyn Host,
) {
    if store.is_superseded() {
        return;
    }
    let healed = match durable.ownership() {
        Ok(Ownership::Mine) => settle_all(durable, store, host).and_then(|()| {
            let mut failed = Ok(());
            replaced.retain(|name| {
                failed.is_ok()
                    && match forget(durable, name, store) {
                        Ok(is_done) => !is_done,
                        Err(error) => {
                            failed = Err(error);
                            false
                        }
                    }
            });
            failed
        }),
        Ok(Ownership::Dead) => take_over(durable, store, host),
        Ok(Ownership::Other) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = healed {
        report(&error, store, host);
    }
}

fn settle_all(durable: &Durable, store: &Store, host: &dyn Host) -> Result<(), StateError> {
    for id in durable.directory().unsettled_shards() {
        // One that is locked is under way.
        let Some(mut shard) = durable.directory().lock_shard(id)? else { continue };
        let brought = match shard.unsettled()? {
            Some(name) => bring(&name, shard.read(&name)?.as_ref(), store, host),
            None => Ok(()),
        };
        if brought.is_ok() {
            shard.settle()?;
        }
    }
    Ok(())
}

/// The other instance is gone, whose pushes are in the directory alone.
fn take_over(durable: &Durable, store: &Store, host: &dyn Host) -> Result<(), StateError> {
    if durable.take_over_if_dead(|| reload(durable, store, host))? {
        host.notice(format_args!("the state directory is taken over: its owner is gone"));
    }
    Ok(())
}

/// Makes all pushed sets of the zone those on disk.
fn reload(durable: &Durable, store: &Store, host: &dyn Host) -> Result<(), StateError> {
    let mut found = Vec::new();
    load(durable, store, host, &mut |entry| {
        if bring(&entry.name, Some(&entry), store, host) == Err(NotBrought::Full) {
            store.add(Counter::StateErrors, 1);
            host.error(format_args!("certificate \"{}\" has no room", entry.name));
        }
        found.push(entry.name);
    })?;
    found.sort_unstable();
    for (name, entry) in store.names() {
        let Some(name) = ServerName::from_operator(name.as_bytes()) else { continue };
        if entry.source == Source::Pushed && found.binary_search(&name).is_err() {
            let _ = bring(&name, None, store, host);
        }
    }
    Ok(())
}

/// One line and one count; the same error is told of once.
pub(crate) fn report(error: &StateError, store: &Store, host: &dyn Host) {
    use std::hash::{DefaultHasher, Hash, Hasher};

    store.add(Counter::StateErrors, 1);
    let mut hasher = DefaultHasher::new();
    ("state", error.to_string()).hash(&mut hasher);
    if store.report_once(hasher.finish()) {
        host.error(format_args!("{error}"));
    }
}
