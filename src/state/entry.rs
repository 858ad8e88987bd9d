//! A set as the bytes of its file.
//!
//! All numbers are 8 bytes, little-endian; a byte string has its length before it.
//!
//! | bytes | |
//! |---|---|
//! | 8 | magic |
//! | 8 | version |
//! | 8 | length of the file |
//! | 8 | generation |
//! | 8 | the first bytes of the SHA-256 over these |
//! | … | name, seen, the current record, 1 and number and record of the previous, or 0 |
//! | 32 | SHA-256 over all of that |
//!
//! The header has a sum of its own: the generation is asked for alone, and one that is wrong would
//! refuse each push that follows.

use std::fmt;

use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::{Generation, StateEntry};
use crate::record::{KeyType, MemberRecord, Record, Source};
use crate::server_name::ServerName;

const MAGIC: [u8; 8] = *b"rscstate";
const VERSION: u64 = 1;

/// Two sets of the largest body that the API takes fit.
pub(super) const MAX_SIZE: usize = 1024 * 1024;

pub(super) const HEADER_SIZE: usize = 40;
const HEADER_SUM_SIZE: usize = 8;
const SUM_SIZE: usize = 32;

/// What the source of a set is that comes from disk; it is not written down.
const RESTORED: Source = Source::Pushed;

/// Why bytes are no entry. The text never has a byte of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryError {
    Foreign,
    Version(u64),
    Torn,
    TooLarge,
    BadName,
    OtherName,
    /// The sums are right, and yet.
    Malformed,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::Foreign => f.write_str("not an entry of a state directory"),
            EntryError::Version(version) => {
                write!(f, "entry is of version {version}, this module reads {VERSION}")
            }
            EntryError::Torn => f.write_str("entry is incomplete or damaged"),
            EntryError::TooLarge => write!(f, "entry is larger than {}k", MAX_SIZE / 1024),
            EntryError::BadName => f.write_str("name in the entry is no server name"),
            EntryError::OtherName => f.write_str("entry is that of another name"),
            EntryError::Malformed => f.write_str("entry is malformed"),
        }
    }
}

/// The bytes of an entry, in a buffer that never moved: it has keys.
pub(super) fn encode(entry: &StateEntry) -> Zeroizing<Vec<u8>> {
    let mut content = Counter(0);
    put_content(&mut content, entry);
    let length = HEADER_SIZE + content.0 + SUM_SIZE;

    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    bytes.bytes(&MAGIC);
    bytes.number(VERSION);
    bytes.number(length as u64);
    bytes.number(entry.current.number);
    let header_sum = header_sum(&bytes);
    bytes.bytes(&header_sum);
    put_content(&mut *bytes, entry);
    let sum = sha256(&bytes);
    bytes.bytes(&sum);
    bytes
}

/// The entry in the bytes of a whole file.
pub(super) fn decode(bytes: &[u8]) -> Result<StateEntry, EntryError> {
    if bytes.len() > MAX_SIZE {
        return Err(EntryError::TooLarge);
    }
    let header = Header::decode(bytes)?;
    let (summed, sum) = bytes.split_last_chunk::<SUM_SIZE>().ok_or(EntryError::Torn)?;
    if header.length != bytes.len() as u64 || sha256(summed) != *sum {
        return Err(EntryError::Torn);
    }
    let mut content = Reader(summed.get(HEADER_SIZE..).ok_or(EntryError::Torn)?);
    let entry = take_content(&mut content, header.generation)?;
    if content.0.is_empty() { Ok(entry) } else { Err(EntryError::Malformed) }
}

/// The content of an entry with what belongs around it.
#[cfg(fuzzing)]
pub(super) fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.number(VERSION);
    bytes.number((HEADER_SIZE + content.len() + SUM_SIZE) as u64);
    bytes.number(7);
    let sum = header_sum(&bytes);
    bytes.bytes(&sum);
    bytes.bytes(content);
    let sum = sha256(&bytes);
    bytes.bytes(&sum);
    bytes
}

/// What the first bytes of a file say.
pub(super) struct Header {
    length: u64,
    pub(super) generation: u64,
}

impl Header {
    /// From the whole file or its first `HEADER_SIZE` bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Header, EntryError> {
        let magic = bytes.get(..MAGIC.len().min(bytes.len())).unwrap_or_default();
        if !MAGIC.starts_with(magic) {
            return Err(EntryError::Foreign);
        }
        let header = bytes.get(..HEADER_SIZE).ok_or(EntryError::Torn)?;
        let (summed, sum) = header.split_last_chunk().ok_or(EntryError::Torn)?;
        let mut reader = Reader(summed.get(MAGIC.len()..).ok_or(EntryError::Torn)?);
        let version = reader.number()?;
        if version != VERSION {
            return Err(EntryError::Version(version));
        }
        if header_sum(summed) != *sum {
            return Err(EntryError::Torn);
        }
        Ok(Header { length: reader.number()?, generation: reader.number()? })
    }
}

fn header_sum(bytes: &[u8]) -> [u8; HEADER_SUM_SIZE] {
    sha256(bytes).first_chunk().copied().unwrap_or_default()
}

// The two sides of each part, one below the other.

fn put_content(sink: &mut impl Sink, entry: &StateEntry) {
    sink.sized(entry.name.as_str().as_bytes());
    sink.number(entry.seen);
    put_record(sink, &entry.current.record);
    match &entry.previous {
        None => sink.number(0),
        Some(previous) => {
            sink.number(1);
            sink.number(previous.number);
            put_record(sink, &previous.record);
        }
    }
}

fn take_content(reader: &mut Reader<'_>, generation: u64) -> Result<StateEntry, EntryError> {
    let written = reader.sized()?;
    let name = ServerName::from_operator(written).ok_or(EntryError::BadName)?;
    if name.as_str().as_bytes() != written {
        return Err(EntryError::BadName);
    }
    Ok(StateEntry {
        name,
        seen: reader.number()?,
        current: Generation { number: generation, record: take_record(reader)? },
        previous: match reader.number()? {
            0 => None,
            1 => Some(Generation { number: reader.number()?, record: take_record(reader)? }),
            _ => return Err(EntryError::Malformed),
        },
    })
}

fn put_record(sink: &mut impl Sink, record: &Record) {
    sink.bytes(&record.digest);
    sink.time(record.not_before);
    sink.time(record.not_after);
    sink.number(record.members.len() as u64);
    record.members.iter().for_each(|member| put_member(sink, member));
}

fn take_record(reader: &mut Reader<'_>) -> Result<Record, EntryError> {
    Ok(Record {
        source: RESTORED,
        digest: reader.array()?,
        not_before: reader.time()?,
        not_after: reader.time()?,
        members: {
            let count = reader.number()?;
            if count == 0 || count > KeyType::COUNT as u64 {
                return Err(EntryError::Malformed);
            }
            (0..count).map(|_| take_member(reader)).collect::<Result<_, _>>()?
        },
    })
}

fn put_member(sink: &mut impl Sink, member: &MemberRecord) {
    sink.number(member.key_type as u64);
    sink.time(member.not_before);
    sink.time(member.not_after);
    sink.sized(&member.leaf);
    sink.sized(&member.key);
    sink.number(member.chain.len() as u64);
    member.chain.iter().for_each(|certificate| sink.sized(certificate));
}

fn take_member(reader: &mut Reader<'_>) -> Result<MemberRecord, EntryError> {
    let key_type = u8::try_from(reader.number()?).ok().and_then(KeyType::from_u8);
    Ok(MemberRecord {
        key_type: key_type.ok_or(EntryError::Malformed)?,
        not_before: reader.time()?,
        not_after: reader.time()?,
        leaf: reader.sized()?.to_vec(),
        key: Zeroizing::new(reader.sized()?.to_vec()),
        chain: {
            let count = reader.number()?;
            // Each takes bytes, so that no count is believed for longer than there are some.
            (0..count).map(|_| reader.sized().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?
        },
    })
}

/// What bytes are put into.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn time(&mut self, time: i64) {
        self.bytes(&time.to_le_bytes());
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }
}

/// Of which the room is known.
impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

struct Counter(usize);

impl Sink for Counter {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// The bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(EntryError::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<i64, EntryError> {
        self.array().map(i64::from_le_bytes)
    }

    fn sized(&mut self) -> Result<&'a [u8], EntryError> {
        let length = usize::try_from(self.number()?).map_err(|_| EntryError::Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(EntryError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
