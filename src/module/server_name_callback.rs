//! The hook: OpenSSL's servername callback in the workers.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;

use nginx_sys::{ngx_http_conf_ctx_t, ngx_http_ssl_srv_conf_t};
use openssl_sys::SSL;

use super::boundary::{guard, panic_if_asked};
use super::conf::{ServerConf, server_confs};
use super::listeners::has_static;
use super::zone::{ZoneConf, installable, reason};
use crate::ffi::clock;
use crate::ffi::handshake::{Alert, Handshake, TLSEXT_ERR_ALERT_FATAL, TLSEXT_ERR_OK};
use crate::ffi::log::Level;
use crate::handshakes::Ending;
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

impl Outcome {
    pub(super) fn ending(&self) -> Ending {
        match self {
            Outcome::Set { status, .. } => Ending::from(*status),
            Outcome::Static => Ending::Static,
            Outcome::Resumed => Ending::Resumed,
        }
    }
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

    // SAFETY: both contexts belong to the cycle of the connection.
    let (chosen, default) =
        unsafe { (Choice::of(handshake.chosen_server()), Choice::of(handshake.default_server())) };
    let (Some(chosen), Some(default)) = (chosen, default) else { return rc };
    let is_default = chosen.has_nothing() || ptr::eq(chosen.server, default.server);
    let choice = if is_default { default } else { chosen };
    let Some(zone) = choice.server.zone() else { return rc };

    let end = if handshake.is_resumed() {
        resume(handshake, choice.ssl.verify != 0 && !is_default)
    } else {
        serve(handshake, zone, choice.server, has_static(choice.ssl))
    };
    // A connection counts once: as what its first ClientHello came to.
    if decided.is_none() {
        match &end {
            Ok(ending) => zone.count(*ending),
            Err(Alert::UnrecognizedName) => zone.count(Ending::None),
            Err(_) => {}
        }
    }
    end.map_or_else(|reason| handshake.refuse(alert, reason), |_| TLSEXT_ERR_OK)
}

/// A server that may serve the connection.
#[derive(Clone, Copy)]
struct Choice<'a> {
    server: &'a ServerConf,
    ssl: &'a ngx_http_ssl_srv_conf_t,
}

impl<'a> Choice<'a> {
    /// # Safety
    /// `ctx` is the context of a server of a live cycle.
    unsafe fn of(ctx: *mut ngx_http_conf_ctx_t) -> Option<Choice<'a>> {
        // SAFETY: by the contract; the SSL module's configuration lives as long as ours.
        unsafe {
            let (server, ssl) = server_confs(ctx);
            Some(Choice { server: server?, ssl: ssl.as_ref()? })
        }
    }

    /// Neither a certificate nor our directive: NGINX leaves the connection in the context of the
    /// listen default, and what that has is what serves.
    fn has_nothing(&self) -> bool {
        self.server.is_unset() && self.ssl.ssl.ctx.is_null()
    }
}

/// No lookup, no install, no refusal for want of a certificate: none is sent. But before NGINX
/// chose servers ahead of sessions, a session was resumed in the listen default's context whatever
/// the server: one that was made elsewhere must not enter a server that `may_be_entered_wrongly`,
/// because it verifies clients and is not that default.
fn resume(handshake: &Handshake, may_be_entered_wrongly: bool) -> Result<Ending, Alert> {
    let is_checked = cfg!(ngx_ssl_client_hello_cb) || !may_be_entered_wrongly;
    if !is_checked && !is_same_name(handshake.session_host_name(), handshake.server_name()) {
        return Err(Alert::AccessDenied);
    }
    if handshake.kept::<Decision>().is_none() {
        handshake.keep(Decision { asked: None, outcome: Outcome::Resumed });
    }
    Ok(Ending::Resumed)
}

/// Whether two names find the same server.
fn is_same_name(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let normal = |name: &[u8]| name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
    a.map(normal) == b.map(normal)
}

fn serve(
    handshake: &Handshake,
    zone: &ZoneConf,
    server: &ServerConf,
    has_static: bool,
) -> Result<Ending, Alert> {
    let asked = handshake.server_name();
    panic_if_asked(asked.unwrap_or_default());

    let default = server.default_name.borrow();
    let served = zone
        .with_resolver(handshake.log(), |resolver, host| {
            resolver.resolve(asked, default.as_ref(), host)
        })
        .flatten();
    handshake.clear_errors();

    let is_better = |served: &Served| !has_static || !gives_way(handshake, served);
    let outcome = match served.filter(is_better) {
        Some(served) => install(handshake, served)?,
        None if has_static => Outcome::Static,
        None => return Err(Alert::UnrecognizedName),
    };
    let (ending, asked) = (outcome.ending(), asked.map(Box::from));
    handshake.keep(Decision { asked, outcome }).ok_or(Alert::InternalError)?;
    Ok(ending)
}

/// Whether the set has expired, and the server has a certificate of its own that has not.
fn gives_way(handshake: &Handshake, served: &Served) -> bool {
    served.parsed.set.expired_at(clock::unix_seconds()) && handshake.has_valid_certificate()
}

fn install(handshake: &Handshake, served: Served) -> Result<Outcome, Alert> {
    let members = served.parsed.set.offered_at(clock::unix_seconds());
    let installed = handshake.install(members.map(installable));
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
                        reason(&stack)
                    ),
                );
            }
            Err(Alert::InternalError)
        }
    }
}
