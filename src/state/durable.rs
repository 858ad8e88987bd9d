//! A state directory as an instance of NGINX uses it.

use std::sync::Arc;

use super::{Ownership, StateDirectory, StateError, owner, take_over_if_dead};

/// Copies are handles on the same directory.
#[derive(Clone)]
pub(crate) struct Durable {
    directory: StateDirectory,
    /// By which the directory knows who may write.
    instance: Arc<str>,
}

impl Durable {
    pub(crate) fn new(directory: StateDirectory, instance: &str) -> Durable {
        Durable { directory, instance: instance.into() }
    }

    pub(crate) fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// Whether this instance may write.
    pub(crate) fn ownership(&self) -> Result<Ownership, StateError> {
        owner(&self.directory, &self.instance)
    }

    /// As `take_over_if_dead()`.
    pub(crate) fn take_over_if_dead(&self) -> Result<bool, StateError> {
        take_over_if_dead(&self.directory, &self.instance)
    }
}
