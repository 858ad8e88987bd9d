//! What the chain of a bucket is made of: the blocks of names and of aliases, which begin alike.

use crate::ffi::atomic::Ordering;

use super::alias;
use super::name::{self, Name};
use super::word::{Kind, Link, halves, join};
use super::zone::{Open, Torn, Zone};

// Offsets in a block of either kind, after the header.
/// `[units of the block before: 32][bytes: 32]`
const LENGTH: usize = 1;
/// Link to the next block of the chain: the only word of these that changes while readers are there.
pub(super) const NEXT: usize = 2;
const HASH: usize = 3;
/// Where the words begin that are of one kind alone.
pub(super) const OWN: usize = 4;

/// More bytes than a server name can have.
pub(super) const MAX_NAME: usize = 255;

/// What a block said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) next: Link,
    pub(super) hash: u64,
    /// Whether its bytes are those that were looked for.
    pub(super) found: bool,
    pub(super) role: Role,
}

#[derive(Clone, Copy)]
pub(super) enum Role {
    Name(Name),
    Alias { owner: Link },
}

/// Reads the block that was linked to, compared with bytes that have this hash. All words of its
/// kind, and as many bytes as it says, are inside of it.
pub(super) fn read(zone: &Zone, link: Link, hash: u64, wanted: &[u8]) -> Result<Node, Torn> {
    let block = open(zone, link)?;
    let next = Link(zone.region.load(block.at + NEXT, Ordering::Acquire));
    let (at, len) = place_of_bytes(&block)?;
    let found = block.get(HASH) == hash && len == wanted.len() && zone.region.equals(at, wanted);
    let role = if block.is(Kind::Name) {
        Role::Name(name::read(&block))
    } else {
        Role::Alias { owner: alias::owner(&block) }
    };
    let node = Node { next, hash: block.get(HASH), found, role };
    block.close()?;
    Ok(node)
}

/// The bytes of the name or alias that was linked to.
pub(super) fn bytes(zone: &Zone, link: Link) -> Result<Vec<u8>, Torn> {
    let block = open(zone, link)?;
    let (at, len) = place_of_bytes(&block)?;
    let mut bytes = Vec::new();
    let whole = len <= MAX_NAME && zone.region.read_bytes(at, len, &mut bytes);
    block.close()?;
    if whole { Ok(bytes) } else { Err(Torn) }
}

fn open(zone: &Zone, link: Link) -> Result<Open, Torn> {
    zone.open_if(link, |kind| matches!(kind, Kind::Name | Kind::Alias))
}

/// Where the bytes of a block begin, and how many there are.
fn place_of_bytes(block: &Open) -> Result<(usize, usize), Torn> {
    let offset = if block.is(Kind::Name) { name::BYTES } else { alias::BYTES };
    let len = halves(block.get(LENGTH)).1 as usize;
    Ok((block.bytes(offset, len)?, len))
}

/// Fills what blocks of both kinds have, in a block that no reader has a link to; `offset` is where
/// the bytes belong in its kind.
pub(super) fn fill(zone: &Zone, unit: u32, offset: usize, bytes: &[u8], hash: u64) {
    let at = zone.at(unit);
    let (before, _) = halves(zone.get(at + LENGTH));
    zone.set(at + LENGTH, join(before, bytes.len() as u32));
    zone.set(at + HASH, hash);
    zone.region.write_bytes(at + offset, bytes);
}

/// The bucket whose chain a block of either kind is in, or will be.
pub(super) fn bucket(zone: &Zone, unit: u32) -> usize {
    zone.geometry.bucket(zone.get(zone.at(unit) + HASH))
}

/// Lets readers find a block that was filled, by one store: at the front of its bucket's chain.
/// Locked.
pub(super) fn enter(zone: &Zone, unit: u32, kind: Kind, hash: u64) -> Link {
    let head = zone.geometry.heads + zone.geometry.bucket(hash);
    zone.set(zone.at(unit) + NEXT, zone.get(head));
    let link = zone.go_live(unit, kind);
    zone.publish(head, link.0);
    link
}
