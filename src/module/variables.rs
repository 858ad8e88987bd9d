//! The variables: what a connection was served with. Empty where the server has no zone.

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_conf_t, ngx_http_add_variable, ngx_http_request_t,
    ngx_http_variable_value_t, ngx_int_t, ngx_str_t,
};
use ngx::ngx_string;

use super::boundary::guard;
use super::server_name_callback::{Decision, Outcome};
use crate::ffi::handshake::Established;
use crate::ffi::http::Request;
use crate::ffi::log::Log;
use crate::lookup::Matched;
use crate::worker_cache::{MemberInfo, SetInfo};

/// What a variable tells; its place in the table is the variable's `data`.
type Tell = fn(&Established, &Outcome) -> Option<String>;

static VARIABLES: [(ngx_str_t_const, Tell); 5] = [
    (ngx_str_t_const(ngx_string!("rust_shared_cert_name")), name),
    (ngx_str_t_const(ngx_string!("rust_shared_cert_status")), status),
    (ngx_str_t_const(ngx_string!("rust_shared_cert_match")), matched),
    (ngx_str_t_const(ngx_string!("rust_shared_cert_fingerprint")), fingerprint),
    (ngx_str_t_const(ngx_string!("rust_shared_cert_not_after")), not_after),
];

/// A text that nobody writes to.
#[allow(non_camel_case_types)]
struct ngx_str_t_const(ngx_str_t);

// SAFETY: points to a static text.
unsafe impl Sync for ngx_str_t_const {}

pub(super) unsafe extern "C" fn add_variables(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cf).log) };
    guard("preconfiguration", log, NGX_ERROR as ngx_int_t, || {
        for (index, (name, _)) in VARIABLES.iter().enumerate() {
            // SAFETY: cf is valid; NGINX copies the name.
            unsafe {
                let mut name = name.0;
                let variable = ngx_http_add_variable(cf, &mut name, 0);
                if variable.is_null() {
                    return NGX_ERROR as ngx_int_t;
                }
                (*variable).get_handler = Some(get_variable);
                (*variable).data = index;
            }
        }
        NGX_OK as ngx_int_t
    })
}

unsafe extern "C" fn get_variable(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: NGINX's arguments, valid in this call.
    let (request, value) = unsafe { (Request::from_raw(r), &mut *v) };
    value.set_not_found(1);
    guard("get_variable", request.log(), NGX_OK as ngx_int_t, || {
        // SAFETY: the request's connection is live.
        let Some(connection) = (unsafe { Established::from_raw(request.connection()) }) else {
            return NGX_OK as ngx_int_t;
        };
        let Some(decision) = connection.kept::<Decision>() else { return NGX_OK as ngx_int_t };
        let Some((_, tell)) = VARIABLES.get(data) else { return NGX_OK as ngx_int_t };
        let Some(text) = tell(&connection, &decision.outcome) else { return NGX_OK as ngx_int_t };
        let Some(kept) = request.keep_text(&text) else { return NGX_ERROR as ngx_int_t };

        value.set_len(kept.len as u32);
        value.data = kept.data;
        value.set_valid(1);
        value.set_no_cacheable(0);
        value.set_not_found(0);
        NGX_OK as ngx_int_t
    })
}

fn set(outcome: &Outcome) -> Option<(&SetInfo, Matched)> {
    match outcome {
        Outcome::Set { info, matched, .. } => Some((info, *matched)),
        Outcome::Static | Outcome::Resumed => None,
    }
}

fn name(_: &Established, outcome: &Outcome) -> Option<String> {
    set(outcome).map(|(info, ..)| info.name.to_string())
}

fn status(_: &Established, outcome: &Outcome) -> Option<String> {
    Some(outcome.ending().label().to_owned())
}

fn matched(_: &Established, outcome: &Outcome) -> Option<String> {
    set(outcome).map(|(_, matched)| matched.as_str().to_owned())
}

fn fingerprint(connection: &Established, outcome: &Outcome) -> Option<String> {
    sent_member(connection, outcome).map(MemberInfo::fingerprint_hex)
}

fn not_after(connection: &Established, outcome: &Outcome) -> Option<String> {
    sent_member(connection, outcome).map(|member| member.not_after.to_string())
}

/// The member whose certificate was sent.
fn sent_member<'a>(connection: &Established, outcome: &'a Outcome) -> Option<&'a MemberInfo> {
    let (info, ..) = set(outcome)?;
    if let [only] = &*info.members {
        return Some(only);
    }
    let sent = connection.sent_fingerprint()?;
    info.members.iter().find(|member| member.fingerprint == sent)
}
