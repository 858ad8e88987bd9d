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

    /// To read only.
    pub(crate) fn read_only(directory: StateDirectory) -> Durable {
        Durable::new(directory, "")
    }

    /// Whether this is an instance that may become the one that writes.
    pub(crate) fn is_read_only(&self) -> bool {
        self.instance.is_empty()
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

    /// Whether this instance may write. An error where it is open to read only.
    pub(crate) fn ownership(&self) -> Result<Ownership, StateError> {
        if self.is_read_only() {
            return Err(self.directory.not_writable());
        }
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
