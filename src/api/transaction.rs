//! A change from its first look at what is there to its answer, over the jobs that are done in a
//! thread in between.

use std::time::{Duration, Instant};

use super::Context;
use super::disk::{Job, Lock, Outcome};
use super::reply::Reply;
use super::write::{self, Change, OnDisk, Prepared, Refused};
use crate::restore::{self, Memory};
use crate::server_name::ServerName;
use crate::state::{Durable, StateError};

/// How long a change waits for other writers.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it tries meanwhile: for the zone, which is held for microseconds, and for the NAME, which
/// is held for as long as a disk takes.
const ZONE_RETRY_MSEC: u64 = 5;
const NAME_RETRY_MSEC: u64 = 10;

/// A change that is being made.
pub(crate) struct Transaction {
    change: Change,
    durable: Option<Durable>,
    stage: Stage,
    deadline: Instant,
}

enum Stage {
    Begins,
    /// Another process has the lock of the NAME.
    Held,
    /// The lock of the NAME is asked for.
    Locking,
    /// The change is written to the disk.
    Writing(Prepared),
    /// The lock of the NAME is held, where there is a directory.
    Ready(Option<Box<Lock>>),
    /// On disk, where there is a directory.
    OnDisk(Prepared, Option<Box<Lock>>),
    /// Taken back, with what is to be done then.
    Undoing(After),
    /// Made; the lock file is told.
    Settling(Reply),
    /// All is done, or nothing can be.
    Ends(Reply),
    /// The answer was given.
    Over,
}

/// What follows when a change was taken back from the disk.
enum After {
    Answer(Reply),
    /// Once more, on what is there now.
    Again,
}

/// What is to be done next.
pub(crate) enum Next {
    Done(Reply),
    /// To be called again in so long: somebody else is writing.
    Wait {
        msec: u64,
    },
    /// To be run in a thread; then `finished()`, and called again.
    InThread(Job),
}

impl Transaction {
    pub(crate) fn new(change: Change, durable: Option<Durable>) -> Transaction {
        let deadline = Instant::now() + PATIENCE;
        Transaction { change, durable, stage: Stage::Begins, deadline }
    }

    /// Goes on, as far as it gets without waiting.
    pub(crate) fn advance(&mut self, context: &mut Context<'_>) -> Next {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Over);
            match stage {
                Stage::Begins => match &self.durable {
                    None => self.stage = Stage::Ready(None),
                    Some(durable) => {
                        let name = self.name();
                        let Some(turn) = durable.turn(&name) else {
                            return self.wait(Stage::Begins, NAME_RETRY_MSEC);
                        };
                        let job = Job::lock(durable.clone(), name, turn);
                        self.stage = Stage::Locking;
                        return Next::InThread(job);
                    }
                },
                Stage::Held => return self.wait(Stage::Begins, NAME_RETRY_MSEC),
                Stage::Ready(lock) => {
                    if let Some(next) = self.prepare(lock, context) {
                        return next;
                    }
                }
                Stage::OnDisk(prepared, lock) => {
                    if let Some(next) = self.commit(prepared, lock, context) {
                        return next;
                    }
                }
                // Settling: finished() was not called; the change is made all the same.
                Stage::Ends(reply) | Stage::Settling(reply) => return Next::Done(reply),
                // It was not called: the job is lost.
                Stage::Locking | Stage::Writing(_) | Stage::Undoing(_) | Stage::Over => {
                    return Next::Done(write::internal_error());
                }
            }
        }
    }

    fn name(&self) -> ServerName {
        self.change.name().clone()
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits for whoever writes, with what is to be gone on with then.
    fn wait(&mut self, stage: Stage, msec: u64) -> Next {
        if self.is_late() {
            return Next::Done(write::locked());
        }
        self.wait_once(stage, msec)
    }

    fn wait_once(&mut self, stage: Stage, msec: u64) -> Next {
        self.stage = stage;
        Next::Wait { msec }
    }

    fn prepare(&mut self, mut lock: Option<Box<Lock>>, context: &mut Context<'_>) -> Option<Next> {
        if let Some(held) = &mut lock {
            match settle(held, context) {
                Ok(()) => {}
                Err(Refused::With(reply)) => return Some(Next::Done(reply)),
                Err(_) => return Some(self.wait(Stage::Ready(lock), ZONE_RETRY_MSEC)),
            }
        }
        let on_disk = OnDisk {
            is_kept: lock.is_some(),
            entry: lock.as_ref().and_then(|lock| lock.before.as_ref()),
        };
        let prepared = match self.change.prepare(on_disk, context) {
            Ok(prepared) => prepared,
            Err(Refused::With(reply)) => return Some(Next::Done(reply)),
            Err(_) => return Some(self.wait(Stage::Ready(lock), ZONE_RETRY_MSEC)),
        };
        match (lock, prepared.disk_change()) {
            (Some(lock), Some(change)) => {
                let job = Job::write(lock, self.name(), change);
                self.stage = Stage::Writing(prepared);
                Some(Next::InThread(job))
            }
            (lock, _) => {
                self.stage = Stage::OnDisk(prepared, lock);
                None
            }
        }
    }

    fn commit(
        &mut self,
        prepared: Prepared,
        lock: Option<Box<Lock>>,
        context: &mut Context<'_>,
    ) -> Option<Next> {
        let after = match prepared.commit(context) {
            Ok(reply) => {
                let Some(lock) = lock else { return Some(Next::Done(reply)) };
                self.stage = Stage::Settling(reply);
                return Some(Next::InThread(Job::settle(lock)));
            }
            Err(Refused::Busy) if !self.is_late() => {
                return Some(self.wait_once(Stage::OnDisk(prepared, lock), ZONE_RETRY_MSEC));
            }
            Err(Refused::Busy) => After::Answer(write::locked()),
            Err(Refused::With(reply)) => After::Answer(reply),
            Err(Refused::Changed) if !self.is_late() => After::Again,
            Err(Refused::Changed) => After::Answer(write::locked()),
        };
        match (lock, after) {
            (Some(lock), after) => {
                let job = Job::undo(lock, self.name());
                self.stage = Stage::Undoing(after);
                Some(Next::InThread(job))
            }
            (None, After::Answer(reply)) => Some(Next::Done(reply)),
            (None, After::Again) => {
                self.stage = Stage::Ready(None);
                None
            }
        }
    }

    /// A job is done.
    pub(crate) fn finished(&mut self, job: Job, context: &mut Context<'_>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        self.stage = match (job.outcome(), stage) {
            (Outcome::Locked(lock), _) => Stage::Ready(Some(lock)),
            (Outcome::Held, _) => Stage::Held,
            (Outcome::Written(lock), Stage::Writing(prepared)) => {
                Stage::OnDisk(prepared, Some(lock))
            }
            // Written by an instance whose clock was ahead.
            (Outcome::Older(lock), _) if !self.is_late() => Stage::Ready(Some(lock)),
            (Outcome::Undone(lock, error), Stage::Undoing(after)) => {
                if let Some(error) = error {
                    restore::report(&error, &context.store, context.host);
                }
                match after {
                    After::Answer(reply) => Stage::Ends(reply),
                    After::Again => Stage::Ready(Some(lock)),
                }
            }
            (Outcome::NotOwner, _) => Stage::Ends(write::not_owner()),
            (Outcome::Older(_), _) => Stage::Ends(write::locked()),
            (Outcome::Settled(error), Stage::Settling(reply)) => {
                if let Some(error) = error {
                    restore::report(&error, &context.store, context.host);
                }
                Stage::Ends(reply)
            }
            // The change is made.
            (Outcome::Failed(None), Stage::Settling(reply)) => Stage::Ends(reply),
            (Outcome::NotWritten(error) | Outcome::Failed(Some(error)), _) => {
                restore::report(&error, &context.store, context.host);
                Stage::Ends(write::not_durable(error.is_out_of_room()))
            }
            (
                Outcome::Failed(None)
                | Outcome::Written(_)
                | Outcome::Undone(..)
                | Outcome::Settled(_),
                _,
            ) => Stage::Ends(write::internal_error()),
        };
    }
}

/// Before anything else is changed: what a writer left that died before memory had its change.
fn settle(lock: &mut Lock, context: &mut Context<'_>) -> Result<(), Refused> {
    let failed = |error: &StateError, context: &Context<'_>| {
        restore::report(error, &context.store, context.host);
        Refused::With(write::not_durable(error.is_out_of_room()))
    };
    if let Some((unsettled, entry)) = &lock.unsettled {
        let configuration = context.resolver.configuration();
        let memory = Memory { store: &context.store, configuration, host: context.host };
        match restore::settle(unsettled, entry.as_ref(), memory) {
            Ok(()) => {}
            Err(restore::NotBrought::Busy) => return Err(Refused::Busy),
            Err(restore::NotBrought::Full) => {
                return Err(Refused::With(write::no_room_for(&unsettled.name)));
            }
        }
        lock.shard.settle().map_err(|error| failed(&error, context))?;
        lock.unsettled = None;
    }
    Ok(())
}
