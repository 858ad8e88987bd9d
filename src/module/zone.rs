//! A zone: its configuration, and what a process keeps of it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ptr::NonNull;
use std::rc::Rc;

use nginx_sys::{
    NGX_PROCESS_SINGLE, ngx_cycle_t, ngx_http_module, ngx_module_t, ngx_process, ngx_shm_zone_t,
    ngx_uint_t,
};
use once_cell::unsync::OnceCell;

use super::conf::MainConf;
use super::state::StateConf;
use super::zone_init::Pending;
use crate::certificate::{CertificateSet, Member, SecurityClass};
use crate::ffi::clock;
use crate::ffi::installable::Installable;
use crate::ffi::log::{Level, Log};
use crate::ffi::shm::SharedZone;
use crate::ffi::ssl_ctx::{Context, Trial};
use crate::handshakes::{Ending, Tally};
use crate::host::Host;
use crate::lookup::{Resolver, Settings};
use crate::restore::{Healer, Memory};
use crate::state::Durable;
use crate::store::{Counter, Store, Superseded, ZoneLock};

/// The tag by which NGINX knows a zone as ours over reloads.
pub(super) fn tag() -> *mut ngx_module_t {
    &raw mut super::ngx_http_rust_shared_cert_module
}

/// One `rust_shared_cert_zone` of a cycle.
pub(super) struct ZoneConf {
    name: String,
    pub(super) settings: Rc<Settings>,
    pub(super) state: StateConf,
    /// The zone's memory, once it is initialised.
    memory: Cell<Option<(SharedZone, Store)>>,
    /// What is left to do when the cycle has come to stay.
    pub(super) pending: RefCell<Pending>,
    /// The number of this configuration in the zone; its workers write while it is the present one.
    pub(super) configuration: Cell<u64>,
    /// A context for each security level among the servers that use the zone.
    levels: RefCell<Vec<SecurityLevel>>,
    /// What this process keeps of the zone; made at the first use, so never in the master.
    resolver: RefCell<Option<Resolver>>,
    /// The handshakes of this process that the zone does not know of yet.
    tally: Tally,
    /// What this process does for the state directory.
    healer: RefCell<Healer>,
}

/// A context, and what certificates are tried on for it; made at the first use.
struct SecurityLevel {
    context: Context,
    trial: OnceCell<Trial>,
    /// What was accepted, for others of the kind.
    accepted: RefCell<HashSet<SecurityClass>>,
}

/// So many keys, signatures and chains are remembered as good enough.
const MAX_ACCEPTED: usize = 256;

impl SecurityLevel {
    fn new(context: Context) -> SecurityLevel {
        SecurityLevel { context, trial: OnceCell::new(), accepted: RefCell::default() }
    }

    /// Whether all of these were accepted before.
    fn has_accepted(&self, classes: Option<&[SecurityClass]>) -> bool {
        let accepted = self.accepted.borrow();
        classes.is_some_and(|classes| classes.iter().all(|class| accepted.contains(class)))
    }

    fn note_accepted(&self, classes: Option<&[SecurityClass]>) {
        let mut accepted = self.accepted.borrow_mut();
        if accepted.len() >= MAX_ACCEPTED {
            accepted.clear();
        }
        accepted.extend(classes.into_iter().flatten().cloned());
    }
}

impl ZoneConf {
    pub(super) fn new(name: String, settings: Settings, state: StateConf) -> ZoneConf {
        ZoneConf {
            name,
            settings: Rc::new(settings),
            state,
            memory: Cell::new(None),
            pending: RefCell::default(),
            configuration: Cell::new(0),
            levels: RefCell::default(),
            resolver: RefCell::new(None),
            tally: Tally::new(),
            healer: RefCell::default(),
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
            levels.push(SecurityLevel::new(context));
        }
    }

    /// The store; `None` before the zone was initialised.
    pub(super) fn store(&self) -> Option<Store> {
        self.mapped().map(|(_, store)| store)
    }

    /// The zone's memory and what is in it; `None` before it was initialised, or when it is gone: with
    /// `master_process off`, connections of an old cycle live on in this process, but NGINX unmaps the
    /// zones that a later one does not keep.
    pub(super) fn mapped(&self) -> Option<(SharedZone, Store)> {
        let memory = self.memory.get()?;
        // SAFETY: an integer that only this thread changes.
        let is_single = unsafe { ngx_process } == NGX_PROCESS_SINGLE as ngx_uint_t;
        (!is_single || memory.0.is_in_running_cycle()).then_some(memory)
    }

    /// As `mapped()`, for a cycle that is not running yet.
    pub(super) fn memory(&self) -> Option<(SharedZone, Store)> {
        self.memory.get()
    }

    /// Notes the memory.
    pub(super) fn begin_with(&self, shared: SharedZone, store: Store) {
        self.memory.set(Some((shared, store)));
    }

    /// Runs `body` with this process' resolver; `None` when it cannot be had: the zone is not
    /// initialised, or a call is under way in this very process.
    pub(super) fn with_resolver<T>(
        &self,
        log: Option<Log>,
        body: impl FnOnce(&mut Resolver, &dyn Host) -> T,
    ) -> Option<T> {
        let (shared, store) = self.mapped()?;
        let mut slot = self.resolver.try_borrow_mut().ok()?;
        let resolver = slot.get_or_insert_with(|| {
            super::worker::start_timer();
            Resolver::new(store, self.configuration.get(), Rc::clone(&self.settings))
        });
        Some(body(resolver, &self.host(shared, log)))
    }

    /// The directory in which pushed sets are kept; `None` where there is none.
    pub(super) fn durable(&self) -> Option<Durable> {
        self.state.durable()
    }

    /// Finishes what a process left that was killed in a write.
    pub(super) fn finish_left_write(&self, log: Option<Log>) {
        if let Some((shared, store)) = self.mapped() {
            store.finish_left_write(self.host(shared, log).lock());
        }
    }

    /// Looks after the state directory, from a worker's timer.
    pub(super) fn heal(&self, log: Option<Log>) {
        if let (Some((shared, store)), Some(durable)) = (self.mapped(), self.durable()) {
            let mut slot = self.resolver.try_borrow_mut();
            let resolver = slot.as_mut().ok().and_then(|slot| slot.as_mut());
            let replaced = resolver.map(Resolver::take_replaced);
            let Ok(mut healer) = self.healer.try_borrow_mut() else { return };
            healer.add_replaced(replaced.into_iter().flatten());
            let host = self.host(shared, log);
            let configuration = self.configuration.get();
            healer.heal(&durable, Memory { store: &store, configuration, host: &host });
        }
    }

    /// What the core asks of NGINX for this zone.
    pub(super) fn host(&self, shared: SharedZone, log: Option<Log>) -> ZoneHost<'_> {
        ZoneHost { zone: self, shared, log }
    }

    /// Looks at files that are due; when to do so again, monotonic ms. Nothing when no file was
    /// ever read in this process.
    pub(super) fn look_around(&self, log: Option<Log>) -> Option<u64> {
        let (shared, _) = self.mapped()?;
        let mut slot = self.resolver.try_borrow_mut().ok()?;
        slot.as_mut()?.look_around(&self.host(shared, log))
    }

    /// Begins to drop parsed sets that are no longer current; nothing when none was ever kept.
    pub(super) fn begin_sweep(&self) {
        if let Ok(mut slot) = self.resolver.try_borrow_mut() {
            slot.iter_mut().for_each(Resolver::begin_sweep);
        }
    }

    /// Goes on with that; true when there is more to do.
    pub(super) fn sweep(&self) -> bool {
        let slot = self.resolver.try_borrow_mut();
        slot.is_ok_and(|mut slot| slot.as_mut().is_some_and(Resolver::sweep))
    }

    /// Counts a handshake of a server that uses the zone.
    #[inline]
    pub(super) fn count(&self, ending: Ending) {
        super::worker::start_timer();
        self.tally.count(ending);
    }

    /// Tells the zone of the handshakes that were counted. One that another has replaced is told, too:
    /// there nobody asks for them.
    pub(super) fn flush_counts(&self) {
        if self.tally.is_empty() {
            return;
        }
        if let Some(store) = self.store() {
            self.tally.take(|ending, count| store.add(Counter::Handshakes(ending.number()), count));
        }
    }

    /// Drops all parsed sets.
    pub(super) fn forget(&self) {
        if let Ok(mut slot) = self.resolver.try_borrow_mut() {
            *slot = None;
        }
    }
}

/// What the core asks of NGINX for a zone.
pub(super) struct ZoneHost<'a> {
    zone: &'a ZoneConf,
    shared: SharedZone,
    log: Option<Log>,
}

impl Host for ZoneHost<'_> {
    fn monotonic_msec(&self) -> u64 {
        clock::monotonic_msec()
    }

    fn update_clock(&self) {
        clock::update();
    }

    fn unix_seconds(&self) -> i64 {
        clock::unix_seconds()
    }

    fn lock(&self) -> &dyn ZoneLock {
        &self.shared
    }

    fn accepts(&self, set: &CertificateSet) -> Result<(), String> {
        let classes: Option<Vec<_>> = set.members().iter().map(Member::security_class).collect();
        for level in self.zone.levels.borrow().iter() {
            if level.has_accepted(classes.as_deref()) {
                continue;
            }
            let members = set.members().iter().map(installable);
            let trial = level.trial.get_or_try_init(|| level.context.trial());
            trial.and_then(|trial| trial.accepts(members)).map_err(|e| reason(&e))?;
            level.note_accepted(classes.as_deref());
        }
        Ok(())
    }

    fn accepts_by(&self) -> u64 {
        let mut levels: Vec<_> =
            self.zone.levels.borrow().iter().map(|l| l.context.security_level()).collect();
        levels.sort_unstable();
        let mut hasher = DefaultHasher::new();
        levels.hash(&mut hasher);
        hasher.finish()
    }

    fn notice(&self, text: fmt::Arguments<'_>) {
        self.write(Level::Notice, text);
    }

    fn warn(&self, text: fmt::Arguments<'_>) {
        self.write(Level::Warn, text);
    }

    fn error(&self, text: fmt::Arguments<'_>) {
        self.write(Level::Error, text);
    }

    fn alert(&self, text: fmt::Arguments<'_>) {
        self.write(Level::Alert, text);
    }
}

impl ZoneHost<'_> {
    fn write(&self, level: Level, text: fmt::Arguments<'_>) {
        if let Some(log) = self.log {
            log.write(level, format_args!("{text}, zone \"{}\"", self.zone.name));
        }
    }
}

/// What a member is installed with.
pub(super) fn installable(member: &Member) -> Installable<'_> {
    Installable { leaf: member.leaf(), key: member.key(), chain: member.chain() }
}

/// OpenSSL's own word for what it refused.
pub(super) fn reason(stack: &openssl::error::ErrorStack) -> String {
    let first = stack.errors().first();
    first.and_then(|e| e.reason()).unwrap_or("is refused by OpenSSL").to_owned()
}

/// Leaves the zones of a cycle that the next one does not keep. Its old workers serve on from them,
/// but no clear reaches them there: they look at files in each handshake.
pub(super) fn leave_zones(old: *mut ngx_cycle_t, new: *mut ngx_cycle_t) {
    let mut kept = Vec::new();
    for_each_zone(new, |zone| kept.extend(zone.memory().map(|(shared, _)| shared)));
    for_each_zone(old, |zone| {
        if let Some((_, store)) = zone.memory().filter(|(shared, _)| !kept.contains(shared)) {
            store.set_superseded(Superseded::Left);
            store.clear();
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
    // or the context of the http block of this cycle, whose main_conf has our entry if the cycle has
    // our module: one that is loaded by a reload is not in the cycle before.
    let main = unsafe {
        let http = ngx_http_module.index;
        if (*cycle).conf_ctx.is_null() || !has_this_module(cycle) {
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

/// # Safety
/// `cycle` is a cycle that was initialised.
unsafe fn has_this_module(cycle: *mut ngx_cycle_t) -> bool {
    // SAFETY: by the contract; modules is an array that ends with NULL (ngx_cycle_modules()), or
    // NULL before that.
    unsafe {
        let mut module = (*cycle).modules;
        while !module.is_null() && !(*module).is_null() {
            if *module == tag() {
                return true;
            }
            module = module.add(1);
        }
    }
    false
}
