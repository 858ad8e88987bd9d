//! What workers look after, from their timer: what writers left that died, and the directory itself
//! where its owner has. Nothing of it waits for another process.

use std::time::Duration;

use super::replaced::forget;
use super::{Memory, NotBrought, bring, load, remove_older, report, settle};
use crate::server_name::ServerName;
use crate::state::{Durable, Ownership, StateError};
use crate::store::Counter;

/// How often a zone is tried that another process is writing to, and how long it waits in between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_micros(200);

/// What a worker has begun.
#[derive(Default)]
pub(crate) struct Healer {
    /// The names whose files took the place of what was pushed, which may be on disk still.
    replaced: Vec<ServerName>,
    /// How often the directory is read once more after it was taken over.
    rereads: u32,
}

/// Workers of a master that is dead may have begun a change before they could see that they may not; by
/// then it is made.
const REREADS: u32 = 2;

impl Healer {
    pub(crate) fn add_replaced(&mut self, names: impl IntoIterator<Item = ServerName>) {
        self.replaced.extend(names);
    }

    /// One look.
    pub(crate) fn heal(&mut self, durable: &Durable, memory: Memory<'_>) {
        let Memory { store, configuration, host } = memory;
        // Another configuration may have another directory.
        if store.is_superseded() || store.configuration() != configuration {
            return;
        }
        let healed = match durable.ownership() {
            Ok(Ownership::Mine) => self.look_after(durable, memory),
            Ok(Ownership::Dead) => self.take_over(durable, memory),
            Ok(Ownership::Nobody) => Err(durable.directory().emptied()),
            Ok(Ownership::Other) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = healed {
            report(&error, store, host);
        }
    }

    fn look_after(&mut self, durable: &Durable, memory: Memory<'_>) -> Result<(), StateError> {
        settle_all(durable, memory)?;
        while let Some(name) = self.replaced.last() {
            if !forget(durable, name, memory.store)? {
                break;
            }
            self.replaced.pop();
        }
        if self.rereads > 0 && bring_all(durable, memory)? {
            self.rereads -= 1;
        }
        Ok(())
    }

    /// The owner is gone, whose changes are in the directory alone.
    fn take_over(&mut self, durable: &Durable, memory: Memory<'_>) -> Result<(), StateError> {
        if durable.take_over_if_dead(|| bring_all(durable, memory))? {
            self.rereads = REREADS;
            memory
                .host
                .notice(format_args!("the state directory is taken over: its owner is gone"));
        }
        Ok(())
    }
}

fn settle_all(durable: &Durable, memory: Memory<'_>) -> Result<(), StateError> {
    for id in durable.directory().unsettled_shards() {
        // One that is locked is under way.
        let Some(mut shard) = durable.directory().lock_shard(id)? else { continue };
        // Under the lock: who takes the directory over waits for those that hold one.
        if durable.ownership()? != Ownership::Mine {
            return Ok(());
        }
        let brought = match shard.unsettled()? {
            Some(unsettled) => match shard.read(&unsettled.name) {
                Ok(entry) => settle(&unsettled, entry.as_ref(), memory),
                // As at a start: it is skipped, and what memory has stays.
                Err(error) => {
                    report(&error, memory.store, memory.host);
                    Ok(())
                }
            },
            None => Ok(()),
        };
        if brought.is_ok() {
            shard.settle()?;
        }
    }
    Ok(())
}

/// Brings all entries to the zone, and removes what was removed: sets that have no entry for any other
/// reason stay. False when others were writing to the zone: to be tried again.
fn bring_all(durable: &Durable, memory: Memory<'_>) -> Result<bool, StateError> {
    let Memory { store, host, .. } = memory;
    for (name, generation) in durable.directory().removed()? {
        let removed = at_last(|| {
            remove_older(&name, generation, memory.store, &mut memory.writer()?);
            Ok(())
        });
        if removed.is_err() {
            return Ok(false);
        }
    }
    let mut is_done = true;
    load(durable, store, host, &mut |entry| {
        // After one that failed, all is done again.
        if !is_done {
            return;
        }
        match at_last(|| bring(&entry, memory)) {
            Ok(()) => {}
            Err(NotBrought::Busy) => is_done = false,
            Err(NotBrought::Full) => {
                store.add(Counter::StateErrors, 1);
                host.error(format_args!("certificate \"{}\" has no room", entry.name));
            }
        }
    })?;
    Ok(is_done)
}

fn at_last(attempt: impl Fn() -> Result<(), NotBrought>) -> Result<(), NotBrought> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(NotBrought::Busy) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    attempt()
}
