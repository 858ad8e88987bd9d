//! Tests of the store as a whole, and what they share.

mod basic;
mod control;
mod counted;
mod full;
mod garbage;
mod interleaved;
mod kill;
mod many;
mod model;
mod previous;
#[cfg(not(any(loom, shuttle)))]
mod processes;
#[cfg(any(loom, shuttle))]
mod scheduled;
mod secrets;
mod served;
mod size;
mod threads;
mod walk;

use std::sync::atomic::{AtomicBool, Ordering};

use super::check::check;
use super::*;
use crate::record::{KeyType, MemberRecord, Source};

/// What is left of a zone of 32 KiB.
const SMALL: usize = 28 * 1024;

struct TestLock(AtomicBool);

impl TestLock {
    fn new() -> TestLock {
        TestLock(AtomicBool::new(false))
    }
}

impl ZoneLock for TestLock {
    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    fn unlock(&self) {
        assert!(self.0.swap(false, Ordering::Release), "not locked");
    }
}

fn new_store(len: usize) -> (Region, Store) {
    let region = Region::on_heap(len);
    (region, Store::format(region).unwrap())
}

/// A part of a set whose every 8 bytes tell the generation, and what it is a part of.
fn part(generation: u32, tag: u8, len: usize) -> Vec<u8> {
    let [a, b, c, d] = generation.to_be_bytes();
    [0xc3, tag, 0x5a, tag, a, b, c, d].into_iter().cycle().take(len).collect()
}

/// A set with one member of a P-256 certificate's size. `chain` are generations of intermediates.
fn record(generation: u32, chain: &[u32]) -> Record {
    sized(generation, 500, 138, chain)
}

fn sized(generation: u32, leaf: usize, key: usize, chain: &[u32]) -> Record {
    let mut digest = [0; 16];
    digest[..4].copy_from_slice(&generation.to_be_bytes());
    Record {
        source: Source::Lazy,
        digest,
        not_before: i64::from(generation),
        not_after: -i64::from(generation),
        members: vec![MemberRecord {
            key_type: KeyType::Ec,
            not_before: i64::from(generation) + 1,
            not_after: i64::from(generation) + 2,
            leaf: part(generation, b'L', leaf),
            key: part(generation, b'K', key).into(),
            chain: chain.iter().map(|i| part(*i, b'I', 900)).collect(),
        }],
    }
}

/// As it is pushed.
fn pushed(record: Record) -> Record {
    Record { source: Source::Pushed, ..record }
}

/// A publication as most tests need it.
fn publication<'a>(
    name: &'a str,
    record: &'a Record,
    served: &'a [&'a str],
    ticket: u64,
) -> Publication<'a> {
    Publication {
        name,
        record,
        served,
        ticket,
        now_msec: ticket,
        stat: ticket + 1000,
        generation: ticket,
        seen: SEEN,
        previous: Previous::Drop,
        expects: Expects::Any,
        leaves_room: false,
    }
}

/// What the files of all sets hold.
const SEEN: u64 = 77;

/// As the master reads it at a start.
fn startup(record: Record) -> Record {
    Record { source: Source::Startup, ..record }
}

/// Two members, one of them large, with the same intermediate and each its own.
fn double(generation: u32) -> Record {
    let mut record = record(generation, &[7, generation]);
    let rsa = sized(generation, 1001, 1217, &[generation + 1, 7]).members.remove(0);
    record.members.insert(0, MemberRecord { key_type: KeyType::Rsa, ..rsa });
    record
}

/// Few words, so that a walk has few steps.
fn small(mut record: Record) -> Record {
    for member in &mut record.members {
        member.leaf.truncate(50);
        member.key.truncate(26);
        member.chain.iter_mut().for_each(|der| der.truncate(40));
    }
    record
}

impl Writer<'_> {
    fn test_publish(
        &mut self,
        name: &str,
        record: &Record,
        ticket: u64,
        now_msec: u64,
    ) -> Result<SetId, PublishError> {
        self.test_serve(name, record, &[], ticket, now_msec)
    }

    fn test_serve(
        &mut self,
        name: &str,
        record: &Record,
        served: &[&str],
        ticket: u64,
        now_msec: u64,
    ) -> Result<SetId, PublishError> {
        self.publish(&Publication { now_msec, ..publication(name, record, served, ticket) })
    }
}

/// What is known of a lazy set that `test_publish` published with a ticket, and of its id.
fn entry_of(id: SetId, ticket: u64, now_msec: u64) -> Entry {
    Entry {
        id,
        ticket,
        last_good: false,
        source: Source::Lazy,
        stat: ticket + 1000,
        looked_at: now_msec,
        seen: SEEN,
        failure: 0,
    }
}

impl Store {
    fn test_publish(&self, name: &str, record: &Record) -> Result<SetId, PublishError> {
        let ticket = self.next_ticket();
        let lock = TestLock::new();
        self.write(&lock).unwrap().test_publish(name, record, ticket, ticket)
    }

    /// Publishes a set that is not lazy.
    fn test_serve(
        &self,
        name: &str,
        record: Record,
        served: &[&str],
    ) -> Result<SetId, PublishError> {
        let ticket = self.next_ticket();
        let lock = TestLock::new();
        self.write(&lock).unwrap().test_serve(name, &startup(record), served, ticket, ticket)
    }

    /// Publishes a set that takes the place of one that is kept.
    fn test_keep(&self, name: &str, record: &Record) -> Result<SetId, PublishError> {
        let lock = TestLock::new();
        let publication = publication(name, record, &[], self.next_ticket());
        let mut writer = self.write(&lock).unwrap();
        writer.publish(&Publication { previous: Previous::Keep, ..publication })
    }

    /// The record of the previous set of a name, which has a set.
    fn test_previous(&self, name: &str) -> Option<Record> {
        match self.details(name) {
            Lookup::Found(details) => {
                assert_eq!(self.generation(name), Lookup::Found(details.generation));
                let (generation, record) = details.previous?;
                assert!(generation < details.generation);
                Some(record)
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    /// The names of the sets that serve it, sorted; panics when that cannot be said.
    fn test_serving(&self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = match self.serving(name) {
            Lookup::Found(serving) => serving.into_iter().map(|serving| serving.name).collect(),
            Lookup::Absent => Vec::new(),
            Lookup::Contended => panic!("{name}: contended"),
        };
        names.sort_unstable();
        names
    }

    fn test_remove(&self, name: &str) -> bool {
        self.write(&TestLock::new()).unwrap().remove(name)
    }

    /// The set of the name; panics unless it is found or absent.
    fn test_read(&self, name: &str) -> Option<Record> {
        match (self.read(name), self.find(name)) {
            (Lookup::Found((entry, record)), Lookup::Found(found)) => {
                assert_eq!(entry, found);
                Some(record)
            }
            (Lookup::Absent, Lookup::Absent) => None,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn test_entry(&self, name: &str) -> Entry {
        match self.find(name) {
            Lookup::Found(entry) => entry,
            other => panic!("{name}: {other:?}"),
        }
    }
}
