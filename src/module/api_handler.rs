//! The handler of `rust_shared_cert_api`, in the phase before content: ahead of what might read a
//! body first, such as `mirror`, and behind NGINX's access rules.

use nginx_sys::{
    NGX_DECLINED, NGX_DONE, NGX_HTTP_DELETE, NGX_HTTP_GET, NGX_HTTP_HEAD,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_FOUND, NGX_HTTP_POST, NGX_HTTP_PUT, NGX_OK,
    ngx_array_push, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t, ngx_http_handler_pt,
    ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, ngx_http_request_t, ngx_int_t,
};

use super::api_pending::{self, Pending};
use super::boundary::guard;
use super::conf::{ApiConf, LocationConf};
use super::zone::ZoneConf;
use crate::api::precondition::Precondition;
use crate::api::reply::Reply;
use crate::api::route::{Call, Method, route};
use crate::api::write::internal_error;
use crate::api::{Context, access, clear, media_type, show};
use crate::ffi::http::Request;
use crate::ffi::peer;

/// The most bytes that a body can have.
const MAX_BODY: usize = 256 * 1024;
/// NGINX reads a body in pieces of this size.
const BODY_PIECE: usize = 64 * 1024;

/// Adds the handler to the phases. `None` when memory is short.
pub(super) fn register(core: &mut ngx_http_core_main_conf_t) -> Option<()> {
    let phase = core.phases.get_mut(ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE as usize)?;
    // SAFETY: the array was made by the core module, of ngx_http_handler_pt.
    unsafe {
        let slot = ngx_array_push(&raw mut phase.handlers).cast::<ngx_http_handler_pt>();
        slot.as_mut().map(|slot| *slot = Some(handle))
    }
}

/// What the location's own limits would do with a body before we see it: the handler has its own.
pub(super) fn keep_body_in_memory(core: &mut ngx_http_core_loc_conf_t) {
    core.client_max_body_size = 0;
    core.client_body_buffer_size = BODY_PIECE;
    core.client_body_in_file_only = 0;
}

unsafe extern "C" fn handle(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: NGINX's argument, valid in this call.
    let request = unsafe { Request::from_raw(r) };
    let failure = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    guard("rust_shared_cert_api", request.log(), failure, || {
        // SAFETY: our entry is what create_loc_conf() made.
        let conf = unsafe { request.loc_conf::<LocationConf>(super::ctx_index()) };
        let Some(api) = conf.and_then(|conf| conf.api.borrow().clone()) else {
            return NGX_DECLINED as ngx_int_t;
        };
        // A part of another answer, or a mirrored request, is no call.
        if !request.is_main() {
            return NGX_HTTP_NOT_FOUND as ngx_int_t;
        }
        begin(&request, r, &api).unwrap_or_else(|reply| refuse(&request, r, &api, reply))
    })
}

/// Returns what the phase handler has to return.
fn begin(request: &Request, r: *mut ngx_http_request_t, api: &ApiConf) -> Result<ngx_int_t, Reply> {
    let zone = api.zone.zone().ok_or_else(internal_error)?;
    let call = call(request)?;
    if call.is_write() {
        // SAFETY: the request's connection has an open socket.
        api.write.check(unsafe { peer::peer_of(request.connection()) })?;
        let origin = request.header("Origin");
        let host = request.header("Host").or_else(|| request.authority().map(<[u8]>::to_vec));
        access::check_origin(origin.as_deref(), host.as_deref())?;
    }
    let Call::Put { .. } = call else {
        let rc = request.discard_body();
        if rc != NGX_OK as ngx_int_t {
            return Ok(rc);
        }
        if let Call::Metrics { .. } = call {
            Pending::keep(request, Pending::new(zone, call, Precondition::default()))
                .ok_or_else(internal_error)?;
            return Ok(api_pending::go_on(request, r));
        }
        if !call.is_write() {
            let reply = read_only(request, &zone, &call).unwrap_or_else(internal_error);
            return Ok(end(request, &reply));
        }
        let precondition = precondition(request)?;
        Pending::keep(request, Pending::new(zone, call, precondition))
            .ok_or_else(internal_error)?;
        return Ok(api_pending::go_on(request, r));
    };

    let (content_type, encoding) =
        (request.header("Content-Type"), request.header("Content-Encoding"));
    media_type::check(content_type.as_deref(), encoding.as_deref())?;
    let length = request.content_length();
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let precondition = precondition(request)?;
    let pending = Pending::new(zone, call, precondition);
    Ok(api_pending::read_body(request, r, pending.with_body(MAX_BODY, length)))
}

fn call(request: &Request) -> Result<Call, Reply> {
    let path = request.path();
    let below = path.strip_prefix(request.location_name()).unwrap_or(path);
    let raw = request.raw_uri().split(|b| *b == b'?').next().unwrap_or_default();
    if raw.windows(3).any(|code| code.eq_ignore_ascii_case(b"%2f")) {
        return Err(Reply::problem(400, "invalid NAME", "there is no \"/\" in a NAME"));
    }
    let method = match request.method() {
        NGX_HTTP_GET | NGX_HTTP_HEAD => Method::Get,
        NGX_HTTP_PUT => Method::Put,
        NGX_HTTP_POST => Method::Post,
        NGX_HTTP_DELETE => Method::Delete,
        _ => Method::Other,
    };
    route(method, below, request.query())
}

fn precondition(request: &Request) -> Result<Precondition, Reply> {
    let (if_match, if_none_match) = (request.header("If-Match"), request.header("If-None-Match"));
    Precondition::parse(if_match.as_deref(), if_none_match.as_deref())
}

fn read_only(request: &Request, zone: &ZoneConf, call: &Call) -> Option<Reply> {
    let store = zone.store()?;
    if let Call::Clear { name } = call {
        return match (clear::refusal(zone.settings.load, &store), name) {
            (Some(refusal), _) => Some(refusal),
            (None, None) => Some(clear::all(zone.name(), &store)),
            (None, Some(name)) => zone.with_resolver(request.log(), |resolver, host| {
                clear::by_name(zone.name(), name.as_bytes(), resolver, host)
            }),
        };
    }
    with_context(request, zone, |context| match call {
        Call::Zone => show::zone(context),
        Call::List { limit, after } => show::list(*limit, after.as_ref(), context),
        Call::Show { name } => show::set(name, context),
        _ => internal_error(),
    })
}

pub(super) fn with_context<T>(
    request: &Request,
    zone: &ZoneConf,
    body: impl FnOnce(&mut Context<'_>) -> T,
) -> Option<T> {
    let store = zone.store()?;
    zone.with_resolver(request.log(), |resolver, host| {
        body(&mut Context { zone: zone.name(), store, settings: &zone.settings, resolver, host })
    })
}

/// An answer to a request whose body is not wanted. What there is of one is read all the same, so that
/// it is wiped: it may have a key, and NGINX leaves what it discards where it was.
fn refuse(request: &Request, r: *mut ngx_http_request_t, api: &ApiConf, reply: Reply) -> ngx_int_t {
    let length = request.content_length();
    let is_small = length.is_none_or(|length| length <= MAX_BODY as u64);
    if let Some(zone) = api.zone.zone().filter(|_| request.has_body() && is_small) {
        let pending = Pending::new(zone, Call::Zone, Precondition::default());
        let pending = pending.with_body(MAX_BODY, length).with_refusal(reply);
        return api_pending::read_body(request, r, pending);
    }
    let rc = request.discard_body();
    if rc != NGX_OK as ngx_int_t { rc } else { end(request, &reply) }
}

/// Sends the answer and ends the request. Returns what a phase handler then has to return.
pub(super) fn end(request: &Request, reply: &Reply) -> ngx_int_t {
    let has_headers = reply.headers.iter().all(|(name, value)| request.add_header(name, value));
    let rc = if has_headers {
        request.send(reply.status, reply.content_type, reply.body.as_bytes())
    } else {
        NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t
    };
    request.finalize(rc);
    NGX_DONE as ngx_int_t
}

pub(super) fn too_large() -> Reply {
    let detail = format!("a set has at most {MAX_BODY} bytes of PEM");
    Reply::problem(413, "the body is too large", &detail)
}
