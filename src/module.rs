//! INBOUND: what NGINX and OpenSSL call. The tables; every entry goes through `boundary::guard`.

mod api_directive;
mod api_handler;
mod api_pending;
mod boundary;
mod clear_handler;
mod conf;
mod directives;
mod listeners;
mod server_name_callback;
mod state;
mod variables;
mod worker;
mod zone;
mod zone_directive;
mod zone_init;

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF,
    NGX_HTTP_SRV_CONF_OFFSET, ngx_command_t, ngx_http_module_t, ngx_module_t, ngx_uint_t,
};
use ngx::ngx_string;

/// What the log says at the start: which module runs.
const VERSION: &str = concat!(
    "rust_shared_cert: version ",
    env!("CARGO_PKG_VERSION"),
    ", built for ",
    env!("NGINX_VERSION")
);

static mut NGX_HTTP_RUST_SHARED_CERT_COMMANDS: [ngx_command_t; 5] = [
    ngx_command_t {
        name: ngx_string!("rust_shared_cert_zone"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_CONF_1MORE) as ngx_uint_t,
        set: Some(directives::cmd_add_zone),
        conf: NGX_HTTP_MAIN_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: ngx_string!("rust_shared_cert"),
        type_: (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE12) as ngx_uint_t,
        set: Some(directives::cmd_set_shared_cert),
        conf: NGX_HTTP_SRV_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: ngx_string!("rust_shared_cert_clear"),
        type_: (NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1) as ngx_uint_t,
        set: Some(directives::cmd_set_clear),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t {
        name: ngx_string!("rust_shared_cert_api"),
        type_: (NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12) as ngx_uint_t,
        set: Some(directives::cmd_set_api),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    },
    ngx_command_t::empty(),
];

static NGX_HTTP_RUST_SHARED_CERT_MODULE_CTX: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(variables::add_variables),
    postconfiguration: Some(listeners::postconfiguration),
    create_main_conf: Some(conf::create_main_conf),
    init_main_conf: Some(conf::init_main_conf),
    create_srv_conf: Some(conf::create_srv_conf),
    merge_srv_conf: Some(conf::merge_srv_conf),
    create_loc_conf: Some(conf::create_loc_conf),
    merge_loc_conf: Some(conf::merge_loc_conf),
};

/// The module; NGINX writes its indexes into it when it loads it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub(crate) static mut ngx_http_rust_shared_cert_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const NGX_HTTP_RUST_SHARED_CERT_MODULE_CTX).cast_mut().cast::<c_void>(),
    commands: (&raw mut NGX_HTTP_RUST_SHARED_CERT_COMMANDS).cast::<ngx_command_t>(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(zone_init::init_module),
    init_process: Some(worker::init_process),
    exit_process: Some(worker::exit_process),
    ..ngx_module_t::default()
};

/// A table of pointers that only NGINX reads, while it loads the module.
#[repr(transparent)]
struct Table<T, const N: usize>([*const T; N]);

// SAFETY: the tables and what they point to are never written after the module is loaded, but for
// the module itself, which NGINX alone writes to, before there is a second thread.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

// ngx::ngx_modules! would do, but for the order: it emits none.
#[unsafe(no_mangle)]
#[used]
#[allow(non_upper_case_globals)]
static ngx_modules: Table<ngx_module_t, 2> =
    Table([&raw const ngx_http_rust_shared_cert_module, ptr::null()]);

#[unsafe(no_mangle)]
#[used]
#[allow(non_upper_case_globals)]
static ngx_module_names: Table<c_char, 2> =
    Table([c"ngx_http_rust_shared_cert_module".as_ptr(), ptr::null()]);

/// Before `ngx_http_ssl_module`: our merge has to run before its own refuses a server that has no
/// certificate (`ngx_http_ssl_merge_srv_conf()`, `ngx_http_ssl_init()`).
#[unsafe(no_mangle)]
#[used]
#[allow(non_upper_case_globals)]
static ngx_module_order: Table<c_char, 3> = Table([
    c"ngx_http_rust_shared_cert_module".as_ptr(),
    c"ngx_http_ssl_module".as_ptr(),
    ptr::null(),
]);

/// The place of our configuration in `srv_conf`, `main_conf` and `loc_conf`.
fn ctx_index() -> usize {
    // SAFETY: NGINX sets ctx_index in ngx_count_modules(), before it creates a configuration, and
    // keeps it for as long as the module is loaded.
    unsafe { ngx_http_rust_shared_cert_module.ctx_index }
}
