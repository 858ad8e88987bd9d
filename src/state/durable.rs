//! A state directory as an instance of NGINX uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Ownership, ShardId, StateDirectory, StateError, owner, take_over_if_dead};
use crate::server_name::ServerName;

/// Copies are handles on the same directory.
#[derive(Clone)]
pub(crate) struct Durable {
    directory: StateDirectory,
    /// By which the directory knows who may write.
    instance: Arc<str>,
    /// The locks that this process has, or is about to ask for.
    claimed: Arc<[AtomicBool]>,
}

/// The right to ask for the lock of a NAME: of all that want it in a process one asks.
pub(crate) struct Turn {
    claimed: Arc<[AtomicBool]>,
    id: ShardId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(claimed) = self.claimed.get(self.id.index()) {
            claimed.store(false, Ordering::Release);
        }
    }
}

impl Durable {
    pub(crate) fn new(directory: StateDirectory, instance: &str) -> Durable {
        let claimed = ShardId::all().map(|_| AtomicBool::new(false)).collect();
        Durable { directory, instance: instance.into(), claimed }
    }

    /// `None` while another of this process has it.
    pub(crate) fn turn(&self, name: &ServerName) -> Option<Turn> {
        let id = ShardId::of(name);
        let was_claimed = self.claimed.get(id.index())?.swap(true, Ordering::AcqRel);
        (!was_claimed).then(|| Turn { claimed: Arc::clone(&self.claimed), id })
    }

    pub(crate) fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// Whether this instance may write.
    pub(crate) fn ownership(&self) -> Result<Ownership, StateError> {
        owner(&self.directory, &self.instance)
    }

    /// As `take_over_if_dead()`.
    pub(crate) fn take_over_if_dead(
        &self,
        load: impl FnOnce() -> Result<bool, StateError>,
    ) -> Result<bool, StateError> {
        take_over_if_dead(&self.directory, &self.instance, load)
    }
}
