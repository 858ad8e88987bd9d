//! A zone: its configuration, its initialisation in the master, its worker state.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{
    NGX_ERROR, NGX_OK, NGX_PROCESS_SINGLE, ngx_cycle, ngx_cycle_t, ngx_http_module, ngx_int_t,
    ngx_module_t, ngx_process, ngx_shm_zone_t, ngx_test_config, ngx_uint_t,
};

use once_cell::unsync::OnceCell;

use super::boundary::guard;
use super::conf::MainConf;
use crate::certificate::CertificateSet;
use crate::ffi::clock;
use crate::ffi::handshake::Installable;
use crate::ffi::log::{Level, Log};
use crate::ffi::shm::SharedZone;
use crate::ffi::ssl_ctx::{Context, Trial};
use crate::files::Pair;
use crate::lookup::{Host, Resolver};
use crate::store::{Store, StoreError, ZoneLock};

/// The tag by which NGINX knows a zone as ours over reloads.
pub(super) fn tag() -> *mut ngx_module_t {
    &raw mut super::ngx_http_rust_shared_cert_module
}

/// One `rust_shared_cert_zone` of a cycle.
pub(super) struct ZoneConf {
    name: String,
    pairs: Vec<Pair>,
    worker_cache: usize,
    shm_zone: NonNull<ngx_shm_zone_t>,
    /// The zone's memory, once it is initialised.
    memory: Cell<Option<(SharedZone, Store)>>,
    /// The number of this configuration in the zone; its workers write while it is the present one.
    configuration: Cell<u64>,
    /// A context for each security level among the servers that use the zone.
    levels: RefCell<Vec<SecurityLevel>>,
    /// What this process keeps of the zone; made at the first use, so never in the master.
    resolver: RefCell<Option<Resolver>>,
}

/// A context, and what certificates are tried on for it; made at the first use.
struct SecurityLevel {
    context: Context,
    trial: OnceCell<Trial>,
}

impl ZoneConf {
    pub(super) fn new(
        name: String,
        pairs: Vec<Pair>,
        worker_cache: usize,
        shm_zone: NonNull<ngx_shm_zone_t>,
    ) -> ZoneConf {
        ZoneConf {
            name,
            pairs,
            worker_cache,
            shm_zone,
            memory: Cell::new(None),
            configuration: Cell::new(0),
            levels: RefCell::default(),
            resolver: RefCell::new(None),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes this the configuration that `init_zone` gets.
    pub(super) fn attach_to(self: &Rc<Self>, shm_zone: NonNull<ngx_shm_zone_t>) {
        // SAFETY: the list entry is the cycle's, as is the main configuration that owns the Rc.
        unsafe { (*shm_zone.as_ptr()).data = Rc::as_ptr(self).cast_mut().cast() }
    }

    /// Notes that a server with this context uses the zone.
    pub(super) fn add_context(&self, context: Context) {
        let level = context.security_level();
        let mut levels = self.levels.borrow_mut();
        if !levels.iter().any(|known| known.context.security_level() == level) {
            levels.push(SecurityLevel { context, trial: OnceCell::new() });
        }
    }

    /// The store; `None` before the zone was initialised.
    pub(super) fn store(&self) -> Option<Store> {
        self.memory.get().map(|(_, store)| store)
    }

    /// Runs `body` with this process' resolver; `None` when it cannot be had: the zone is not
    /// initialised, or a call is under way in this very process.
    pub(super) fn with_resolver<T>(
        &self,
        log: Option<Log>,
        body: impl FnOnce(&mut Resolver, &dyn Host) -> T,
    ) -> Option<T> {
        let (shared, store) = self.memory.get()?;
        let mut slot = self.resolver.try_borrow_mut().ok()?;
        let resolver = slot.get_or_insert_with(|| {
            super::worker::start_timer();
            Resolver::new(store, self.configuration.get(), self.pairs.clone(), self.worker_cache)
        });
        Some(body(resolver, &ZoneHost { zone: self, shared, log }))
    }

    /// Drops parsed sets that are no longer current; nothing when none was ever kept.
    pub(super) fn sweep(&self) {
        if let Ok(mut slot) = self.resolver.try_borrow_mut() {
            if let Some(resolver) = slot.as_mut() {
                resolver.sweep();
            }
        }
    }

    /// Drops all parsed sets.
    pub(super) fn forget(&self) {
        if let Ok(mut slot) = self.resolver.try_borrow_mut() {
            *slot = None;
        }
    }
}

/// What the resolver asks of NGINX.
struct ZoneHost<'a> {
    zone: &'a ZoneConf,
    shared: SharedZone,
    log: Option<Log>,
}

impl Host for ZoneHost<'_> {
    fn monotonic_msec(&self) -> u64 {
        clock::monotonic_msec()
    }

    fn unix_seconds(&self) -> i64 {
        clock::unix_seconds()
    }

    fn lock(&self) -> &dyn ZoneLock {
        &self.shared
    }

    fn accepts(&self, set: &CertificateSet) -> Result<(), String> {
        for level in self.zone.levels.borrow().iter() {
            let members = set.members().iter().map(|m| Installable {
                leaf: m.leaf(),
                key: m.key(),
                chain: m.chain(),
            });
            let trial = level.trial.get_or_try_init(|| level.context.trial());
            trial.and_then(|trial| trial.accepts(members)).map_err(|e| reason(&e))?;
        }
        Ok(())
    }

    fn warn(&self, text: std::fmt::Arguments<'_>) {
        if let Some(log) = self.log {
            log.write(Level::Warn, format_args!("{text}, zone \"{}\"", self.zone.name));
        }
    }

    fn alert(&self, text: std::fmt::Arguments<'_>) {
        if let Some(log) = self.log {
            log.write(Level::Alert, format_args!("{text}, zone \"{}\"", self.zone.name));
        }
    }
}

/// OpenSSL's own word for what it refused.
pub(super) fn reason(stack: &openssl::error::ErrorStack) -> String {
    let first = stack.errors().first();
    first.and_then(|e| e.reason()).unwrap_or("is refused by OpenSSL").to_owned()
}

/// Runs in the master (or a single process) for each zone of a new cycle. It may read and fail,
/// but writes nothing into a zone that is kept: the reload may fail after it.
pub(super) unsafe extern "C" fn init_zone(
    shm_zone: *mut ngx_shm_zone_t,
    old: *mut c_void,
) -> ngx_int_t {
    // SAFETY: NGINX's argument; its log is set before init is called.
    let log = unsafe { Log::from_raw((*shm_zone).shm.log) };
    guard("init_zone", log, NGX_ERROR as ngx_int_t, || {
        let Some(shm_zone) = NonNull::new(shm_zone) else { return NGX_ERROR as ngx_int_t };
        // SAFETY: data is what attach_to() set; the memory is mapped and its pool initialised.
        let (zone, shared) = unsafe {
            ((*shm_zone.as_ptr()).data.cast::<ZoneConf>().as_ref(), SharedZone::from_raw(shm_zone))
        };
        let (Some(zone), Some(shared)) = (zone, shared) else { return NGX_ERROR as ngx_int_t };

        let store = if old.is_null() { format(zone, shared) } else { attach(shared) };
        match store {
            Ok(store) => {
                zone.memory.set(Some((shared, store)));
                NGX_OK as ngx_int_t
            }
            Err(text) => {
                if let Some(log) = log {
                    log.write(Level::Emerg, format_args!("zone \"{}\" {text}", zone.name));
                }
                NGX_ERROR as ngx_int_t
            }
        }
    })
}

fn format(zone: &ZoneConf, shared: SharedZone) -> Result<Store, String> {
    let region = shared.take_all().map_err(|e| e.to_string())?;
    shared.keep_out_of_core(zone.shm_zone);
    Store::format(region).map_err(|e| store_error(e).to_owned())
}

fn attach(shared: SharedZone) -> Result<Store, String> {
    let region = shared.taken().ok_or("holds no certificates")?;
    Store::attach(region).map_err(|e| store_error(e).to_owned())
}

/// What follows the zone's name in the log.
fn store_error(error: StoreError) -> &'static str {
    match error {
        StoreError::TooSmall => "is too small",
        StoreError::NotAStore => "holds no certificates",
        StoreError::OtherLayout => "was written by another version of the module",
        StoreError::OtherSize => "was made with another size",
    }
}

/// Runs when a new cycle has come to stay, before its workers start: a reload is a clear.
pub(super) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cycle).log) };
    // Whatever happens here must not end the master: ngx_init_cycle() exits when this fails.
    guard("init_module", log, NGX_OK as ngx_int_t, || {
        // SAFETY: reads an integer that main() set.
        if unsafe { ngx_test_config } != 0 {
            return NGX_OK as ngx_int_t;
        }
        for_each_zone(cycle, |zone| {
            if let Some(store) = zone.store() {
                zone.configuration.set(store.next_configuration());
                store.clear();
            }
        });
        // SAFETY: an integer that only this thread changes.
        if unsafe { ngx_process } == NGX_PROCESS_SINGLE as ngx_uint_t {
            // SAFETY: still the cycle before this one; it lives as long as its connections.
            leave_freed_zones(unsafe { ngx_cycle }, cycle);
        }
        NGX_OK as ngx_int_t
    })
}

/// With `master_process off`, connections of the old cycle live on in this process, but NGINX unmaps
/// the zones that the new one does not keep: no handshake may look into them any more.
fn leave_freed_zones(old: *mut ngx_cycle_t, new: *mut ngx_cycle_t) {
    let mut kept = Vec::new();
    for_each_zone(new, |zone| kept.extend(zone.memory.get().map(|(shared, _)| shared)));
    for_each_zone(old, |zone| {
        if zone.memory.get().is_some_and(|(shared, _)| !kept.contains(&shared)) {
            zone.forget();
            zone.memory.set(None);
        }
    });
}

/// Clears all zones of a cycle.
pub(super) fn clear_all(cycle: *mut ngx_cycle_t) {
    for_each_zone(cycle, |zone| {
        if let Some(store) = zone.store() {
            store.clear();
        }
    });
}

/// Visits the zones of a cycle; none when it has no http block.
pub(super) fn for_each_zone(cycle: *mut ngx_cycle_t, mut visit: impl FnMut(&ZoneConf)) {
    // SAFETY: conf_ctx is NULL in the cycle that main() begins with; of the http module it is NULL
    // or the context of the http block of this cycle, whose main_conf has our entry.
    let main = unsafe {
        let http = ngx_http_module.index;
        if (*cycle).conf_ctx.is_null() {
            return;
        }
        let ctx = (*(*cycle).conf_ctx.add(http)).cast::<nginx_sys::ngx_http_conf_ctx_t>();
        if ctx.is_null() {
            return;
        }
        (*(*ctx).main_conf.add(super::ctx_index())).cast::<MainConf>().as_ref()
    };
    if let Some(main) = main {
        for zone in main.zones.borrow().iter() {
            visit(zone);
        }
    }
}
