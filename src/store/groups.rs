//! What is noted of 64 buckets together, so that a search need not follow all chains: a bit for each
//! bucket that may have what is searched for, and a count of what a survey has to look at again.

use crate::ffi::atomic::Ordering;

use super::layout::{GROUP_BUCKETS, GROUP_WORDS};
use super::zone::Zone;

/// What a bucket may have. A bit that is set may be wrong, one that is not is right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// A lazy set.
    Lazy = 0,
    /// A previous set.
    Previous = 1,
}

/// Where the changes of a group are counted.
const CHANGES: usize = 2;

fn word(zone: &Zone, group: usize, offset: usize) -> usize {
    zone.geometry.groups + group * GROUP_WORDS + offset
}

/// Locked, and before what it tells of can be found.
pub(super) fn mark(zone: &Zone, hint: Hint, bucket: usize) {
    let word = word(zone, bucket / GROUP_BUCKETS, hint as usize);
    zone.set(word, zone.get(word) | 1 << (bucket % GROUP_BUCKETS));
}

/// Locked, when the bucket was found to have none.
pub(super) fn unmark(zone: &Zone, hint: Hint, bucket: usize) {
    let word = word(zone, bucket / GROUP_BUCKETS, hint as usize);
    zone.set(word, zone.get(word) & !(1 << (bucket % GROUP_BUCKETS)));
}

/// Locked: for a repair, which marks all that there is again.
pub(super) fn unmark_all(zone: &Zone) {
    for group in 0..zone.geometry.group_count() {
        zone.set(word(zone, group, Hint::Lazy as usize), 0);
        zone.set(word(zone, group, Hint::Previous as usize), 0);
    }
}

#[cfg(test)]
pub(super) fn is_marked(zone: &Zone, hint: Hint, bucket: usize) -> bool {
    marked(zone, hint, bucket, bucket + 1).next().is_some()
}

/// The buckets from `from` to before `end` that are marked.
pub(super) fn marked(
    zone: &Zone,
    hint: Hint,
    from: usize,
    end: usize,
) -> impl Iterator<Item = usize> + '_ {
    let mut bucket = from;
    std::iter::from_fn(move || {
        while bucket < end {
            let (group, bit) = (bucket / GROUP_BUCKETS, bucket % GROUP_BUCKETS);
            let bits = zone.get(word(zone, group, hint as usize)) >> bit;
            if bits == 0 {
                bucket = (group + 1) * GROUP_BUCKETS;
                continue;
            }
            let found = bucket + bits.trailing_zeros() as usize;
            bucket = found + 1;
            return (found < end).then_some(found);
        }
        None
    })
}

/// Counts a change of what a survey tells of a bucket, after it was made.
pub(super) fn note_change(zone: &Zone, bucket: usize) {
    let word = word(zone, bucket / GROUP_BUCKETS, CHANGES);
    zone.region.fetch_add(word, 1, Ordering::Release);
}

/// As `note_change()`, of all buckets.
pub(super) fn note_changes(zone: &Zone) {
    for group in 0..zone.geometry.group_count() {
        zone.region.fetch_add(word(zone, group, CHANGES), 1, Ordering::Release);
    }
}

/// The changes of a group so far; to be read before its buckets are.
pub(super) fn changes(zone: &Zone, group: usize) -> u64 {
    zone.region.load(word(zone, group, CHANGES), Ordering::Acquire)
}

/// The buckets of a group.
pub(super) fn buckets(zone: &Zone, group: usize) -> std::ops::Range<usize> {
    let first = group * GROUP_BUCKETS;
    first..zone.geometry.buckets.min(first + GROUP_BUCKETS)
}
