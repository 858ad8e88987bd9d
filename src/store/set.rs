//! The block of a set: what is its own as bytes, its intermediates as links to blobs.
//!
//! Never changed after it was published; another set of the name is another block.

use zeroize::Zeroizing;

use super::layout::{UNIT_BYTES, UNIT_WORDS};
use super::word::{Kind, Link, halves, join};
use super::zone::{Open, Torn, Zone};
use super::{Validity, blob};
use crate::record::{KeyType, MemberRecord, Record, Source};

// Offsets in the block, after the header.
/// `[units of the block before: 32][unit of the name that has it: 32]`, for writers.
const OWNER: usize = 1;
const NOT_BEFORE: usize = 2;
const NOT_AFTER: usize = 3;
const DIGEST: usize = 4;
/// The number of the publication: see `Publication::generation`.
const GENERATION: usize = 6;
/// `[source: 32][members: 32]`
const SHAPE: usize = 7;
/// Three words per member, `[key type: 8][chain: 8][leaf bytes: 24][key bytes: 24]`, its notBefore
/// and its notAfter; then a link per intermediate; then leaf and key of each member, each from the
/// start of a word on.
const MEMBERS: usize = 8;
const MEMBER_WORDS: usize = 3;

const LENGTH_MASK: usize = (1 << 24) - 1;
const CHAIN_MASK: usize = (1 << 8) - 1;

/// The units of the block of a record; `None` when it has more of something than can be counted
/// there.
pub(super) fn units_of(record: &Record) -> Option<u32> {
    let mut words = MEMBERS + MEMBER_WORDS * record.members.len();
    for member in &record.members {
        let (leaf, key, chain) = (member.leaf.len(), member.key.len(), member.chain.len());
        if leaf > LENGTH_MASK || key > LENGTH_MASK || chain > CHAIN_MASK {
            return None;
        }
        words += chain + leaf.div_ceil(8) + key.div_ceil(8);
    }
    let counted = record.members.len() <= KeyType::COUNT;
    counted.then_some(words.div_ceil(UNIT_WORDS) as u32)
}

/// By how much more than it needs the block of a pushed set is larger, bytes: serial numbers and
/// signatures are of no fixed length, and the next set of the name is to fit where this one was.
const SLACK: u64 = 64;

/// The units of the block that is allocated for a record where there is a choice.
pub(super) fn room_of(record: &Record) -> Option<u32> {
    let slack = if record.source == Source::Pushed { SLACK } else { 0 };
    units_of(record)?.checked_add((slack / UNIT_BYTES) as u32)
}

/// Fills a block that no reader has a link to. `links` are those of all chains, one after another.
pub(super) fn fill(
    zone: &Zone,
    unit: u32,
    record: &Record,
    generation: u64,
    links: &[Link],
    owner: u32,
) {
    let at = zone.at(unit);
    set_owner(zone, unit, owner);
    zone.set(at + NOT_BEFORE, record.not_before as u64);
    zone.set(at + NOT_AFTER, record.not_after as u64);
    zone.region.write_bytes(at + DIGEST, &record.digest);
    zone.set(at + GENERATION, generation);
    zone.set(at + SHAPE, join(record.source as u32, record.members.len() as u32));

    let mut next = at + MEMBERS;
    for member in &record.members {
        let counts = (member.key_type as u64) << 56 | (member.chain.len() as u64) << 48;
        zone.set(next, counts | (member.leaf.len() as u64) << 24 | member.key.len() as u64);
        zone.set(next + 1, member.not_before as u64);
        zone.set(next + 2, member.not_after as u64);
        next += MEMBER_WORDS;
    }
    for link in links {
        zone.set(next, link.0);
        next += 1;
    }
    for bytes in record.members.iter().flat_map(|m| [&m.leaf, &*m.key]) {
        zone.region.write_bytes(next, bytes);
        next += bytes.len().div_ceil(8);
    }
}

/// Notes which name has the set.
pub(super) fn set_owner(zone: &Zone, unit: u32, owner: u32) {
    let (before, _) = halves(zone.get(zone.at(unit) + OWNER));
    zone.set(zone.at(unit) + OWNER, join(before, owner));
}

/// Which name has the set.
pub(super) fn owner(zone: &Zone, unit: u32) -> u32 {
    halves(zone.get(zone.at(unit) + OWNER)).1
}

/// A member as its word says.
#[derive(Clone, Copy)]
struct Member {
    key_type: KeyType,
    not_before: i64,
    not_after: i64,
    chain: usize,
    leaf: usize,
    key: usize,
}

impl Member {
    fn read(block: &Open, offset: usize) -> Result<Member, Torn> {
        let word = block.get(offset);
        let word_ = word as usize;
        Ok(Member {
            key_type: KeyType::from_u8((word >> 56) as u8).ok_or(Torn)?,
            not_before: block.get(offset + 1) as i64,
            not_after: block.get(offset + 2) as i64,
            chain: word_ >> 48 & CHAIN_MASK,
            leaf: word_ >> 24 & LENGTH_MASK,
            key: word_ & LENGTH_MASK,
        })
    }
}

/// Where the parts of a set are, checked to be inside of its block. Read from a block that may
/// change: of use only after `Open::close`, or under the lock.
pub(super) struct Shape {
    pub(super) source: Source,
    members: Vec<Member>,
    /// Offsets of the first link, and of the first leaf.
    links: usize,
    bodies: usize,
}

impl Shape {
    pub(super) fn read(block: &Open) -> Result<Shape, Torn> {
        let (source, count) = halves(block.get(SHAPE));
        let source = u8::try_from(source).ok().and_then(Source::from_u8).ok_or(Torn)?;
        let count = count as usize;
        if count > KeyType::COUNT {
            return Err(Torn);
        }

        let members: Vec<Member> = (0..count)
            .map(|i| Member::read(block, MEMBERS + MEMBER_WORDS * i))
            .collect::<Result<_, Torn>>()?;
        let links = MEMBERS + MEMBER_WORDS * count;
        let bodies = links + members.iter().map(|m| m.chain).sum::<usize>();
        let body_words = |m: &Member| m.leaf.div_ceil(8) + m.key.div_ceil(8);
        let end = bodies + members.iter().map(body_words).sum::<usize>();
        if end > block.words {
            return Err(Torn);
        }
        Ok(Shape { source, members, links, bodies })
    }

    /// The links of all chains, one after another.
    pub(super) fn links(&self, block: &Open) -> Vec<Link> {
        (self.links..self.bodies).map(|i| Link(block.get(i))).collect()
    }

    fn bodies(&self, block: &Open) -> Result<Vec<MemberRecord>, Torn> {
        let mut members = Vec::with_capacity(self.members.len());
        let mut offset = self.bodies;
        for member in &self.members {
            let mut leaf = Vec::new();
            copy(block, offset, member.leaf, &mut leaf)?;
            offset += member.leaf.div_ceil(8);

            // Of its full size before the first byte is in: growing would leave a copy behind.
            let mut key = Zeroizing::new(Vec::with_capacity(member.key));
            copy(block, offset, member.key, &mut key)?;
            offset += member.key.div_ceil(8);
            let Member { key_type, not_before, not_after, .. } = *member;
            let chain = Vec::new();
            members.push(MemberRecord { key_type, not_before, not_after, leaf, key, chain });
        }
        Ok(members)
    }
}

fn copy(block: &Open, offset: usize, len: usize, out: &mut Vec<u8>) -> Result<(), Torn> {
    let at = block.bytes(offset, len)?;
    if block.zone.region.read_bytes(at, len, out) { Ok(()) } else { Err(Torn) }
}

/// The latest notBefore and the latest notAfter of the set that was linked to.
pub(super) fn span(zone: &Zone, link: Link) -> Result<(i64, i64), Torn> {
    let block = zone.open(link, Kind::Set)?;
    let span = (block.get(NOT_BEFORE) as i64, block.get(NOT_AFTER) as i64);
    block.close()?;
    Ok(span)
}

/// The generation of the set that was linked to.
pub(super) fn generation(zone: &Zone, link: Link) -> Result<u64, Torn> {
    let block = zone.open(link, Kind::Set)?;
    let generation = block.get(GENERATION);
    block.close()?;
    Ok(generation)
}

/// Of each member of the set that was linked to, from when to when it is valid.
pub(super) fn validity(zone: &Zone, link: Link) -> Result<Vec<Validity>, Torn> {
    let block = zone.open(link, Kind::Set)?;
    let shape = Shape::read(&block)?;
    block.close()?;
    let validity = |m: &Member| Validity {
        key_type: m.key_type,
        not_before: m.not_before,
        not_after: m.not_after,
    };
    Ok(shape.members.iter().map(validity).collect())
}

/// A consistent copy of the set that was linked to.
pub(super) fn read(zone: &Zone, link: Link) -> Result<Record, Torn> {
    let block = zone.open(link, Kind::Set)?;
    let shape = Shape::read(&block)?;
    let mut digest = Vec::new();
    copy(&block, DIGEST, 16, &mut digest)?;
    let mut record = Record {
        source: shape.source,
        digest: digest.try_into().map_err(|_| Torn)?,
        not_before: block.get(NOT_BEFORE) as i64,
        not_after: block.get(NOT_AFTER) as i64,
        members: shape.bodies(&block)?,
    };
    let links = shape.links(&block);
    block.close()?;

    // Blobs are freed after the last set that links to them, and a blob's content never changes
    // under one generation: those that are still there are this set's.
    let mut links = links.into_iter();
    for (member, shape) in record.members.iter_mut().zip(&shape.members) {
        for link in links.by_ref().take(shape.chain) {
            member.chain.push(blob::read(zone, link)?);
        }
    }
    Ok(record)
}
