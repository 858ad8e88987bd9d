//! `/clear`: what was read from files is read again.

use serde_json::{Value, json};

use super::reply::Reply;
use crate::host::Host;
use crate::lookup::{Load, RefreshError, Refreshed, Resolver};
use crate::server_name::ServerName;
use crate::store::Store;
use crate::worker_cache::MemberInfo;

/// Why a zone cannot be cleared; `None` when it can. A hook must not believe that it rotated.
pub(crate) fn refusal(load: Load, store: &Store) -> Option<Reply> {
    const TITLE: &str = "nothing to clear";
    match load {
        Load::Lazy if store.is_left() => Some(Reply::problem(
            503,
            "the zone was replaced",
            "this worker is shutting down and serves from a zone that was resized; try again",
        )),
        Load::Lazy => None,
        Load::Startup => Some(Reply::problem(
            409,
            TITLE,
            "workers read no files of this zone (load=startup); reload NGINX to have them read",
        )),
        Load::Off => Some(Reply::problem(409, TITLE, "the zone has no files (load=off)")),
    }
}

/// A misspelt argument must not become a clear of everything.
pub(crate) fn unknown_argument() -> Reply {
    Reply::problem(400, "unknown argument", "the only argument is one \"name\"")
}

/// Makes all that was read from files stale: one atomic addition, whatever the number of sets.
pub(crate) fn all(zone: &str, store: &Store) -> Reply {
    let stats = store.stats();
    store.clear();
    Reply::json(
        200,
        &json!({
            "zone": zone,
            "cleared": stats.lazy_sets,
            "kept": stats.sets.saturating_sub(stats.lazy_sets),
        }),
    )
}

/// Reads the files of one server name at once.
pub(crate) fn by_name(zone: &str, name: &[u8], resolver: &mut Resolver, host: &dyn Host) -> Reply {
    let Some(name) = ServerName::from_operator(name) else {
        return Reply::problem(400, "invalid server name", "the name is not a host name");
    };
    match resolver.refresh(&name, host) {
        Ok(Refreshed { parsed, changed }) => {
            let certificates: Vec<Value> = parsed.info.members.iter().map(certificate).collect();
            Reply::json(
                200,
                &json!({
                    "zone": zone,
                    "name": name.as_str(),
                    "set": parsed.info.name.as_str(),
                    "changed": changed,
                    "certificates": certificates,
                }),
            )
        }
        Err(RefreshError::Files(reason)) => {
            Reply::problem(422, "the certificate cannot be used", &reason)
        }
        Err(RefreshError::Busy) => Reply::problem(
            503,
            "the name is being changed",
            "another process is writing; try again",
        ),
        Err(RefreshError::OldWorker) => Reply::problem(
            503,
            "the worker is shutting down",
            "it belongs to a configuration before the present one; everything was cleared; try again",
        ),
    }
}

fn certificate(member: &MemberInfo) -> Value {
    json!({
        "key_type": member.key_type.as_str(),
        "fingerprint": member.fingerprint_hex(),
        "not_before": member.not_before,
        "not_after": member.not_after,
    })
}
