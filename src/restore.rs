//! The zone and its state directory: what is in one and not in the other, brought to it.

mod heal;
mod replaced;

use std::time::{Duration, Instant};

pub(crate) use heal::Healer;
pub(crate) use replaced::forget_replaced;

use crate::certificate::names_of_leaves;
use crate::host::Host;
use crate::record::Source;
use crate::server_name::ServerName;
use crate::startup::{TooSmall, patient_writer};
use crate::state::{
    Durable, Flush, Generation, Loaded, StateEntry, StateError, Unsettled, Written,
};
use crate::store::{
    Counter, Entry, Expects, Lookup, Need, Previous, Publication, PublishError, Store, Writer,
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
    /// Another process is writing to the zone, or it is superseded, or of a later configuration.
    Busy,
    Full,
}

/// A zone, for who writes to it as part of one of its configurations.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    pub(crate) store: &'a Store,
    pub(crate) configuration: u64,
    pub(crate) host: &'a dyn Host,
}

impl<'a> Memory<'a> {
    fn writer(&self) -> Result<Writer<'a>, NotBrought> {
        let writer = self.store.write(self.host.lock()).ok_or(NotBrought::Busy)?;
        // A later one may have another directory.
        let is_present = self.store.configuration() == self.configuration;
        if is_present { Ok(writer) } else { Err(NotBrought::Busy) }
    }
}

/// Brings all entries to the zone that it does not have, in the master; how many there are.
pub(crate) fn restore(
    durable: &Durable,
    store: &Store,
    host: &dyn Host,
) -> Result<u64, RestoreError> {
    let fixed = store.fixed_bytes();
    let mut need = Need::new();
    let (mut restored, mut is_full, mut is_locked) = (0, false, false);
    for (name, generation) in durable.directory().removed().map_err(RestoreError::State)? {
        match patient_writer(store, host) {
            Some(mut writer) => remove_older(&name, generation, store, &mut writer),
            None => return Err(RestoreError::Locked),
        }
    }
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
    Ok(restored)
}

/// Reads all entries. What cannot be read is in the log, and is left alone: its set, too.
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
            let text =
                format_args!("{error}; it is skipped, a restart reads it when that is mended");
            // A certificate that is not served; but what somebody else has put there is none.
            if error.is_of_a_name() { host.error(text) } else { host.warn(text) }
        }
    })
}

/// Removes a pushed set of this generation or an earlier one.
fn remove_older(name: &ServerName, generation: u64, store: &Store, writer: &mut Writer<'_>) {
    let is_pushed = matches!(
        store.find(name.as_str()), Lookup::Found(present) if present.source == Source::Pushed
    );
    let present = store.generation(name.as_str());
    if is_pushed && matches!(present, Lookup::Found(present) if present <= generation) {
        writer.remove(name.as_str());
    }
}

/// Brings the pushed sets of the zone to the directory that are not `there`, in order, and later than
/// what it has; in the master. What cannot be written is in the log.
pub(crate) fn save(durable: &Durable, there: &[ServerName], store: &Store, host: &dyn Host) {
    let is_missing = |name: &str| there.binary_search_by(|file| file.as_str().cmp(name)).is_err();
    let is_to_come = |name: &str, entry: &Entry| entry.source == Source::Pushed && is_missing(name);
    let names = store.names().into_iter().filter(|(name, entry)| is_to_come(name, entry));
    let missing: Vec<ServerName> =
        names.filter_map(|(name, _)| ServerName::from_operator(name.as_bytes())).collect();
    if missing.is_empty() {
        return;
    }
    let deadline = Instant::now() + PATIENCE;
    for name in missing {
        if let Err(text) = save_one(durable, &name, deadline, store) {
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

/// Writes a set to the directory, if it is a pushed one and not there.
fn save_one(
    durable: &Durable,
    name: &ServerName,
    deadline: Instant,
    store: &Store,
) -> Result<(), String> {
    let Lookup::Found(details) = store.details(name.as_str()) else { return Ok(()) };
    if details.record.source != Source::Pushed {
        return Ok(());
    }
    let shard = durable.directory().lock_until(name, deadline).map_err(|e| e.to_string())?;
    let mut shard = shard.ok_or("another process is writing for too long")?;
    if shard.unsettled().map_err(|e| e.to_string())?.is_some() {
        return Err("the last change to its lock is not settled".to_owned());
    }
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

/// Makes the set of a NAME in the zone the one on disk: after a writer that died between the two. Where
/// there is none, it is removed if that is what the writer had begun: the entry may be gone for any
/// reason.
pub(crate) fn settle(
    unsettled: &Unsettled,
    entry: Option<&StateEntry>,
    memory: Memory<'_>,
) -> Result<(), NotBrought> {
    match (entry, unsettled.removed) {
        (Some(entry), _) => bring(entry, memory),
        (None, Some(generation)) => {
            remove_older(&unsettled.name, generation, memory.store, &mut memory.writer()?);
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

/// Makes the set of an entry the one in the zone.
fn bring(entry: &StateEntry, memory: Memory<'_>) -> Result<(), NotBrought> {
    let mut writer = memory.writer()?;
    memory.store.start_clock(entry.current.number);
    bring_entry(entry, memory.store, &mut writer)
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
        leaves_room: false,
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

/// One count, and one line in a minute for the same error.
pub(crate) fn report(error: &StateError, store: &Store, host: &dyn Host) {
    use std::hash::{DefaultHasher, Hash, Hasher};

    store.add(Counter::StateErrors, 1);
    let mut hasher = DefaultHasher::new();
    ("state", error.to_string(), host.unix_seconds() / 60).hash(&mut hasher);
    if store.report_once(hasher.finish()) {
        host.error(format_args!("{error}"));
    }
}
