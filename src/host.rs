//! What the core asks of the process that it runs in.

use std::fmt;

use crate::certificate::CertificateSet;
use crate::store::ZoneLock;

/// A worker, or the master, for one zone.
pub(crate) trait Host {
    /// Milliseconds of a clock that all processes share.
    fn monotonic_msec(&self) -> u64;
    /// Sets both clocks, which otherwise stand still until the event loop goes on.
    fn update_clock(&self);
    /// Seconds since the epoch.
    fn unix_seconds(&self) -> i64;
    /// The zone's lock.
    fn lock(&self) -> &dyn ZoneLock;
    /// Whether the servers of the zone would take the set (their security level); the reason
    /// when not.
    fn accepts(&self, set: &CertificateSet) -> Result<(), String>;
    /// A number for what `accepts()` depends on.
    fn accepts_by(&self) -> u64;
    /// Progress of something that takes long; the zone's name is added, as in the next three.
    fn notice(&self, text: fmt::Arguments<'_>);
    /// Something that an operator should know.
    fn warn(&self, text: fmt::Arguments<'_>);
    /// Something that an operator has to mend.
    fn error(&self, text: fmt::Arguments<'_>);
    /// Something that should not be.
    fn alert(&self, text: fmt::Arguments<'_>);
}
