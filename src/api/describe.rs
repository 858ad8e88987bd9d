//! Sets as JSON; nothing of their keys.

use std::fmt::Write;

use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::certificate::server_names_of;
use crate::failure::Failure;
use crate::precedence::in_order;
use crate::record::{KeyType, MemberRecord, Record, Source};
use crate::server_name::ServerName;
use crate::store::{Details, Lookup, Serving, Store};

/// What a set is and what it serves.
pub(super) fn set(name: &str, details: &Details, store: &Store, now: i64) -> Value {
    let record = &details.record;
    let (serves, shadowed) = serves(name, record, store, now);
    json!({
        "name": name,
        "generation": details.generation,
        "source": source(record.source),
        "serves": serves,
        "shadowed": shadowed,
        "not_before": record.not_before,
        "not_after": record.not_after,
        "certificates": certificates(record),
        "last_error": last_error(details.entry.failure),
        "previous": details.previous.as_ref().map(|(generation, record)| json!({
            "generation": generation,
            "not_before": record.not_before,
            "not_after": record.not_after,
            "certificates": certificates(record),
        })),
    })
}

/// What a push that is only checked would make.
pub(super) fn dry_run(
    name: &str,
    record: &Record,
    present: Option<u64>,
    lost: Vec<Value>,
    lost_key_types: &[KeyType],
) -> Value {
    json!({
        "name": name,
        "dry_run": true,
        "present_generation": present,
        "covers": server_names_of(record).iter().map(shown).collect::<Vec<_>>(),
        "no_longer_served": lost,
        "lost_key_types": labels(lost_key_types),
        "not_before": record.not_before,
        "not_after": record.not_after,
        "certificates": certificates(record),
    })
}

/// Why the last change of a set failed.
fn last_error(failure: u64) -> Option<Value> {
    let Failure { reason, since } = Failure::from_word(failure)?;
    Some(json!({ "reason": reason.label(), "detail": reason.sentence(), "since": since }))
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Lazy => "lazy",
        Source::Startup => "startup",
        Source::Pushed => "pushed",
    }
}

fn certificates(record: &Record) -> Vec<Value> {
    record.members.iter().map(certificate).collect()
}

fn certificate(member: &MemberRecord) -> Value {
    json!({
        "key_type": member.key_type.as_str(),
        "fingerprint": hex(&sha256(&member.leaf)),
        "not_before": member.not_before,
        "not_after": member.not_after,
        "chain": member.chain.len(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The names that a set serves, and those that it would serve if another did not.
pub(super) fn serves(
    name: &str,
    record: &Record,
    store: &Store,
    now: i64,
) -> (Vec<String>, Vec<Value>) {
    let (mut serves, mut shadowed) = (Vec::new(), Vec::new());
    let Some(own) = ServerName::from_operator(name.as_bytes()) else { return (serves, shadowed) };
    for covered in server_names_of(record) {
        if record.source == Source::Lazy && !is_read_for(&own, &covered) {
            continue;
        }
        let is_good = |set: &Serving| set.name == name || is_good_for(set, &covered, store);
        match first_choice(&covered, is_good, store, now) {
            Some(other) if other != name => {
                shadowed.push(json!({ "name": shown(&covered), "by": other }));
            }
            _ => serves.push(shown(&covered)),
        }
    }
    (serves, shadowed)
}

/// Whether the files of NAME are a candidate for a name.
fn is_read_for(own: &ServerName, name: &ServerName) -> bool {
    let is_own = |candidate: Option<ServerName>| candidate.as_ref() == Some(own);
    name == own || is_own(name.wildcard()) || is_own(name.parent())
}

/// The set that is not lazy and serves a name, of those that are good for it.
fn first_choice(
    name: &ServerName,
    is_good: impl Fn(&Serving) -> bool,
    store: &Store,
    now: i64,
) -> Option<String> {
    let mut sets = in_order(store, name, name.wildcard().as_ref())?;
    sets.retain(is_good);
    let first = sets.iter().find(|set| set.not_after >= now).or(sets.first())?;
    Some(first.name.clone())
}

/// Whether a set that was found for a name is good for it. By its NAME it is found in any case.
fn is_good_for(set: &Serving, name: &ServerName, store: &Store) -> bool {
    if set.name != name.as_str() {
        return true;
    }
    let Lookup::Found((_, record)) = store.read(&set.name) else { return false };
    let names = server_names_of(&record);
    names.contains(name) || name.wildcard().is_some_and(|wildcard| names.contains(&wildcard))
}

/// Names that the set NAME does not serve any more, with the sets that do.
pub(super) fn instead(
    names: &[ServerName],
    own: &ServerName,
    store: &Store,
    now: i64,
) -> Vec<Value> {
    let by = |name: &ServerName| {
        let is_good = |set: &Serving| set.name != own.as_str() && is_good_for(set, name, store);
        first_choice(name, is_good, store, now)
    };
    names.iter().map(|name| json!({ "name": shown(name), "by": by(name) })).collect()
}

/// For the log: the names that a set is without now.
pub(super) fn without(names: &[ServerName]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(shown).collect();
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        _ if names.is_empty() => String::new(),
        None => format!(", without {}", shown.join(", ")),
        Some(more) => format!(", without {} and {more} others", shown.join(", ")),
    }
}

/// For the log: the key types that a set is without now.
pub(super) fn without_key_types(types: &[KeyType]) -> String {
    if types.is_empty() {
        return String::new();
    }
    format!(", without its {} key", labels(types).join(", "))
}

pub(super) fn labels(types: &[KeyType]) -> Vec<&'static str> {
    types.iter().map(|key_type| key_type.as_str()).collect()
}

/// A server name as certificates write it.
pub(super) fn shown(name: &ServerName) -> String {
    match name.as_str().strip_prefix("_.") {
        Some(parent) => format!("*.{parent}"),
        None => name.to_string(),
    }
}
