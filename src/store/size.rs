//! How much room sets need, before there is a zone for them.

use std::collections::HashSet;

use super::layout::{Geometry, UNIT_BYTES};
use super::{blob, publish};
use crate::ffi::region::WORD;
use crate::record::Record;

/// The arena bytes that sets need together, intermediates counted once.
///
/// It is what they take in a zone that was just formatted, to the byte. Not counted: what is lost
/// between blocks once sets were replaced and removed, and the second set of a name while it
/// replaces the first, for which there must be room beside all others. Nor that of sets which are
/// in the zone and not added here.
#[derive(Default)]
pub(crate) struct Need {
    units: u64,
    blobs: HashSet<[u8; 32]>,
}

impl Need {
    pub(crate) fn new() -> Need {
        Need::default()
    }

    /// Adds a set, as it would be published. One that fits into no block needs all there is.
    pub(crate) fn add(&mut self, name: &str, record: &Record, served: &[&str]) {
        self.units = self.units.saturating_add(publish::own_units(name, record, served));
        for der in record.members.iter().flat_map(|m| &m.chain) {
            if self.blobs.insert(openssl::sha::sha256(der)) {
                self.units = self.units.saturating_add(blob::units_of(der).into());
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.units.saturating_mul(UNIT_BYTES)
    }
}

/// The least region (bytes) such that it, and any larger one, has an arena of so many bytes;
/// `u64::MAX` when no region has. Larger ones count because tables grow by steps: at a step, a
/// region of a few bytes more has an arena that is smaller by 2 %.
pub(crate) fn region_bytes_for(arena_bytes: u64) -> u64 {
    let Ok(units) = u32::try_from(arena_bytes.div_ceil(UNIT_BYTES)) else {
        return u64::MAX;
    };
    Geometry::least_words(units).map_or(u64::MAX, |words| (words * WORD) as u64)
}
