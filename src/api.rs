//! The answers of the content handlers.
//!
//! - `route`, `access`, `media_type`, `precondition`: what is asked, by whom, and on which condition.
//! - `show`, `clear`, `metrics`: calls that change no set. `write`: those that do,
//!   `disk` what they do in the state directory, and `transaction` all of it in order.
//! - `describe`: sets as JSON. `reply`: an answer.

pub(crate) mod access;
pub(crate) mod clear;
pub(crate) mod describe;
pub(crate) mod disk;
pub(crate) mod media_type;
pub(crate) mod metrics;
pub(crate) mod precondition;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod show;
pub(crate) mod transaction;
pub(crate) mod write;

use crate::host::Host;
use crate::lookup::{Resolver, Settings};
use crate::store::Store;

/// What calls are answered from: a zone, in a worker.
pub(crate) struct Context<'a> {
    /// The zone's name.
    pub(crate) zone: &'a str,
    pub(crate) store: Store,
    pub(crate) settings: &'a Settings,
    pub(crate) resolver: &'a mut Resolver,
    pub(crate) host: &'a dyn Host,
}
