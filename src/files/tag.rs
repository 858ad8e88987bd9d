//! What the files of a name held, as one number: by that a file is told from the one that a push came
//! after (`store::Entry::seen`).

use super::{Files, Look, SeenDirectories, SetFiles};

/// Nobody looked, or what was there could not be read.
pub(crate) const UNKNOWN: u64 = 0;
/// There were no files.
pub(crate) const NONE: u64 = 1;

impl SetFiles {
    /// Of what was read. Contents that are no good set have one too: they are told from those that
    /// take their place.
    pub(crate) fn tag(&self) -> u64 {
        if self.pairs.iter().any(|(_, read)| read.is_err()) {
            return UNKNOWN;
        }
        let [a, b, c, d, e, f, g, h, ..] = self.digest;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(2)
    }
}

impl Files {
    /// Of a look. No files while their directory is not there are unknown ones.
    pub(crate) fn tag(&self, look: &Look, zone: &dyn SeenDirectories) -> u64 {
        match look {
            Look::Present(files) => files.tag(),
            Look::Absent if self.is_one_away(zone) => UNKNOWN,
            Look::Absent => NONE,
        }
    }
}
