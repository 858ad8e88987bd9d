//! The two words with parts: a block's header, and a link to a block.
//!
//! Both carry the block's generation, a number that the block was given when its space was
//! allocated and that no other block has, so a link that outlived its block is noticed.

use crate::record::Source;

const GENERATION_BITS: u32 = 28;

/// The bits of a generation. 0 is none.
pub(super) const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// What a block is. 0 is no kind: zeroed bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Space to allocate. Holds no byte of any certificate or key.
    Free = 1,
    /// Not for readers: being filled, or being wiped.
    Building = 2,
    Name = 3,
    Set = 4,
    Blob = 5,
    Alias = 6,
}

/// The first word of a block: `[generation: 28][units: 32][kind: 4]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(pub(super) u64);

impl Header {
    pub(super) fn new(kind: Kind, units: u32, generation: u64) -> Header {
        Header(generation << 36 | u64::from(units) << 4 | kind as u64)
    }

    /// `None` when the word is no header.
    pub(super) fn kind(self) -> Option<Kind> {
        match self.0 & 0xf {
            1 => Some(Kind::Free),
            2 => Some(Kind::Building),
            3 => Some(Kind::Name),
            4 => Some(Kind::Set),
            5 => Some(Kind::Blob),
            6 => Some(Kind::Alias),
            _ => None,
        }
    }

    pub(super) fn is(self, kind: Kind) -> bool {
        self.kind() == Some(kind)
    }

    /// The size of the block with its header, in units of 16 bytes.
    pub(super) fn units(self) -> u32 {
        (self.0 >> 4) as u32
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> 36
    }

    /// The same block as another kind.
    pub(super) fn with_kind(self, kind: Kind) -> Header {
        Header(self.0 & !0xf | kind as u64)
    }
}

/// Where a block is, and which: `[generation: 28][unit: 32][flags: 4]`. All zero: none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

impl Link {
    pub(super) const NONE: Link = Link(0);

    /// On a name's link to its set: serves only because what came after it is bad or gone.
    pub(super) const LAST_GOOD: u64 = 1;
    /// On a name's link to its set: the set was loaded lazily and may be evicted.
    pub(super) const LAZY: u64 = 2;
    /// On a name's link to its set: the set was pushed. Neither: it was read at a start.
    pub(super) const PUSHED: u64 = 4;

    pub(super) fn new(unit: u32, generation: u64) -> Link {
        Link(generation << 36 | u64::from(unit) << 4)
    }

    pub(super) fn is_none(self) -> bool {
        self.unit() == 0
    }

    /// The block's first unit; 0 is none.
    pub(super) fn unit(self) -> u32 {
        (self.0 >> 4) as u32
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> 36
    }

    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn with(self, flag: u64, on: bool) -> Link {
        Link(if on { self.0 | flag } else { self.0 & !flag })
    }

    /// With the flags that tell where the set came from.
    pub(super) fn with_source(self, source: Source) -> Link {
        self.with(Link::LAZY, source == Source::Lazy).with(Link::PUSHED, source == Source::Pushed)
    }

    /// Where the set came from, by the flags.
    pub(super) fn source(self) -> Source {
        if self.has(Link::LAZY) {
            Source::Lazy
        } else if self.has(Link::PUSHED) {
            Source::Pushed
        } else {
            Source::Startup
        }
    }

    /// The block alone.
    pub(super) fn without_flags(self) -> Link {
        Link(self.0 & !0xf)
    }
}

/// Two halves of a word.
pub(super) fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// A word of two halves.
pub(super) fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let header = Header::new(Kind::Set, u32::MAX, GENERATION_MASK);
        assert_eq!(header.0, 0xffff_ffff_ffff_fff4);
        assert_eq!((header.units(), header.generation()), (u32::MAX, GENERATION_MASK));
        assert!(header.with_kind(Kind::Building).is(Kind::Building));
        assert_eq!(header.with_kind(Kind::Building).units(), u32::MAX);
        assert_eq!(Header(0).kind(), None);

        let link = Link::new(77, 5).with(Link::LAZY, true).with(Link::LAST_GOOD, true);
        assert_eq!((link.unit(), link.generation()), (77, 5));
        assert!(link.has(Link::LAZY) && !link.with(Link::LAST_GOOD, false).has(Link::LAST_GOOD));
        assert!(link.without_flags() == Link::new(77, 5));
        for source in [Source::Lazy, Source::Startup, Source::Pushed] {
            assert_eq!(link.with_source(source).source(), source);
            assert!(link.with_source(source).has(Link::LAST_GOOD));
        }
        assert_eq!(halves(join(3, 4)), (3, 4));
    }
}
