//! Where everything is in the zone, as numbers of 64-bit words from its start.
//!
//! | words                | what                                                            |
//! |----------------------|-----------------------------------------------------------------|
//! | 0 ..                 | the header words below                                          |
//! | `STRIPES` ..         | epoch stripes: one counter each, a name's is picked by its hash |
//! | `REPORTED` ..        | hashes of what was logged once                                  |
//! | `COUNTERS` ..        | what is counted for metrics                                     |
//! | `BINS` ..            | heads of the free lists, by size                                |
//! | `heads` ..           | name buckets: link to the first name or alias                   |
//! | `used` ..            | last use of a name in that bucket, milliseconds                 |
//! | `blobs` ..           | blob buckets: unit of the first blob                            |
//! | `groups` ..          | what is noted of 64 name buckets each                           |
//! | `arena` ..           | blocks, in units of two words                                   |
//!
//! The table sizes follow from the size of the region alone (`Geometry`), never from the zone's
//! own words: those are compared only. A change of anything here is a new `LAYOUT`.

/// "rscertst" as bytes on a little-endian machine; another byte order is another magic.
pub(super) const MAGIC_VALUE: u64 = 0x7473_7472_6563_7372;
/// The version of this layout.
#[cfg(not(feature = "fault-injection"))]
pub(super) const LAYOUT: u64 = 5;
/// Another one, to test what meets a zone of another version.
#[cfg(feature = "fault-injection")]
pub(super) const LAYOUT: u64 = 5 | 1 << 32;

// What the zone is. Written by `format` only, `MAGIC` last.
pub(super) const MAGIC: usize = 0;
pub(super) const VERSION: usize = 1;
pub(super) const WORDS: usize = 2;
pub(super) const UNITS: usize = 3;
pub(super) const BUCKETS: usize = 4;

// A cache line that readers load at each handshake.
/// What was loaded with a ticket up to this one is stale.
pub(super) const CLEAR_EPOCH: usize = 8;
/// Publishes, removes and clears so far.
pub(super) const CHANGES: usize = 9;
/// Number of the configuration whose workers may write; a reload begins another.
pub(super) const CONFIGURATION: usize = 10;
/// Sets that are not lazy. Never less than readers can find: counted before a set is published,
/// until after it was removed.
pub(super) const FIXED_SETS: usize = 11;
/// Not 0 when nobody may write any more: another zone is in use.
pub(super) const SUPERSEDED: usize = 12;

/// The last ticket that was drawn; a line of its own, as it is written without the lock.
pub(super) const CLOCK: usize = 16;

// For writers, under the lock.
/// Not 0 while a write is under way, or when its writer died.
pub(super) const BUSY: usize = 24;
/// The generation given last.
pub(super) const GENERATION: usize = 25;
/// The bucket where the next search for a victim starts.
pub(super) const HAND: usize = 26;
pub(super) const FREE_UNITS: usize = 27;
pub(super) const LAZY_SETS: usize = 28;
/// Units of the sets that are not lazy, with their names, their aliases, and the blobs that they
/// link to. Not those of previous sets.
pub(super) const FIXED_UNITS: usize = 29;
pub(super) const EVICTIONS: usize = 30;
pub(super) const REPAIRS: usize = 31;
/// Repairs that found no walkable arena and left an empty one.
pub(super) const RESETS: usize = 32;
/// Those of the sets that are not lazy that were pushed.
pub(super) const PUSHED_SETS: usize = 33;
/// Names that keep their previous set: 0 spares a search for one.
pub(super) const PREVIOUS_SETS: usize = 34;
/// The bucket where the next search for a previous set to drop starts.
pub(super) const PREVIOUS_HAND: usize = 35;
/// The unit of the block that is kept aside for replacements; 0 is none.
pub(super) const RESERVE: usize = 36;
/// One bit per bin that is not empty.
pub(super) const BIN_MAP: usize = 40;

/// Which directories the files of sets were last seen in, a number each; 0 is not known.
pub(super) const DIRECTORIES: usize = 44;
pub(super) const DIRECTORY_COUNT: usize = 16;

pub(super) const STRIPES: usize = 64;
pub(super) const STRIPE_COUNT: usize = 1024;

pub(super) const REPORTED: usize = STRIPES + STRIPE_COUNT;
pub(super) const REPORTED_COUNT: usize = 512;

/// The first eight are a cache line that is written at each handshake.
pub(super) const COUNTERS: usize = REPORTED + REPORTED_COUNT;
pub(super) const COUNTER_COUNT: usize = 40;

pub(super) const BINS: usize = COUNTERS + COUNTER_COUNT;
/// Bins of one size each, then four per power of two: see `bins::of_size`.
pub(super) const BIN_COUNT: usize = 32 + 4 * 27;

const TABLES: usize = BINS + BIN_COUNT;

/// The least region: what is left of a zone of 32 KiB, with room for a dozen sets.
const MIN_WORDS: usize = 24 * 1024 / 8;

const MIN_BUCKETS: usize = 16;

/// A bucket per so many words of arena at the least, twice as many at the most.
const WORDS_PER_BUCKET: usize = 128;

/// Name buckets that share the words of a group, a bit for each in some of them.
pub(super) const GROUP_BUCKETS: usize = 64;
pub(super) const GROUP_WORDS: usize = 3;

/// Words in a unit, the grain of the arena.
pub(super) const UNIT_WORDS: usize = 2;
/// Bytes in a unit.
pub(super) const UNIT_BYTES: u64 = 16;
/// The first unit's number: 0 stands for none.
pub(super) const FIRST_UNIT: u32 = 1;
/// The smallest block, so that a free one has room for its links.
pub(super) const MIN_UNITS: u32 = 2;

/// So many names in a bucket: more than there will be, and few enough to walk over.
const LONG_CHAIN: usize = 1 << 20;

/// Where the tables are that depend on the size of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) words: usize,
    /// A power of two.
    pub(super) buckets: usize,
    pub(super) heads: usize,
    pub(super) used: usize,
    /// A power of two.
    pub(super) blob_buckets: usize,
    pub(super) blobs: usize,
    pub(super) groups: usize,
    /// The word where unit 0 would be.
    pub(super) arena: usize,
    /// One past the last unit's number.
    pub(super) end: u32,
}

impl Geometry {
    /// The layout of a region of `words`; `None` when it is too small or larger than units can
    /// number (64 GiB).
    pub(super) fn of(words: usize) -> Option<Geometry> {
        if words < MIN_WORDS {
            return None;
        }

        let per_bucket = (words - TABLES) / WORDS_PER_BUCKET;
        let buckets = floor_power_of_two(per_bucket).max(MIN_BUCKETS);
        let blob_buckets = buckets / 4;
        let heads = TABLES;
        let used = heads + buckets;
        let blobs = used + buckets;
        let groups = blobs + blob_buckets;
        let first = Geometry::first_unit(buckets);
        let units = u32::try_from(words.checked_sub(first)? / UNIT_WORDS).ok()?;
        let end = units.checked_add(FIRST_UNIT)?;

        let arena = first - UNIT_WORDS * FIRST_UNIT as usize;
        Some(Geometry { words, buckets, heads, used, blob_buckets, blobs, groups, arena, end })
    }

    /// The word where the arena begins behind the tables for so many buckets.
    fn first_unit(buckets: usize) -> usize {
        let groups = GROUP_WORDS * buckets.div_ceil(GROUP_BUCKETS);
        (TABLES + 2 * buckets + buckets / 4 + groups).next_multiple_of(UNIT_WORDS)
    }

    /// The least region in words that has so many units, as any larger one has; `None` when there
    /// is none. Where the number of buckets doubles, the arena is smaller than just before.
    pub(super) fn least_words(units: u32) -> Option<usize> {
        let mut buckets = MIN_BUCKETS;
        loop {
            let step = TABLES + WORDS_PER_BUCKET * buckets;
            let from = if buckets == MIN_BUCKETS { MIN_WORDS } else { step };
            let next_step = step + WORDS_PER_BUCKET * buckets;
            let words = Geometry::first_unit(buckets) + UNIT_WORDS * units as usize;
            let words = words.max(from);

            let fits = |words| Geometry::of(words).map(|geometry| geometry.units() >= units);
            if words < next_step && fits(next_step).unwrap_or(true) {
                return fits(words)?.then_some(words);
            }
            Geometry::of(next_step)?;
            buckets *= 2;
        }
    }

    /// The number of the name bucket.
    #[inline]
    pub(super) fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.buckets - 1)
    }

    pub(super) fn group_count(&self) -> usize {
        self.buckets.div_ceil(GROUP_BUCKETS)
    }

    /// The word of the blob bucket.
    pub(super) fn blob_bucket(&self, digest: u64) -> usize {
        self.blobs + (digest as usize & (self.blob_buckets - 1))
    }

    pub(super) fn units(&self) -> u32 {
        self.end - FIRST_UNIT
    }

    /// A chain of more blocks than this is a circle. Many sets may serve the same name, so it can
    /// be long, but each of its blocks has its units.
    pub(super) fn longest_chain(&self) -> usize {
        (self.units() as usize).min(LONG_CHAIN)
    }
}

/// The number of the stripe: bits of the hash that pick no bucket in all but the largest zones.
#[inline]
pub(super) fn stripe(hash: u64) -> u16 {
    (hash >> 54) as u16
}

fn floor_power_of_two(n: usize) -> usize {
    n.checked_ilog2().map_or(0, |log| 1 << log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_do_not_overlap() {
        const { assert!(RESERVE < BIN_MAP && COUNTERS % 8 == 0) };
        assert!(BIN_MAP + BIN_COUNT.div_ceil(64) <= DIRECTORIES);
        const { assert!(DIRECTORIES + DIRECTORY_COUNT <= STRIPES) };
        assert_eq!(usize::from(stripe(u64::MAX)), STRIPE_COUNT - 1);

        for words in [MIN_WORDS, MIN_WORDS + 1, 3583, 3584, 1 << 17, 1 << 31] {
            let g = Geometry::of(words).unwrap();
            assert!(g.heads + g.buckets <= g.used && g.used + g.buckets <= g.blobs);
            assert!(g.blobs + g.blob_buckets <= g.groups);
            assert!(g.groups + g.group_count() * GROUP_WORDS <= g.arena + UNIT_WORDS);
            assert!(g.arena + UNIT_WORDS * g.end as usize <= words);
            assert!(g.arena + UNIT_WORDS * (g.end as usize + 1) > words);
            assert!(g.buckets.is_power_of_two() && g.blob_buckets.is_power_of_two());
        }
        assert_eq!(Geometry::of(MIN_WORDS - 1), None);
        assert_eq!(Geometry::of(usize::MAX), None);
    }
}
