//! What workers look after, from their timer: what writers left that died, and the directory itself
//! where its owner has. Nothing of it waits for another process.

use std::time::{Duration, Instant};

use super::replaced::forget;
use super::{Memory, NotBrought, bring, load, pushed_but_not, report, save_one};
use crate::server_name::ServerName;
use crate::state::{Durable, Ownership, StateEntry, StateError};
use crate::store::Counter;

/// How long a piece of what may be long keeps the worker from its handshakes.
const PIECE: Duration = Duration::from_millis(20);

/// How often a zone is tried that another process is writing to, and how long it waits in between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_micros(200);

/// What a worker has begun.
#[derive(Default)]
pub(crate) struct Healer {
    /// The names whose files took the place of what was pushed, which may be on disk still.
    replaced: Vec<ServerName>,
    /// The directory was emptied: all pushed sets after this one are to be written again.
    saving: Option<Saving>,
}

/// How far that has got.
#[derive(Default)]
struct Saving {
    after: Option<String>,
}

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
            Ok(Ownership::Dead | Ownership::Nobody) => self.take_over(durable, memory),
            Ok(Ownership::Other) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = healed {
            report(&error, store, host);
        }
    }

    fn look_after(&mut self, durable: &Durable, memory: Memory<'_>) -> Result<(), StateError> {
        settle_all(durable, memory)?;
        while let Some(name) = self.replaced.pop() {
            if !forget(durable, &name, memory.store)? {
                self.replaced.push(name);
                break;
            }
        }
        self.save_some(durable, memory);
        Ok(())
    }

    /// The owner is gone, whose changes are in the directory alone; or nobody is the owner, so that
    /// somebody has emptied the directory: that removes no set.
    fn take_over(&mut self, durable: &Durable, memory: Memory<'_>) -> Result<(), StateError> {
        let mut is_emptied = false;
        let taken = durable.take_over_if_dead(|ownership| {
            is_emptied = ownership == Ownership::Nobody;
            bring_all(durable, is_emptied, memory)
        })?;
        if taken && is_emptied {
            self.saving = Some(Saving::default());
            memory.host.warn(format_args!(
                "the state directory was emptied: pushed certificates are written to it again"
            ));
        } else if taken {
            memory
                .host
                .notice(format_args!("the state directory is taken over: its owner is gone"));
        }
        Ok(())
    }

    fn save_some(&mut self, durable: &Durable, memory: Memory<'_>) {
        let Memory { store, host, .. } = memory;
        let Some(saving) = &mut self.saving else { return };
        let end = Instant::now() + PIECE;
        while Instant::now() < end {
            let names = store.page(saving.after.as_deref(), 16);
            let Some(last) = names.last() else {
                self.saving = None;
                return;
            };
            saving.after = Some(last.clone());
            for name in names.iter().filter_map(|name| ServerName::from_operator(name.as_bytes())) {
                if let Err(text) = save_one(durable, &name, Instant::now(), store) {
                    store.add(Counter::StateErrors, 1);
                    host.error(format_args!(
                        "certificate \"{name}\" is not in the state directory: {text}"
                    ));
                }
            }
        }
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
            Some(name) => bring(&name, shard.read(&name)?.as_ref(), memory),
            None => Ok(()),
        };
        if brought.is_ok() {
            shard.settle()?;
        }
    }
    Ok(())
}

/// Brings all entries to the zone; sets without one are removed, unless the directory was emptied. False
/// when others were writing to the zone: to be tried again.
fn bring_all(durable: &Durable, is_emptied: bool, memory: Memory<'_>) -> Result<bool, StateError> {
    let Memory { store, host, .. } = memory;
    let mut is_done = true;
    let mut try_to_bring = |name: &ServerName, entry: Option<&StateEntry>| {
        // After one that failed, all is done again.
        if !is_done {
            return;
        }
        match bring_at_last(name, entry, memory) {
            Ok(()) => {}
            Err(NotBrought::Busy) => is_done = false,
            Err(NotBrought::Full) => {
                store.add(Counter::StateErrors, 1);
                host.error(format_args!("certificate \"{name}\" has no room"));
            }
        }
    };
    let found = load(durable, store, host, &mut |entry| try_to_bring(&entry.name, Some(&entry)))?;
    if !is_emptied {
        for name in pushed_but_not(&found, store) {
            try_to_bring(&name, None);
        }
    }
    Ok(is_done)
}

fn bring_at_last(
    name: &ServerName,
    entry: Option<&StateEntry>,
    memory: Memory<'_>,
) -> Result<(), NotBrought> {
    for _ in 1..ATTEMPTS {
        match bring(name, entry, memory) {
            Err(NotBrought::Busy) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    bring(name, entry, memory)
}
