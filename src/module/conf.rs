//! The configuration of the http block, of a server and of a location: create and merge.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_void};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use nginx_sys::{
    ngx_array_create, ngx_array_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_module, ngx_http_ssl_module, ngx_http_ssl_srv_conf_t, ngx_str_t,
};

use super::boundary::guard;
use super::zone::ZoneConf;
use crate::api::access::Write;
use crate::ffi::conf::{CONF_ERROR, CONF_OK, Position, emerg_plain};
use crate::ffi::log::Log;
use crate::ffi::pool::keep_in_pool;
use crate::server_name::ServerName;

/// The name of a zone in a directive. It may stand before the zone's own directive: it is
/// resolved when the http block has been read.
pub(super) struct ZoneRef {
    pub(super) name: String,
    pub(super) position: Position,
    zone: Cell<Option<Rc<ZoneConf>>>,
}

impl ZoneRef {
    pub(super) fn new(name: String, position: Position) -> ZoneRef {
        ZoneRef { name, position, zone: Cell::new(None) }
    }

    /// The zone; `None` before the http block was read.
    pub(super) fn zone(&self) -> Option<Rc<ZoneConf>> {
        let zone = self.zone.take();
        self.zone.set(zone.clone());
        zone
    }
}

/// The http block.
#[derive(Default)]
pub(super) struct MainConf {
    pub(super) zones: RefCell<Vec<Rc<ZoneConf>>>,
    /// Zones named by directives, to be resolved.
    pub(super) references: RefCell<Vec<Rc<ZoneRef>>>,
    /// All locations with an API.
    pub(super) apis: RefCell<Vec<Rc<ApiConf>>>,
    /// Whether a server uses a zone: only then are SSL contexts hooked.
    pub(super) in_use: Cell<bool>,
    /// What the SSL module has for the http level; set just before servers are merged.
    http_ssl: Cell<Option<NonNull<ngx_http_ssl_srv_conf_t>>>,
}

impl MainConf {
    pub(super) fn zone(&self, name: &str) -> Option<Rc<ZoneConf>> {
        self.zones.borrow().iter().find(|z| z.name() == name).cloned()
    }
}

/// `rust_shared_cert` of a server.
#[derive(Clone, Default)]
pub(super) enum Setting {
    #[default]
    Unset,
    Off,
    Zone(Rc<ZoneRef>),
}

/// A server, or the http level as its parent.
#[derive(Default)]
pub(super) struct ServerConf {
    pub(super) setting: RefCell<Setting>,
    pub(super) default_name: RefCell<Option<ServerName>>,
    /// The zone that the server uses, once merged; read in every handshake.
    zone: Cell<Option<NonNull<ZoneConf>>>,
}

impl ServerConf {
    /// The zone that the server uses; `None` where it uses none.
    pub(super) fn zone(&self) -> Option<&ZoneConf> {
        // SAFETY: the zone is owned by an Rc in the main configuration of the same cycle, which
        // is dropped with the same pool as this value.
        self.zone.get().map(|zone| unsafe { &*zone.as_ptr() })
    }

    pub(super) fn is_unset(&self) -> bool {
        matches!(*self.setting.borrow(), Setting::Unset)
    }
}

/// A location.
#[derive(Default)]
pub(super) struct LocationConf {
    pub(super) clear: RefCell<Option<Rc<ZoneRef>>>,
    pub(super) api: RefCell<Option<Rc<ApiConf>>>,
}

/// `rust_shared_cert_api` of a location.
pub(super) struct ApiConf {
    pub(super) zone: Rc<ZoneRef>,
    pub(super) write: Write,
}

/// Puts a value into the cycle's pool, which drops it with the cycle. NULL when memory is short.
///
/// # Safety
/// `cf` is what NGINX passed to a create handler.
unsafe fn create<T: Default>(entry: &'static str, cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: by the contract; cf->pool is the cycle's.
    guard(entry, unsafe { Log::from_raw((*cf).log) }, ptr::null_mut(), || unsafe {
        keep_in_pool((*cf).pool, T::default())
            .map_or(ptr::null_mut(), |value| value.as_ptr().cast())
    })
}

pub(super) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: called by NGINX with a valid cf.
    unsafe { create::<MainConf>("create_main_conf", cf) }
}

pub(super) unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: called by NGINX with a valid cf.
    unsafe { create::<ServerConf>("create_srv_conf", cf) }
}

pub(super) unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: called by NGINX with a valid cf.
    unsafe { create::<LocationConf>("create_loc_conf", cf) }
}

pub(super) unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: cf is NGINX's; prev and conf are what create_loc_conf() made.
    let (log, prev, conf) = unsafe {
        (
            Log::from_raw((*cf).log),
            prev.cast::<LocationConf>().as_ref(),
            conf.cast::<LocationConf>().as_ref(),
        )
    };
    guard("merge_loc_conf", log, CONF_ERROR, || {
        let (Some(prev), Some(conf)) = (prev, conf) else { return CONF_ERROR };
        // SAFETY: cf->ctx is the location's while it is merged; the core module was merged before.
        let Some(core) = (unsafe { core_loc_conf(cf).as_mut() }) else { return CONF_ERROR };
        // `limit_except` and `if` are locations of their own within one.
        if core.noname() != 0 {
            inherit(&prev.clear, &conf.clear);
            inherit(&prev.api, &conf.api);
            if conf.clear.borrow().is_some() && core.handler.is_none() {
                core.handler = Some(super::clear_handler::handle);
            }
        }
        if conf.api.borrow().is_some() {
            super::api_handler::keep_body_in_memory(core);
        }
        CONF_OK
    })
}

fn inherit<T>(prev: &RefCell<Option<Rc<T>>>, conf: &RefCell<Option<Rc<T>>>) {
    let mut conf = conf.borrow_mut();
    if conf.is_none() {
        conf.clone_from(&prev.borrow());
    }
}

/// The core module's configuration of the location that is being read or merged.
///
/// # Safety
/// `cf` is in a location, or NGINX is merging one with it.
pub(super) unsafe fn core_loc_conf(cf: *mut ngx_conf_t) -> *mut ngx_http_core_loc_conf_t {
    // SAFETY: by the contract.
    unsafe {
        let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        (*(*ctx).loc_conf.add(ngx_http_core_module.ctx_index)).cast()
    }
}

/// Our main configuration, from the http context that is being read.
///
/// # Safety
/// `cf` is valid and inside the http block.
pub(super) unsafe fn main_conf<'a>(cf: *mut ngx_conf_t) -> Option<&'a MainConf> {
    // SAFETY: by the contract; the entry is what create_main_conf() made, of the cycle's life.
    unsafe {
        let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        (*(*ctx).main_conf.add(super::ctx_index())).cast::<MainConf>().as_ref()
    }
}

/// Our configuration and that of the SSL module for a server.
///
/// # Safety
/// `ctx` is the context of a server of a live cycle (or of the http level).
pub(super) unsafe fn server_confs<'a>(
    ctx: *mut ngx_http_conf_ctx_t,
) -> (Option<&'a ServerConf>, *mut ngx_http_ssl_srv_conf_t) {
    // SAFETY: by the contract; srv_conf has an entry for each HTTP module, ours made by
    // create_srv_conf().
    unsafe {
        let srv_conf = (*ctx).srv_conf;
        let ours = (*srv_conf.add(super::ctx_index())).cast::<ServerConf>().as_ref();
        let ssl_index = ngx_http_ssl_module.ctx_index;
        (ours, (*srv_conf.add(ssl_index)).cast())
    }
}

/// Runs when the http block has been read and before its servers are merged.
pub(super) unsafe extern "C" fn init_main_conf(
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: cf and conf are NGINX's; conf is what create_main_conf() made.
    let (log, main) = unsafe { (Log::from_raw((*cf).log), conf.cast::<MainConf>().as_ref()) };
    guard("init_main_conf", log, CONF_ERROR, || {
        let Some(main) = main else { return CONF_ERROR };
        // SAFETY: cf->ctx is the http level's here.
        let (_, ssl) = unsafe { server_confs((*cf).ctx.cast()) };
        main.http_ssl.set(NonNull::new(ssl));

        for reference in main.references.borrow().iter() {
            let Some(zone) = main.zone(&reference.name) else {
                // SAFETY: cf is NGINX's.
                unsafe {
                    emerg_plain(
                        cf,
                        format_args!(
                            "unknown zone \"{}\" in {}",
                            reference.name, reference.position
                        ),
                    );
                }
                return CONF_ERROR;
            };
            reference.zone.set(Some(zone));
        }
        CONF_OK
    })
}

pub(super) unsafe extern "C" fn merge_srv_conf(
    cf: *mut ngx_conf_t,
    prev: *mut c_void,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: cf is NGINX's; prev and conf are what create_srv_conf() made.
    let (log, prev, conf) = unsafe {
        (
            Log::from_raw((*cf).log),
            prev.cast::<ServerConf>().as_ref(),
            conf.cast::<ServerConf>().as_ref(),
        )
    };
    guard("merge_srv_conf", log, CONF_ERROR, || {
        let (Some(prev), Some(conf)) = (prev, conf) else { return CONF_ERROR };
        // SAFETY: cf is inside the http block.
        let Some(main) = (unsafe { main_conf(cf) }) else { return CONF_ERROR };

        if conf.is_unset() {
            let inherited = prev.setting.borrow().clone();
            *conf.setting.borrow_mut() = inherited;
            let inherited = prev.default_name.borrow().clone();
            *conf.default_name.borrow_mut() = inherited;
        }

        let zone = match &*conf.setting.borrow() {
            Setting::Zone(reference) => reference.zone(),
            Setting::Unset | Setting::Off => None,
        };
        let Some(zone) = zone else { return CONF_OK };

        main.in_use.set(true);
        conf.zone.set(Some(NonNull::from(&*zone)));
        // SAFETY: cf->ctx is the server's while it is merged; its SSL configuration is not merged
        // yet, because this module is ordered before the SSL module.
        unsafe { stand_in_for_certificates(cf, main.http_ssl.get()) }
    })
}

/// Gives a server that has no certificate of its own, nor inherits one, empty lists of them: the
/// SSL module takes it for a server with certificates and asks for no placeholder.
///
/// # Safety
/// `cf->ctx` is the context of a server whose SSL configuration was not merged yet.
unsafe fn stand_in_for_certificates(
    cf: *mut ngx_conf_t,
    http_ssl: Option<NonNull<ngx_http_ssl_srv_conf_t>>,
) -> *mut c_char {
    // SAFETY: by the contract. NGX_CONF_UNSET_PTR is what an unset list is.
    unsafe {
        let unset = usize::MAX as *mut ngx_array_t;
        let (_, ssl) = server_confs((*cf).ctx.cast());
        let Some(http_ssl) = http_ssl else { return CONF_ERROR };
        if ssl.is_null()
            || (*ssl).certificates != unset
            || (*http_ssl.as_ptr()).certificates != unset
        {
            return CONF_OK;
        }
        for list in [&raw mut (*ssl).certificates, &raw mut (*ssl).certificate_keys] {
            let empty = ngx_array_create((*cf).pool, 1, size_of::<ngx_str_t>());
            if empty.is_null() {
                return CONF_ERROR;
            }
            *list = empty;
        }
    }
    CONF_OK
}
