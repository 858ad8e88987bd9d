//! The content handler of `rust_shared_cert_clear`.

use nginx_sys::{
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED, NGX_OK, ngx_http_request_t, ngx_int_t,
};

use super::boundary::{guard, panic_if_asked};
use super::conf::LocationConf;
use crate::api::clear;
use crate::ffi::http::Request;

/// The longest server name, percent-encoded, and a little more so that what is too long is seen.
const LONGEST_NAME: usize = 1_024;

pub(super) unsafe extern "C" fn handle(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: NGINX's argument, valid in this call.
    let request = unsafe { Request::from_raw(r) };
    let failure = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    guard("rust_shared_cert_clear", request.log(), failure, || {
        if !request.is_get_head_or_post() {
            return NGX_HTTP_NOT_ALLOWED as ngx_int_t;
        }
        let rc = request.discard_body();
        if rc != NGX_OK as ngx_int_t {
            return rc;
        }
        reply(&request).unwrap_or(failure)
    })
}

fn reply(request: &Request) -> Option<ngx_int_t> {
    // SAFETY: our entry is what create_loc_conf() made.
    let conf = unsafe { request.loc_conf::<LocationConf>(super::ctx_index()) }?;
    let zone = conf.clear.borrow().as_ref()?.zone()?;
    let name = request.arg("name", LONGEST_NAME);
    let is_odd = request.has_args() && name.is_none();
    if is_odd || request.count_of_arg("name") > 1 {
        let reply = clear::unknown_argument();
        return Some(request.send(reply.status, reply.content_type, reply.body.as_bytes()));
    }
    panic_if_asked(name.as_deref().unwrap_or_default());

    let store = zone.store()?;
    let reply = match (clear::refusal(zone.settings.load, &store), name) {
        (Some(refusal), _) => refusal,
        (None, None) => clear::all(zone.name(), &store),
        (None, Some(name)) => zone.with_resolver(request.log(), |resolver, host| {
            clear::by_name(zone.name(), &name, resolver, host)
        })?,
    };
    Some(request.send(reply.status, reply.content_type, reply.body.as_bytes()))
}
