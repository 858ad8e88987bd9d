//! What was read, into the zone: at once into a new one, and into one that is kept only when the
//! configuration has come to stay.

use std::thread;
use std::time::{Duration, Instant};

use super::{Change, NewSet, Seen, Startup};
use crate::failure::{Failure, Reason};
use crate::host::Host;
use crate::record::Source;
use crate::server_name::ServerName;
use crate::store::{
    Counter, Entry, Expects, Look, Lookup, Need, Previous, Publication, PublishError, Store,
    Writer, region_bytes_for,
};

/// How long the master waits for a process that is writing, or that was stopped while it was.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(1);

/// The zone has no room for what it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSmall {
    /// Bytes that the zone's block needs.
    pub(crate) region_bytes: u64,
}

impl TooSmall {
    /// `arena_bytes` for what is to be there. A little more than that is needed: a set is replaced
    /// while it serves, and space comes in pieces.
    pub(crate) fn new(arena_bytes: u64) -> TooSmall {
        TooSmall { region_bytes: region_bytes_for(arena_bytes + arena_bytes / 50 + 4_096) }
    }
}

/// Reads into a zone that nobody serves from yet.
pub(crate) fn fill(startup: &mut Startup<'_>) -> Result<(), TooSmall> {
    let (store, previous, host) = (*startup.store, startup.previous, startup.host);
    let zone = Target { store: &store, previous, host };
    let fixed = store.fixed_bytes();
    let mut need = Need::new();
    let mut is_full = false;
    startup.run(|name, change| {
        if let Change::Publish(new) = &change {
            need.add(name.as_str(), &new.record, &strs(&new.served));
        }
        // When it does not fit, what follows is read all the same, for the size that is needed.
        if !is_full {
            is_full = apply(zone, name, change) == Applied::Full;
        }
    });
    startup.files.note_directories(startup.store);
    if is_full { Err(TooSmall::new(fixed + need.bytes())) } else { Ok(()) }
}

/// What is to be done to a zone that is kept.
#[derive(Default)]
pub(crate) struct Plan {
    changes: Vec<(ServerName, Change)>,
}

impl Plan {
    /// Reads, and writes nothing to the zone.
    pub(crate) fn make(startup: &mut Startup<'_>) -> Result<Plan, TooSmall> {
        let mut changes = Vec::new();
        startup.run(|name, change| changes.push((name.clone(), change)));
        let plan = Plan { changes };
        plan.check_fits(startup.store)?;
        Ok(plan)
    }

    fn check_fits(&self, store: &Store) -> Result<(), TooSmall> {
        let mut need = Need::new();
        for (name, change) in &self.changes {
            if let Change::Publish(new) = change {
                need.add(name.as_str(), &new.record, &strs(&new.served));
            }
        }
        let needed = store.fixed_bytes() + need.bytes();
        if needed <= store.capacity() {
            return Ok(());
        }
        let needed = needed.saturating_sub(self.replaced_bytes(store));
        if needed <= store.capacity() { Ok(()) } else { Err(TooSmall::new(needed)) }
    }

    /// Bytes of the sets that are replaced or removed, their chains not counted: others may send
    /// those too.
    fn replaced_bytes(&self, store: &Store) -> u64 {
        let mut need = Need::new();
        for (name, change) in &self.changes {
            if !matches!(change, Change::Publish(_) | Change::Remove) {
                continue;
            }
            if let Lookup::Found((entry, mut record)) = store.read(name.as_str()) {
                if !entry.is_lazy() {
                    record.members.iter_mut().for_each(|member| member.chain.clear());
                    need.add(name.as_str(), &record, &[]);
                }
            }
        }
        need.bytes()
    }

    /// Does it: what is gone first, for its room. What cannot be done is in the log, and the last good
    /// serves.
    pub(crate) fn commit(self, startup: &Startup<'_>) {
        let (removals, others): (Vec<_>, Vec<_>) =
            self.changes.into_iter().partition(|(_, change)| matches!(change, Change::Remove));
        let Startup { store, previous, host, .. } = *startup;
        let zone = Target { store, previous, host };
        for (name, change) in removals.into_iter().chain(others) {
            match apply(zone, &name, change) {
                Applied::Done => {}
                Applied::Full => {
                    let serves = startup.store.find(name.as_str()) != Lookup::Absent;
                    let consequence =
                        if serves { "the last good one is served" } else { "it is not served" };
                    startup
                        .host
                        .error(format_args!("certificate \"{name}\" has no room; {consequence}"));
                }
                Applied::Locked => {
                    // One process that was stopped in a write is waited for once.
                    startup.host.error(format_args!(
                        "another process is writing for too long: certificates that changed are \
                         not loaded before the next reload"
                    ));
                    break;
                }
            }
        }
        startup.files.note_directories(startup.store);
    }
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    Done,
    Full,
    Locked,
}

/// Where changes go to.
#[derive(Clone, Copy)]
struct Target<'a> {
    store: &'a Store,
    previous: Previous,
    host: &'a dyn Host,
}

fn apply(zone: Target<'_>, name: &ServerName, change: Change) -> Applied {
    let Target { store, host, .. } = zone;
    let Some(mut writer) = patient_writer(store, host) else { return Applied::Locked };
    let now_msec = host.monotonic_msec();
    let present = zone.entry(name);
    match change {
        Change::Publish(new) => return zone.publish(&mut writer, name, &new),
        Change::Same { id, seen } => {
            writer.restamp(name.as_str(), id, seen.ticket, seen.stat, now_msec);
            mend(&mut writer, name, present.as_ref());
        }
        Change::Seen { id, seen } => {
            let Seen { ticket, stat, tag } = seen;
            writer.note_look(name.as_str(), id, Look { stat, seen: tag, ticket, now_msec });
            mend(&mut writer, name, present.as_ref());
        }
        Change::Bad(reason) => {
            if present.as_ref().is_some_and(|entry| entry.source != Source::Pushed) {
                writer.set_last_good(name.as_str(), true);
            }
            zone.note_failure(&mut writer, name, present.as_ref(), reason);
        }
        Change::Remove => {
            writer.remove(name.as_str());
        }
    }
    Applied::Done
}

/// The files are good again.
fn mend(writer: &mut Writer<'_>, name: &ServerName, present: Option<&Entry>) {
    let Some(entry) = present else { return };
    let failure = Failure::without_files(entry.failure);
    if failure != entry.failure {
        writer.set_failure(name.as_str(), failure);
    }
}

impl Target<'_> {
    fn publish(self, writer: &mut Writer<'_>, name: &ServerName, new: &NewSet) -> Applied {
        let Seen { ticket, stat, tag } = new.seen;
        let publication = Publication {
            name: name.as_str(),
            record: &new.record,
            served: &strs(&new.served),
            ticket,
            now_msec: self.host.monotonic_msec(),
            stat,
            generation: ticket,
            seen: tag,
            previous: self.previous,
            expects: Expects::Any,
            leaves_room: false,
        };
        match writer.publish(&publication) {
            Ok(_) if new.is_over_push => self.host.notice(format_args!(
                "certificate \"{name}\": its files changed and take the place of what was pushed"
            )),
            Ok(_) => {}
            // Something newer is there.
            Err(PublishError::Overtaken | PublishError::Unexpected { .. }) => return Applied::Done,
            Err(PublishError::Full { .. }) => {
                self.note_failure(writer, name, self.entry(name).as_ref(), Reason::NoRoom);
                return Applied::Full;
            }
        }
        if let Some(reason) = new.failure {
            self.note_failure(writer, name, self.entry(name).as_ref(), reason);
        }
        Applied::Done
    }

    fn entry(self, name: &ServerName) -> Option<Entry> {
        match self.store.find(name.as_str()) {
            Lookup::Found(entry) => Some(entry),
            Lookup::Absent | Lookup::Contended => None,
        }
    }

    /// As the log told it.
    fn note_failure(
        self,
        writer: &mut Writer<'_>,
        name: &ServerName,
        present: Option<&Entry>,
        reason: Reason,
    ) {
        self.store.add(Counter::LoadFailures(reason.number()), 1);
        if let Some(entry) = present {
            let failure = Failure::noted(entry.failure, reason, self.host.unix_seconds());
            writer.set_failure(name.as_str(), failure);
        }
    }
}

/// Removes what was read at an earlier start: the configuration has no files any more.
pub(crate) fn forget(store: &Store, host: &dyn Host) {
    if store.stats().startup_sets == 0 {
        return;
    }
    let names = store.names();
    for (name, _) in names.iter().filter(|(_, entry)| entry.source == Source::Startup) {
        let Some(mut writer) = patient_writer(store, host) else { return };
        writer.remove(name);
    }
}

/// The right to write, waited for.
pub(crate) fn patient_writer<'a>(store: &Store, host: &'a dyn Host) -> Option<Writer<'a>> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(writer) = store.write(host.lock()) {
            return Some(writer);
        }
        host.lock().free_if_holder_died();
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(RETRY);
    }
}
