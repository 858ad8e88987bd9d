//! The hook: OpenSSL's servername callback in the workers.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use openssl_sys::SSL;

use super::boundary::{guard, panic_if_asked};
use super::conf::{ServerConf, server_confs};
use super::listeners::has_static;
use crate::ffi::clock;
use crate::ffi::handshake::{Alert, Handshake, Installable, TLSEXT_ERR_ALERT_FATAL, TLSEXT_ERR_OK};
use crate::ffi::log::Level;
use crate::lookup::{Matched, Served, Status};
use crate::worker_cache::SetInfo;

/// What was decided for a connection; for a second ClientHello and for the variables.
pub(super) struct Decision {
    /// The name that the decision was made for, as the client sent it.
    asked: Option<Box<[u8]>>,
    pub(super) outcome: Outcome,
}

/// How a connection is served.
pub(super) enum Outcome {
    Set { info: Rc<SetInfo>, status: Status, matched: Matched },
    Static,
    Resumed,
}

/// Registered on every SSL context of the http block once a server uses a zone.
pub(super) unsafe extern "C" fn server_name_callback(
    ssl: *mut SSL,
    alert: *mut c_int,
    _arg: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL's argument; contexts of the http block are used for its connections only.
    let Some(handshake) = (unsafe { Handshake::from_raw(ssl) }) else {
        return TLSEXT_ERR_ALERT_FATAL;
    };
    let rc =
        guard("server_name_callback", handshake.log(), None, || Some(decide(&handshake, alert)));
    rc.unwrap_or_else(|| {
        handshake.clear_errors();
        handshake.refuse(alert, Alert::InternalError)
    })
}

fn decide(handshake: &Handshake, alert: *mut c_int) -> c_int {
    let rc = handshake.choose_server(alert);
    if rc != TLSEXT_ERR_OK {
        return rc;
    }

    // SAFETY: both contexts belong to the cycle of the connection.
    let ((chosen, ssl), (default, _)) = unsafe {
        (server_confs(handshake.chosen_server()), server_confs(handshake.default_server()))
    };
    // SAFETY: the SSL module's configuration of the chosen server.
    let (Some(chosen), Some(ssl)) = (chosen, unsafe { ssl.as_ref() }) else { return rc };

    // A server that has nothing of its own is served with what the listen default has.
    let server = if chosen.is_unset() && ssl.ssl.ctx.is_null() { default } else { Some(chosen) };
    let Some(server) = server.filter(|s| s.zone().is_some()) else { return rc };

    if handshake.is_resumed() {
        return resume(handshake, alert, ssl.verify != 0);
    }
    // A session that was resumed by a first ClientHello may not be by the second.
    let decided = handshake.kept::<Decision>();
    if let Some(decision) = decided.filter(|d| !matches!(d.outcome, Outcome::Resumed)) {
        // A second ClientHello, after HelloRetryRequest. What is installed stays; NGINX switches
        // to the same context again, which changes nothing.
        if decision.asked.as_deref() == handshake.server_name() {
            return rc;
        }
        return handshake.refuse(alert, Alert::IllegalParameter);
    }
    serve(handshake, alert, server, has_static(ssl))
}

/// No lookup, no install, no refusal for want of a certificate: none is sent. But before NGINX
/// chose servers ahead of sessions, a session was resumed in the listen default's context whatever
/// the server: one that was made elsewhere must not enter where clients are verified.
fn resume(handshake: &Handshake, alert: *mut c_int, verifies_clients: bool) -> c_int {
    if verifies_clients && handshake.session_host_name() != handshake.server_name() {
        return handshake.refuse(alert, Alert::AccessDenied);
    }
    if handshake.kept::<Decision>().is_none() {
        handshake.keep(Decision { asked: None, outcome: Outcome::Resumed });
    }
    TLSEXT_ERR_OK
}

fn serve(handshake: &Handshake, alert: *mut c_int, server: &ServerConf, has_static: bool) -> c_int {
    let asked = handshake.server_name();
    panic_if_asked(asked.unwrap_or_default());

    let Some(zone) = server.zone() else { return TLSEXT_ERR_OK };
    let default = server.default_name.borrow();
    let served = zone
        .with_resolver(handshake.log(), |resolver, host| {
            resolver.resolve(asked, default.as_ref(), host)
        })
        .flatten();
    handshake.clear_errors();

    let outcome = match served {
        Some(served) => match install(handshake, alert, served) {
            Ok(outcome) => outcome,
            Err(rc) => return rc,
        },
        None if has_static => Outcome::Static,
        None => return handshake.refuse(alert, Alert::UnrecognizedName),
    };
    let asked = asked.map(Box::from);
    if handshake.keep(Decision { asked, outcome }).is_none() {
        return handshake.refuse(alert, Alert::InternalError);
    }
    TLSEXT_ERR_OK
}

fn install(handshake: &Handshake, alert: *mut c_int, served: Served) -> Result<Outcome, c_int> {
    let members = served.parsed.set.offered_at(clock::unix_seconds());
    let members = members.map(|m| Installable { leaf: m.leaf(), key: m.key(), chain: m.chain() });
    let installed = handshake.install(members);
    handshake.clear_errors();
    match installed {
        Ok(()) => Ok(Outcome::Set {
            info: Rc::clone(&served.parsed.info),
            status: served.status,
            matched: served.matched,
        }),
        Err(stack) => {
            if let Some(log) = handshake.log() {
                log.write(
                    Level::Warn,
                    format_args!(
                        "SSL_use_cert_and_key() failed for certificate \"{}\" ({})",
                        served.parsed.info.name,
                        super::zone::reason(&stack)
                    ),
                );
            }
            Err(handshake.refuse(alert, Alert::InternalError))
        }
    }
}
