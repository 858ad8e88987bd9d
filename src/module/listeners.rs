//! What is checked and set when the configuration has been read: the SSL contexts are hooked.

use std::slice;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_array_t, ngx_conf_t, ngx_http_conf_addr_t, ngx_http_conf_ctx_t,
    ngx_http_conf_port_t, ngx_http_core_main_conf_t, ngx_http_core_module,
    ngx_http_core_srv_conf_t, ngx_http_ssl_srv_conf_t, ngx_int_t, ngx_str_t,
};

use super::boundary::guard;
use super::conf::{MainConf, ServerConf, Setting, main_conf, server_confs};
use super::server_name_callback;
use super::zone::{ZoneConf, reason};
use crate::api::access::Write;
use crate::ffi::conf::emerg_plain;
use crate::ffi::log::{Level, Log};
use crate::ffi::ssl_ctx::Context;

/// A server of the http block.
struct Server<'a> {
    core: &'a ngx_http_core_srv_conf_t,
    ours: &'a ServerConf,
    ssl: &'a ngx_http_ssl_srv_conf_t,
}

impl Server<'_> {
    /// # Safety
    /// `core` is a server of the configuration that has been read and merged.
    unsafe fn from_raw<'a>(core: *mut ngx_http_core_srv_conf_t) -> Option<Server<'a>> {
        // SAFETY: by the contract.
        unsafe {
            let core = core.as_ref()?;
            let (ours, ssl) = server_confs(core.ctx);
            Some(Server { core, ours: ours?, ssl: ssl.as_ref()? })
        }
    }

    /// Where its block begins, with `core.line`.
    fn file_name(&self) -> std::borrow::Cow<'_, str> {
        // SAFETY: a NUL-terminated text of the cycle.
        unsafe { std::ffi::CStr::from_ptr(self.core.file_name.cast()) }.to_string_lossy()
    }

    fn context(&self) -> Option<Context> {
        // SAFETY: NULL or a context of this cycle.
        unsafe { Context::from_raw(self.ssl.ssl.ctx.cast()) }
    }

    /// Whether the server has certificates of NGINX's own: static, by a variable, or those that
    /// lua asks to be there.
    fn has_static(&self) -> bool {
        has_static(self.ssl)
    }
}

/// Whether a server's configuration has certificates of NGINX's own. The empty list that stands
/// in for them has none.
pub(super) fn has_static(ssl: &ngx_http_ssl_srv_conf_t) -> bool {
    // SAFETY: NULL or an array of the cycle, after the merge.
    unsafe { ssl.certificates.as_ref() }.is_some_and(|list| list.nelts > 0)
}

/// Where somebody can roll back. Elsewhere the keys of replaced sets would lie about for nothing.
fn keep_previous_generations(main: &MainConf) {
    for api in main.apis.borrow().iter().filter(|api| api.write != Write::Off) {
        if let Some(zone) = api.zone.zone() {
            zone.settings.keeps_previous.set(true);
        }
    }
}

pub(super) unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cf).log) };
    guard("postconfiguration", log, NGX_ERROR as ngx_int_t, || {
        // SAFETY: cf is inside the http block.
        let Some(main) = (unsafe { main_conf(cf) }) else { return NGX_ERROR as ngx_int_t };
        // SAFETY: the core module's main configuration is in the http context of cf.
        let core = unsafe {
            let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
            let index = ngx_http_core_module.ctx_index;
            &mut *(*(*ctx).main_conf.add(index)).cast::<ngx_http_core_main_conf_t>()
        };
        keep_previous_generations(main);
        if !main.apis.borrow().is_empty() && super::api_handler::register(core).is_none() {
            return NGX_ERROR as ngx_int_t;
        }
        if !main.in_use.get() {
            return NGX_OK as ngx_int_t;
        }
        // SAFETY: servers is an array of pointers to the servers.
        for server in unsafe { pointers(&core.servers) } {
            // SAFETY: one of the servers of the http block.
            let Some(server) = (unsafe { Server::from_raw(server) }) else { continue };
            if let Err(text) = set_up(&server, log) {
                // SAFETY: cf is NGINX's.
                unsafe { emerg_plain(cf, format_args!("{text}")) };
                return NGX_ERROR as ngx_int_t;
            }
        }
        // SAFETY: ports is NULL or an array of the configuration that is being read.
        match unsafe { server_that_cannot_serve(core.ports) } {
            None => NGX_OK as ngx_int_t,
            Some((server, protocol)) => {
                // SAFETY: cf is NGINX's.
                unsafe {
                    emerg_plain(
                        cf,
                        format_args!(
                            "no \"ssl_certificate\" is defined for the \
                             \"listen ... {protocol}\" directive in {}:{}",
                            server.file_name(),
                            server.core.line
                        ),
                    );
                }
                NGX_ERROR as ngx_int_t
            }
        }
    })
}

/// The elements of an array of pointers.
///
/// # Safety
/// `array` holds pointers to `T`.
unsafe fn pointers<T>(array: &ngx_array_t) -> Vec<*mut T> {
    if array.nelts == 0 {
        return Vec::new();
    }
    // SAFETY: by the contract.
    unsafe { slice::from_raw_parts(array.elts.cast::<*mut T>(), array.nelts).to_vec() }
}

/// Hooks the server's context. All contexts are hooked, not only those of servers with a zone:
/// OpenSSL calls the callback of the context that NGINX switched to.
fn set_up(server: &Server<'_>, log: Option<Log>) -> Result<(), String> {
    let Some(context) = server.context() else { return Ok(()) };
    context.hook(server_name_callback::server_name_callback);

    let Some(zone) = server.ours.zone() else { return Ok(()) };
    zone.add_context(context);
    warn_about_unsupported(server, zone, log);
    set_session_context(server, zone, context)
}

fn warn_about_unsupported(server: &Server<'_>, zone: &ZoneConf, log: Option<Log>) {
    let Some(log) = log else { return };
    let warn = |directive: &str| {
        log.write(
            Level::Warn,
            format_args!(
                "\"{directive}\" is ignored for the certificates of zone \"{}\" in {}:{}",
                zone.name(),
                server.file_name(),
                server.core.line
            ),
        );
    };
    if server.ssl.stapling == 1 {
        warn("ssl_stapling");
    }
    #[cfg(ngx_ssl_certificate_compression)]
    if server.ssl.certificate_compression == 1 {
        warn("ssl_certificate_compression");
    }
}

/// NGINX makes the session id context of the certificates; ours come later and change. So it is
/// made of the zone, and where clients are verified of who verifies them and how: a session of one
/// server is then never taken for a session of another. It stays the same over reloads.
fn set_session_context(
    server: &Server<'_>,
    zone: &ZoneConf,
    context: Context,
) -> Result<(), String> {
    let ssl = server.ssl;
    let mut parts: Vec<Vec<u8>> =
        vec![b"HTTP".to_vec(), b"rust_shared_cert".to_vec(), zone.name().as_bytes().to_vec()];
    if server.has_static() {
        // SAFETY: after the merge an array of texts of the cycle (ngx_http_ssl_srv_conf_t).
        let names = unsafe {
            slice::from_raw_parts(
                (*ssl.certificates).elts.cast::<ngx_str_t>(),
                (*ssl.certificates).nelts,
            )
        };
        // With variables NGINX has nothing else to go by; certificates themselves are added by
        // the context.
        if !ssl.certificate_values.is_null() {
            parts.extend(names.iter().map(|n| n.as_bytes().to_vec()));
        }
    }
    if ssl.verify != 0 {
        parts.push(server.core.server_name.as_bytes().to_vec());
        parts.push(ssl.verify.to_be_bytes().to_vec());
        parts.push(ssl.verify_depth.to_be_bytes().to_vec());
        for file in [&ssl.client_certificate, &ssl.trusted_certificate, &ssl.crl] {
            parts.push(file.as_bytes().to_vec());
        }
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    context
        .set_session_context(&parts)
        .map_err(|e| format!("SSL_CTX_set_session_id_context() failed ({})", reason(&e)))
}

/// A server that is `off`, has no certificate, and would be served with that of a listen default
/// which itself has none but a zone's. NGINX takes the default for a server with certificates, so
/// it does not refuse this by itself.
///
/// # Safety
/// `ports` is NULL or the ports of the configuration that has been read.
unsafe fn server_that_cannot_serve<'a>(
    ports: *mut ngx_array_t,
) -> Option<(Server<'a>, &'static str)> {
    // SAFETY: by the contract; the types are those of ngx_http_add_listen().
    unsafe {
        let ports = elements::<ngx_http_conf_port_t>(ports.as_ref()?);
        for addr in ports.iter().flat_map(|p| elements::<ngx_http_conf_addr_t>(&p.addrs)) {
            let Some(protocol) = tls_protocol(addr) else { continue };
            let Some(default) = Server::from_raw(addr.default_server) else { continue };
            if default.ours.zone().is_none() || default.has_static() {
                continue;
            }
            for server in pointers::<ngx_http_core_srv_conf_t>(&addr.servers) {
                let Some(server) = Server::from_raw(server) else { continue };
                let is_off = matches!(*server.ours.setting.borrow(), Setting::Off);
                if is_off && !server.has_static() && server.ssl.reject_handshake != 1 {
                    return Some((server, protocol));
                }
            }
        }
    }
    None
}

/// The parameter of `listen` that asks for certificates.
fn tls_protocol(addr: &ngx_http_conf_addr_t) -> Option<&'static str> {
    #[cfg(ngx_feature = "http_v3")]
    if addr.opt.quic() != 0 {
        return Some("quic");
    }
    (addr.opt.ssl() != 0).then_some("ssl")
}

/// # Safety
/// `array` holds values of `T`.
unsafe fn elements<'a, T>(array: &ngx_array_t) -> &'a [T] {
    if array.nelts == 0 {
        return &[];
    }
    // SAFETY: by the contract.
    unsafe { slice::from_raw_parts(array.elts.cast::<T>(), array.nelts) }
}
