//! What the targets of fuzz/ call, in a build with `--cfg fuzzing` only: there is no NGINX in it.
//!
//! Each takes any bytes, and panics where something is not as it has to be.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::api::precondition::Precondition;
use crate::api::reply::Reply;
use crate::api::route::{Call, Method, route};
use crate::api::write::{Change, OnDisk, Refused, locked};
use crate::api::{Context, clear, media_type, metrics, show};
use crate::certificate::{CertificateSet, Parser, Passwords};
use crate::ffi::region::owned::Memory;
use crate::files::Files;
use crate::host::Host;
use crate::lookup::{Load, Resolver, Settings};
use crate::record::Source;
use crate::server_name::{NameBuffer, ServerName};
use crate::state;
use crate::store::{
    Expects, Lookup, Previous, Publication, PublishError, SetId, Store, Superseded, Writer,
    ZoneLock,
};

/// 2026-11-25.
const NOW: i64 = 1_795_600_000;

struct FuzzHost;

impl ZoneLock for FuzzHost {
    fn try_lock(&self) -> bool {
        true
    }

    fn unlock(&self) {}
}

impl Host for FuzzHost {
    fn monotonic_msec(&self) -> u64 {
        1_000
    }

    fn update_clock(&self) {}

    fn unix_seconds(&self) -> i64 {
        NOW
    }

    fn lock(&self) -> &dyn ZoneLock {
        self
    }

    fn accepts(&self, _set: &CertificateSet) -> Result<(), String> {
        Ok(())
    }

    fn accepts_by(&self) -> u64 {
        2
    }

    fn notice(&self, text: fmt::Arguments<'_>) {
        let _ = text.to_string();
    }

    fn warn(&self, text: fmt::Arguments<'_>) {
        let _ = text.to_string();
    }

    fn error(&self, text: fmt::Arguments<'_>) {
        let _ = text.to_string();
    }

    fn alert(&self, text: fmt::Arguments<'_>) {
        let _ = text.to_string();
    }
}

/// A server name, as a client sends it, and as an operator writes it.
pub fn server_name(bytes: &[u8]) {
    let client = ServerName::from_client(bytes);
    let buffer = NameBuffer::from_client(bytes);
    assert_eq!(client.is_some(), buffer.is_some());
    if let (Some(name), Some(buffer)) = (&client, &buffer) {
        assert_eq!(name.as_str().as_bytes(), buffer.as_bytes());
        assert_eq!(ServerName::from_client(name.as_str().as_bytes()).as_ref(), Some(name));
    }
    for name in client.into_iter().chain(ServerName::from_operator(bytes)) {
        is_path_component(name.as_str());
        let others = [name.wildcard(), name.parent()];
        for other in others.iter().flatten() {
            is_path_component(other.as_str());
        }
        let again = ServerName::from_operator(name.as_str().as_bytes());
        assert_eq!(again.as_ref(), Some(&name));
    }
}

fn is_path_component(name: &str) {
    assert!((1..=253).contains(&name.len()));
    assert!(!name.starts_with('.') && !name.contains("..") && !name.ends_with('.'));
    let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    assert!(name.bytes().all(is_plain), "{name}");
}

/// The body of a push.
pub fn bundle(bytes: &[u8]) {
    let mut parser = Parser::new();
    match CertificateSet::from_bundle(bytes, &mut parser) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(set) => {
            let Ok(record) = set.to_record(Source::Pushed, [7; 16]) else { return };
            let again = CertificateSet::from_record(&record, &mut parser);
            assert!(again.is_ok_and(|again| again.is_same_as(&set)));
        }
    }
    assert_eq!(openssl::error::ErrorStack::get().errors().len(), 0, "OpenSSL's queue is empty");
}

/// What a file of the state directory may hold.
pub fn state_entry(bytes: &[u8]) {
    state::fuzz_entry(bytes);
}

/// Requests, one after another, to a zone: each is a line of the method, the path, the query, and the
/// headers that count, then a body that ends with a line of a dot.
pub fn api(bytes: &[u8]) {
    let mut memory = Memory::new(128 << 10);
    let Ok(store) = Store::format(memory.region()) else { return };
    let settings = Rc::new(Settings {
        load: Load::Off,
        files: Files::new(Vec::new(), Passwords::default()),
        valid_msec: None,
        worker_cache: 10,
        keeps_previous: Cell::new(true),
    });
    let mut resolver = Resolver::new(store, store.next_configuration(), Rc::clone(&settings));
    for request in requests(bytes).take(12) {
        let mut context = Context {
            zone: "certs",
            store,
            settings: &settings,
            resolver: &mut resolver,
            host: &FuzzHost,
        };
        let _ = answer(&request, &mut context);
    }
    for (name, _) in store.names() {
        assert!(ServerName::from_operator(name.as_bytes()).is_some(), "{name}");
        assert!(matches!(store.details(&name), Lookup::Found(_)));
    }
}

struct Request<'a> {
    line: &'a [u8],
    body: &'a [u8],
}

fn requests(bytes: &[u8]) -> impl Iterator<Item = Request<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = cut(rest, b"\n");
        let (body, next) = cut(after, b"\n.\n");
        rest = next;
        Some(Request { line, body })
    })
}

fn cut<'a>(bytes: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(at.len()).position(|window| window == at) {
        Some(i) => (&bytes[..i], &bytes[i + at.len()..]),
        None => (bytes, &[]),
    }
}

/// The status.
fn answer(request: &Request<'_>, context: &mut Context<'_>) -> Option<u16> {
    let mut fields = request.line.split(|b| *b == b' ');
    let method = match fields.next()? {
        b"GET" => Method::Get,
        b"PUT" => Method::Put,
        b"POST" => Method::Post,
        b"DELETE" => Method::Delete,
        _ => Method::Other,
    };
    let (path, query) = (fields.next()?, fields.next().unwrap_or_default());
    let if_match = fields.next().filter(|value| !value.is_empty());
    let if_none_match = fields.next().filter(|value| !value.is_empty());
    let content_type = fields.next().filter(|value| !value.is_empty());
    let reply = (|| {
        let call = route(method, path, query)?;
        media_type::check(content_type, None)?;
        let precondition = Precondition::parse(if_match, if_none_match)?;
        let change = match &call {
            Call::Zone => return Ok(show::zone(context)),
            Call::Metrics { names } => return Ok(metrics::metrics(*names, context)),
            Call::List { limit, after } => return Ok(show::list(*limit, after.as_ref(), context)),
            Call::Show { name } => return Ok(show::set(name, context)),
            Call::Clear { .. } => return Ok(clear::all("certs", &context.store)),
            Call::Put { name, options } => {
                Change::put(name.clone(), precondition, *options, request.body, context)?
            }
            Call::Delete { name } => Change::delete(name.clone(), precondition),
            Call::Rollback { name, force } => Change::rollback(name.clone(), precondition, *force),
            Call::DropPrevious { name } => Change::drop_previous(name.clone(), precondition),
        };
        change.answer(context)
    })();
    let reply = reply.unwrap_or_else(|refusal| refusal);
    assert!((200..600).contains(&reply.status));
    if reply.content_type.contains("json") {
        assert!(serde_json::from_str::<serde_json::Value>(&reply.body).is_ok());
    }
    assert!(!reply.body.contains("PRIVATE KEY"));
    Some(reply.status)
}

impl Change {
    fn answer(&self, context: &mut Context<'_>) -> Result<Reply, Reply> {
        let on_disk = OnDisk { is_kept: false, entry: None };
        let prepared = match self.prepare(on_disk, context) {
            Ok(prepared) => prepared,
            Err(refused) => return Err(refusal(refused)),
        };
        prepared.commit(context).map_err(refusal)
    }
}

fn refusal(refused: Refused) -> Reply {
    match refused {
        Refused::With(reply) => reply,
        Refused::Busy | Refused::Changed => locked(),
    }
}

/// The bytes of a zone: whatever they are, it is refused, or works and is repaired. The first byte says
/// whether the others are the zone's, or changes of one that holds some sets.
pub fn zone(bytes: &[u8]) {
    const BYTES: usize = 48 << 10;
    let mut memory = Memory::new(BYTES);
    let Some((kind, rest)) = bytes.split_first() else { return };
    if kind % 2 == 0 {
        fill(&mut memory);
        for change in rest.chunks_exact(10) {
            let (place, value) = change.split_at(2);
            let place = usize::from(u16::from_le_bytes([place[0], place[1]]));
            let mut word = [0; 8];
            word.copy_from_slice(value);
            let count = memory.words.len();
            memory.words[place % count] = u64::from_le_bytes(word);
        }
    } else {
        let mut head = Memory::new(BYTES);
        let _ = Store::format(head.region());
        memory.words.copy_from_slice(&head.words);
        for (word, chunk) in memory.words.iter_mut().skip(5).zip(rest.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            *word = u64::from_le_bytes(bytes);
        }
    }
    let Ok(store) = Store::attach(memory.region()) else { return };
    // A zone that another one replaced takes no writes, which is not what is tried here.
    store.set_superseded(Superseded::No);
    look(&store);
    if let Some(mut writer) = store.write(&FuzzHost) {
        let _ = publish(&mut writer, "new.test", 9, Source::Pushed);
        writer.remove("a.test");
        writer.drop_previous("b.test");
        writer.remove_lazy();
        let _ = publish(&mut writer, "new.test", 10, Source::Pushed);
    }
    look(&store);
    // Whatever there was, the store takes a set now, unless it is full of what made sense.
    let mut writer = store.write(&FuzzHost).expect("nobody else writes");
    let published = publish(&mut writer, "last.test", u64::MAX >> 2, Source::Pushed);
    assert!(matches!(published, Ok(_) | Err(PublishError::Full { .. })), "{published:?}");
    drop(writer);
    look(&store);
    assert!(published.is_err() || matches!(store.read("last.test"), Lookup::Found(_)));
}

fn fill(memory: &mut Memory) {
    let Ok(store) = Store::format(memory.region()) else { return };
    let Some(mut writer) = store.write(&FuzzHost) else { return };
    for generation in 1..4 {
        let _ = publish(&mut writer, "a.test", generation, Source::Pushed);
        let _ = publish(&mut writer, "b.test", generation, Source::Startup);
        let _ = publish(&mut writer, "c.test", generation, Source::Lazy);
    }
}

fn publish(
    writer: &mut Writer<'_>,
    name: &str,
    generation: u64,
    source: Source,
) -> Result<SetId, PublishError> {
    use crate::record::{KeyType, MemberRecord, Record};

    let bytes = |count: usize| vec![generation as u8; count];
    let member = MemberRecord {
        key_type: KeyType::Ec,
        not_before: 1,
        not_after: NOW,
        leaf: bytes(300),
        key: bytes(100).into(),
        chain: vec![vec![7; 200], bytes(50)],
    };
    let record =
        Record { source, digest: [1; 16], not_before: 1, not_after: NOW, members: vec![member] };
    let publication = Publication {
        name,
        record: &record,
        served: &["www.test", "both.test"],
        ticket: generation,
        now_msec: generation,
        stat: 0,
        generation,
        seen: 0,
        previous: Previous::Keep,
        expects: Expects::Any,
        leaves_room: source == Source::Pushed,
    };
    writer.publish(&publication)
}

fn look(store: &Store) {
    for name in ["a.test", "b.test", "c.test", "www.test", "new.test", "none.test"] {
        let _ = (store.find(name), store.read(name), store.generation(name), store.details(name));
        let _ = (store.serving(name), store.stamp(name));
        store.touch(name, 77);
    }
    let _ = (store.names().len(), store.export().len(), store.stats(), store.capacity());
    let _ = store.page(None, 10);
    store.survey(&mut |_| {});
}
