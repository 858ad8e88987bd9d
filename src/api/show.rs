//! Calls that tell of a zone and its sets.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::reply::Reply;
use super::{Context, describe};
use crate::server_name::ServerName;
use crate::store::Lookup;

/// The zone as a whole.
pub(crate) fn zone(context: &Context<'_>) -> Reply {
    let stats = context.store.stats();
    Reply::json(
        200,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "zone": context.zone,
            "bytes_used": stats.used_bytes,
            "bytes_free": stats.free_bytes,
            "sets": {
                "pushed": stats.pushed_sets,
                "startup": stats.startup_sets,
                "lazy": stats.lazy_sets,
                "previous": stats.previous_sets,
            },
            "epoch": stats.clear_epoch,
        }),
    )
}

/// How long a page may keep the worker from its handshakes: it ends early where names are shared by
/// very many sets.
const PAGE_TIME: Duration = Duration::from_millis(20);

/// A page of sets, in an order of the zone's own.
pub(crate) fn list(limit: usize, after: Option<&ServerName>, context: &Context<'_>) -> Reply {
    let now = context.host.unix_seconds();
    // One more than is shown tells whether there are others.
    let names = context.store.page(after.map(ServerName::as_str), limit + 1);
    let end = Instant::now() + PAGE_TIME;
    let mut sets: Vec<Value> = Vec::new();
    let mut shown = 0;
    for name in names.iter().take(limit) {
        if let Lookup::Found(details) = context.store.details(name) {
            sets.push(describe::set(name, &details, &context.store, now));
        }
        shown += 1;
        if Instant::now() >= end {
            break;
        }
    }
    let next = names.get(shown).and_then(|_| names.get(shown.checked_sub(1)?));
    Reply::json(200, &json!({ "sets": sets, "next": next }))
}

/// One set.
pub(crate) fn set(name: &ServerName, context: &Context<'_>) -> Reply {
    match context.store.details(name.as_str()) {
        Lookup::Found(details) => {
            let now = context.host.unix_seconds();
            let body = describe::set(name.as_str(), &details, &context.store, now);
            Reply::json(200, &body).with_etag(details.generation)
        }
        Lookup::Absent => not_found(name),
        Lookup::Contended => busy(),
    }
}

pub(super) fn not_found(name: &ServerName) -> Reply {
    Reply::problem(404, "no such set", &format!("there is no set \"{name}\""))
}

pub(super) fn busy() -> Reply {
    Reply::try_again("the set is being changed", "other processes are writing; try again", 1)
}
