//! The state directory of a zone: each pushed set in a file of its NAME, so that it is there after a
//! restart.
//!
//! Durable before visible: a set is on disk before it is in the zone. Nothing here knows the zone or
//! NGINX, and everything is `Send`: a write takes as long as the disk, so it belongs in a thread.
//!
//! - `entry`: a set as the bytes of its file.
//! - `own_file`: files that are ours and nobody else's.
//! - `directory`: what is there.
//! - `shard`: one writer at a time, and what a writer that died left.
//! - `places`: what is where a file that is not a set's is to be, and is none.
//! - `instance`: which of two NGINX instances may write. `durable`: the directory of one.
//!
//! Names of files that are no set's begin with `.`, which no NAME does.

mod directory;
mod durable;
mod entry;
mod error;
mod instance;
mod own_file;
mod places;
mod shard;

#[cfg(test)]
pub(crate) use directory::Listing;
pub(crate) use directory::{Loaded, StateDirectory};
pub(crate) use durable::{Durable, Turn};
pub(crate) use error::StateError;
pub(crate) use instance::{Instance, Ownership, Relatives, owner, take_over_if_dead};
pub(crate) use shard::{Flush, Removed, Shard, ShardId, Unsettled, Written};

use crate::record::Record;
use crate::server_name::ServerName;

/// A set as it was pushed, and which push it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) record: Record,
}

/// What is kept of a NAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateEntry {
    pub(crate) name: ServerName,
    /// Which files the NAME had when they were last looked at: others may take the set's place.
    pub(crate) seen: u64,
    pub(crate) current: Generation,
    /// What a rollback brings back.
    pub(crate) previous: Option<Generation>,
}

#[cfg(test)]
mod test_support;

/// Bytes that decode are those of an entry: as they are, and with right sums around them, which no
/// fuzzer finds.
#[cfg(fuzzing)]
pub(crate) fn fuzz_entry(bytes: &[u8]) {
    for bytes in [bytes, &entry::sealed(bytes)] {
        if let Ok(entry) = entry::decode(bytes) {
            assert_eq!(entry::encode(&entry).as_slice(), bytes);
        }
    }
}
