//! How handshakes ended: as the zone counts them, as metrics and the variable name them.

use std::array;
use std::cell::Cell;

/// How a handshake ended. The numbers are in zones that outlive this module: none is given another
/// meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ending {
    /// Served from the worker's cache.
    Hit = 0,
    /// Served from the zone.
    Zone = 1,
    /// Served from files.
    File = 2,
    /// Served with the last good set.
    Stale = 3,
    /// Left to the server's own certificate.
    Static = 4,
    /// Refused: there is no certificate for the name.
    None = 5,
    /// A session was resumed, which takes no certificate.
    Resumed = 6,
}

impl Ending {
    /// By number: what is counted is in the order of these.
    pub(crate) const ALL: [Ending; 7] = [
        Ending::Hit,
        Ending::Zone,
        Ending::File,
        Ending::Stale,
        Ending::Static,
        Ending::None,
        Ending::Resumed,
    ];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// As in metrics and in `$rust_shared_cert_status`; dashboards know it by this.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Ending::Hit => "hit",
            Ending::Zone => "zone",
            Ending::File => "file",
            Ending::Stale => "stale",
            Ending::Static => "static",
            Ending::None => "none",
            Ending::Resumed => "resumed",
        }
    }
}

/// The handshakes that a worker has not told the zone of yet: cells of its own, so that none of its
/// handshakes takes a cache line from other workers.
pub(crate) struct Tally([Cell<u64>; Ending::ALL.len()]);

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally(array::from_fn(|_| Cell::new(0)))
    }

    #[inline]
    pub(crate) fn count(&self, ending: Ending) {
        if let Some(cell) = self.0.get(usize::from(ending.number())) {
            cell.set(cell.get().wrapping_add(1));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|cell| cell.get() == 0)
    }

    /// Hands over what was counted since the last time, without what there was none of.
    pub(crate) fn take(&self, mut visit: impl FnMut(Ending, u64)) {
        for (ending, cell) in Ending::ALL.into_iter().zip(&self.0) {
            let count = cell.take();
            if count != 0 {
                visit(ending, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HANDSHAKE_COUNTERS;

    #[test]
    fn numbers_and_labels() {
        assert!(Ending::ALL.len() <= usize::from(HANDSHAKE_COUNTERS));
        let mut labels: Vec<_> = Ending::ALL.iter().map(|ending| ending.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Ending::ALL.len());
        for (number, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(ending.number()), number);
        }
    }

    #[test]
    fn what_was_taken_is_not_there_again() {
        let tally = Tally::new();
        let taken = || {
            let mut all = Vec::new();
            tally.take(|ending, count| all.push((ending, count)));
            all
        };
        assert!(tally.is_empty());
        assert_eq!(taken(), []);
        for ending in [Ending::Resumed, Ending::Hit, Ending::Hit] {
            tally.count(ending);
        }
        assert!(!tally.is_empty());
        assert_eq!(taken(), [(Ending::Hit, 2), (Ending::Resumed, 1)]);
        assert!(tally.is_empty());
        assert_eq!(taken(), []);
    }
}
