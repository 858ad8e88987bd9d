//! What a change does in the state directory, as jobs for a thread: each takes as long as the disk.
//!
//! A change holds the lock of its NAME from before it looks at what is there until it is both on
//! disk and in memory, so that both have the same history.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::server_name::ServerName;
use crate::state::{
    Durable, Flush, Ownership, Removed, Shard, StateEntry, StateError, Turn, Unsettled, Written,
};

/// A piece of work, then its outcome.
pub(crate) struct Job(Progress);

enum Progress {
    Waits(Box<dyn FnOnce() -> Outcome + Send>),
    Done(Outcome),
}

/// What is to become of a NAME's entry.
pub(crate) enum DiskChange {
    Write(Box<StateEntry>),
    /// Of this generation or an earlier one.
    Remove(u64),
}

/// What a job came to.
pub(crate) enum Outcome {
    Locked(Box<Lock>),
    /// Another instance of NGINX may write.
    NotOwner,
    /// Another process is writing a NAME that shares the lock.
    Held,
    /// The change is on disk.
    Written(Box<Lock>),
    /// It is not: a higher generation is there, which is to be brought to memory first.
    Older(Box<Lock>),
    /// It is not, and what was there is there, or is brought to memory by whoever comes next.
    NotWritten(StateError),
    /// What was there before is there again; or not, and the NAME is left to whoever comes next.
    Undone(Box<Lock>, Option<StateError>),
    /// It is on disk and in memory, but for what the lock file says.
    Settled(Option<StateError>),
    Failed(Option<StateError>),
}

/// The lock of a NAME.
pub(crate) struct Lock {
    pub(crate) shard: Shard,
    /// Goes after the lock.
    _turn: Turn,
    /// The entry before the change.
    pub(crate) before: Option<StateEntry>,
    /// A change whose writer died before it was in memory, and what is on disk of it.
    pub(crate) unsettled: Option<(Unsettled, Option<StateEntry>)>,
}

impl Job {
    /// Takes the lock of a NAME.
    pub(crate) fn lock(durable: Durable, name: ServerName, turn: Turn) -> Job {
        Job::new(move || lock(&durable, &name, turn).unwrap_or_else(|e| Outcome::Failed(Some(e))))
    }

    /// Takes a change to the disk.
    pub(crate) fn write(mut lock: Box<Lock>, name: ServerName, change: DiskChange) -> Job {
        Job::new(move || {
            let written = match &change {
                DiskChange::Write(entry) => {
                    lock.shard.write(entry, Flush::Now).map(|written| match written {
                        Written::Done => None,
                        Written::Older(there) => Some(there),
                    })
                }
                DiskChange::Remove(generation) => {
                    lock.shard.remove(&name, *generation, Flush::Now).map(|removed| match removed {
                        Removed::Done | Removed::Absent => None,
                        Removed::Older(there) => Some(there),
                    })
                }
            };
            match written {
                Ok(None) => Outcome::Written(lock),
                Ok(Some(_)) => match lock.shard.read(&name) {
                    Ok(entry) => {
                        lock.before.clone_from(&entry);
                        lock.unsettled = Some((Unsettled { name, removed: None }, entry));
                        Outcome::Older(lock)
                    }
                    Err(error) => Outcome::NotWritten(error),
                },
                Err(error) => {
                    take_back(&mut lock, &name);
                    Outcome::NotWritten(error)
                }
            }
        })
    }

    /// Takes a change back that memory did not take.
    pub(crate) fn undo(mut lock: Box<Lock>, name: ServerName) -> Job {
        Job::new(move || {
            let undone = lock.shard.undo(&name, lock.before.as_ref(), Flush::Now);
            let undone = undone.and_then(|()| lock.shard.settle());
            Outcome::Undone(lock, undone.err())
        })
    }

    /// Notes that memory has the change too.
    pub(crate) fn settle(mut lock: Box<Lock>) -> Job {
        Job::new(move || Outcome::Settled(lock.shard.settle().err()))
    }

    fn new(work: impl FnOnce() -> Outcome + Send + 'static) -> Job {
        Job(Progress::Waits(Box::new(work)))
    }

    /// Does the work; in a thread, out of which no panic may come.
    pub(crate) fn run(&mut self) {
        let progress = std::mem::replace(&mut self.0, Progress::Done(Outcome::Failed(None)));
        self.0 = match progress {
            Progress::Waits(work) => {
                let outcome = catch_unwind(AssertUnwindSafe(work));
                Progress::Done(outcome.unwrap_or_else(|payload| {
                    // Dropping a payload could panic again.
                    std::mem::forget(payload);
                    Outcome::Failed(None)
                }))
            }
            done => done,
        };
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self.0 {
            Progress::Done(outcome) => outcome,
            Progress::Waits(_) => Outcome::Failed(None),
        }
    }
}

/// After a write that failed. Where the file has its place, but the directory could not be synced, the
/// caller is told that nothing was changed, and so it is to be, but for a machine that fails now. Where
/// this fails too, the name stays marked: what is on disk gets to memory.
fn take_back(lock: &mut Lock, name: &ServerName) {
    let is_marked =
        lock.shard.unsettled().is_ok_and(|marked| marked.is_some_and(|mark| mark.name == *name));
    if is_marked && lock.shard.undo(name, lock.before.as_ref(), Flush::Later).is_ok() {
        let _ = lock.shard.settle();
    }
}

/// Never waits: threads that do would keep those from their work who have the locks.
fn lock(durable: &Durable, name: &ServerName, turn: Turn) -> Result<Outcome, StateError> {
    let Some(mut shard) = durable.directory().lock(name)? else { return Ok(Outcome::Held) };
    durable.directory().check_place()?;
    // Under the lock: an instance that takes the directory over waits for those that hold one.
    match durable.ownership()? {
        Ownership::Mine => {}
        Ownership::Nobody => return Err(durable.directory().emptied()),
        Ownership::Other | Ownership::Dead => return Ok(Outcome::NotOwner),
    }
    let unsettled = match shard.unsettled()? {
        Some(unsettled) => match shard.read(&unsettled.name) {
            Ok(entry) => Some((unsettled, entry)),
            // As at a start: it is skipped, and what memory has stays.
            Err(_) => {
                shard.settle()?;
                None
            }
        },
        None => None,
    };
    // One that cannot be read is replaced, and not put back.
    let before = shard.read(name).ok().flatten();
    Ok(Outcome::Locked(Box::new(Lock { shard, _turn: turn, before, unsettled })))
}
