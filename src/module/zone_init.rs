//! The start of a zone, in the master or a single process.
//!
//! A zone may be new, kept, or new because its size or its module changed; then it takes over what
//! the one before it holds. Until the cycle has come to stay, nothing is written to a zone that
//! serves: a reload may fail at any later point.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_cycle, ngx_cycle_t, ngx_int_t, ngx_shm_zone_t, ngx_test_config,
};

use super::boundary::guard;
use super::state::{Opened, StateFailure};
use super::worker;
use super::zone::{ZoneConf, ZoneHost, for_each_zone, leave_zones};
use crate::ffi::log::{Level, Log};
use crate::ffi::shm::{self, SharedZone};
use crate::host::Host;
use crate::lookup::Load;
use crate::restore::{self, RestoreError};
use crate::startup::{self, Plan, Startup, TooSmall, patient_writer};
use crate::state::{Durable, Ownership};
use crate::store::{self, Store, StoreError};
use crate::takeover::take_over;

/// What is left to do when the cycle has come to stay.
#[derive(Default)]
pub(super) struct Pending {
    /// For a zone that is kept: what was read.
    plan: Option<Plan>,
    /// For one that took another's place.
    superseded: Option<Superseded>,
    /// What a zone that is kept found in its state directory.
    state: Opened,
}

/// The zone before this one. It serves on, in old workers, but is not written to; it is again when
/// the reload fails.
struct Superseded {
    store: Store,
    is_final: bool,
}

impl Superseded {
    fn begin(store: Store) -> Superseded {
        store.set_superseded(store::Superseded::Copied);
        Superseded { store, is_final: false }
    }

    /// The reload has succeeded: old workers look at their files again, in each handshake from now on.
    /// The store is not touched after this; NGINX unmaps it.
    fn finish(&mut self) {
        self.is_final = true;
        self.store.set_superseded(store::Superseded::Left);
        self.store.clear();
    }
}

impl Drop for Superseded {
    /// Dropped with the new cycle when that fails, while the old one, and so its zone, is alive.
    fn drop(&mut self) {
        if !self.is_final {
            self.store.set_superseded(store::Superseded::No);
        }
    }
}

/// Why a zone cannot start; follows its name.
enum Failure {
    Shm(shm::ShmError),
    Store(StoreError),
    TooSmall(TooSmall),
    /// Another process was stopped in a write.
    Locked,
    State(StateFailure),
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Failure {
        match error {
            RestoreError::TooSmall(too_small) => Failure::TooSmall(too_small),
            RestoreError::State(error) => Failure::State(error.into()),
            RestoreError::Locked => Failure::Locked,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Shm(error) => write!(f, "cannot be used: {error}"),
            Failure::Store(StoreError::TooSmall) => f.write_str("is too small"),
            Failure::Store(StoreError::NotAStore) => f.write_str("holds no certificates"),
            Failure::Store(StoreError::OtherLayout) => f.write_str(
                "was made by another version of the module, which this one cannot read; \
                 restart NGINX or upgrade its binary (USR2)",
            ),
            Failure::Store(StoreError::OtherSize) => f.write_str("was made with another size"),
            Failure::State(failure) => write!(f, "cannot use its state directory: {failure}"),
            Failure::Locked => f.write_str("is being written to by another process for too long"),
            Failure::TooSmall(too_small) => {
                let bytes = shm::zone_size_for(too_small.region_bytes);
                let (size, unit) = if bytes < 10 << 20 {
                    (bytes >> 10, 'k')
                } else {
                    (bytes.div_ceil(1 << 20), 'm')
                };
                write!(f, "is too small for its certificates, {size}{unit} are needed")
            }
        }
    }
}

/// `ngx_shm_zone_t.init`.
pub(super) unsafe extern "C" fn init_zone(
    shm_zone: *mut ngx_shm_zone_t,
    old: *mut c_void,
) -> ngx_int_t {
    // SAFETY: NGINX's argument; its log is set before init is called.
    let log = unsafe { Log::from_raw((*shm_zone).shm.log) };
    #[cfg(feature = "fault-injection")]
    crate::ffi::fault::begin();
    guard("init_zone", log, NGX_ERROR as ngx_int_t, || {
        let Some(shm_zone) = NonNull::new(shm_zone) else { return NGX_ERROR as ngx_int_t };
        // SAFETY: data is what attach_to() set; the memory is mapped and its pool initialised.
        let (zone, shared) = unsafe {
            ((*shm_zone.as_ptr()).data.cast::<ZoneConf>().as_ref(), SharedZone::from_raw(shm_zone))
        };
        let (Some(zone), Some(shared)) = (zone, shared) else { return NGX_ERROR as ngx_int_t };

        let started = if old.is_null() {
            shared.keep_out_of_core(shm_zone);
            begin(zone, shared, log)
        } else {
            keep(zone, shared, log)
        };
        match started {
            Ok(()) => NGX_OK as ngx_int_t,
            Err(failure) => {
                if let Some(log) = log {
                    log.write(Level::Emerg, format_args!("zone \"{}\" {failure}", zone.name()));
                }
                NGX_ERROR as ngx_int_t
            }
        }
    })
}

/// A zone that nobody serves from yet.
fn begin(zone: &ZoneConf, shared: SharedZone, log: Option<Log>) -> Result<(), Failure> {
    let region = shared.take_all().map_err(Failure::Shm)?;
    let store = Store::format(region).map_err(Failure::Store)?;
    zone.begin_with(shared, store);
    let host = zone.host(shared, log);
    store.start_clock(first_generation(host.unix_seconds()));

    // First: what others begin to write from here on is not acknowledged.
    let opened = open_state(zone, &host)?;
    let old = store_before(zone)?;
    if let Some((old_shared, old)) = old {
        let old_host = zone.host(old_shared, log);
        // Nobody is in the middle of a change, and what a writer left that died is repaired.
        let writer = patient_writer(&old, &old_host).ok_or(Failure::Locked)?;
        zone.pending.borrow_mut().superseded = Some(Superseded::begin(old));
        drop(writer);
        zone.pending.borrow_mut().state = opened;
    }
    // Changes that are on disk get to the old zone's memory, or off the disk again.
    wait_for_writers(zone, &host)?;
    let load = zone.settings.load;
    if let Some((_, old)) = old {
        let taken = take_over(&old, &store, load, &host).map_err(Failure::TooSmall)?;
        host.notice(format_args!(
            "{} certificates taken over, {} have no room and are read again",
            taken.sets, taken.left
        ));
    }
    if let Some(durable) = zone.durable() {
        let restored = restore::restore(&durable, &store, &host)?;
        let path = durable.directory().path().display();
        host.notice(format_args!("{restored} pushed certificates read from \"{path}\""));
    }
    let mut startup = Startup::new(&zone.settings.files, zone.settings.previous(), &store, &host);
    match load {
        Load::Startup => startup::fill(&mut startup).map_err(Failure::TooSmall)?,
        // SAFETY: reads an integer that main() set.
        Load::Lazy if unsafe { ngx_test_config } != 0 => startup.check_lazy(),
        Load::Lazy => startup.check_directories(),
        Load::Off => {}
    }
    Ok(())
}

/// Where the numbers of generations begin, so that none is given again after a restart: ahead of all
/// that a zone could have given before, at a million a second. Numbers stay exact in JSON, below 2^53.
fn first_generation(unix_seconds: i64) -> u64 {
    u64::try_from(unix_seconds).unwrap_or_default() << 20
}

/// The zone of this name in the running cycle, where that is one of ours with another size or made
/// by a module at another address: else NGINX would have kept it.
fn store_before(zone: &ZoneConf) -> Result<Option<(SharedZone, Store)>, Failure> {
    let shared = shm::running_zone(zone.name().as_bytes());
    let Some((shared, region)) = shared.and_then(|shared| Some((shared, shared.taken()?))) else {
        return Ok(None);
    };
    match Store::attach(region) {
        Ok(store) => Ok(Some((shared, store))),
        Err(StoreError::OtherLayout) => Err(Failure::Store(StoreError::OtherLayout)),
        Err(_) => Ok(None),
    }
}

/// A zone that serves now.
fn keep(zone: &ZoneConf, shared: SharedZone, log: Option<Log>) -> Result<(), Failure> {
    let region = shared.taken().ok_or(Failure::Store(StoreError::NotAStore))?;
    let store = Store::attach(region).map_err(Failure::Store)?;
    zone.begin_with(shared, store);
    let host = zone.host(shared, log);
    let opened = open_state(zone, &host)?;
    if opened != Opened::Kept {
        wait_for_writers(zone, &host)?;
    }
    zone.pending.borrow_mut().state = opened;
    // Better now than when the configuration has come to stay.
    let is_to_write = opened != Opened::Kept || zone.settings.load != Load::Lazy;
    if is_to_write && patient_writer(&store, &host).is_none() {
        return Err(Failure::Locked);
    }
    let mut startup = Startup::new(&zone.settings.files, zone.settings.previous(), &store, &host);
    match zone.settings.load {
        Load::Startup => {
            let plan = Plan::make(&mut startup).map_err(Failure::TooSmall)?;
            zone.pending.borrow_mut().plan = Some(plan);
        }
        Load::Lazy => startup.check_directories(),
        Load::Off => {}
    }
    Ok(())
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
        let mut zones = 0;
        // For all zones before anything that could go wrong for one.
        for_each_zone(cycle, |zone| {
            zones += 1;
            zone.pending.borrow_mut().superseded.iter_mut().for_each(Superseded::finish);
        });
        for_each_zone(cycle, |zone| guard("init_module", log, (), || commit(zone, log)));
        // SAFETY: still the cycle before this one.
        leave_zones(unsafe { ngx_cycle }, cycle);
        if zones > 0 {
            if let Some(log) = log {
                log.write(Level::Notice, format_args!("{}", super::VERSION));
            }
        }
        // The last that is done before the workers are forked.
        worker::cycle_begins();
        NGX_OK as ngx_int_t
    })
}

fn commit(zone: &ZoneConf, log: Option<Log>) {
    let Some((shared, store)) = zone.memory() else { return };
    let host = zone.host(shared, log);
    let plan = zone.pending.borrow_mut().plan.take();
    // First: what old workers read from now on with another configuration stays theirs.
    zone.configuration.set(store.next_configuration());
    store.clear();

    zone.state.stay(&host);
    let opened = std::mem::take(&mut zone.pending.borrow_mut().state);
    // A zone that took another's place has it all since its start, and that one took no changes.
    let is_kept = zone.pending.borrow().superseded.is_none();
    if opened == Opened::Anew && is_kept {
        // A change of theirs that had begun is made.
        drop(patient_writer(&store, &host));
        bring_state(zone, &store, &host);
    }
    if let Some(durable) = zone.durable() {
        save(&durable, opened, &store, &host);
    }
    if zone.settings.load != Load::Lazy {
        if let Some(mut writer) = patient_writer(&store, &host) {
            writer.remove_lazy();
        }
    }
    match (zone.settings.load, plan) {
        (Load::Startup, Some(plan)) => {
            plan.commit(&Startup::new(
                &zone.settings.files,
                zone.settings.previous(),
                &store,
                &host,
            ));
        }
        (Load::Off, _) => startup::forget(&store, &host),
        _ => {}
    }
    if zone.settings.load != Load::Lazy {
        zone.settings.files.forget_passwords();
    }
    // In a lazy zone, the worker that finds renewed files sees to that.
    if let Some(durable) = zone.durable().filter(|_| zone.settings.load == Load::Startup) {
        restore::forget_replaced(&durable, &store, &host);
    }
}

/// Opens the directory; where it cannot be written to at a start, what it holds is served.
fn open_state(zone: &ZoneConf, host: &ZoneHost<'_>) -> Result<Opened, Failure> {
    let opened = zone.state.open(zone.name(), host).map_err(Failure::State)?;
    tell_not_writable(zone, host);
    Ok(opened)
}

/// Waits for the writes that others began before it was opened.
fn wait_for_writers(zone: &ZoneConf, host: &ZoneHost<'_>) -> Result<(), Failure> {
    zone.state.wait_for_writers(zone.name()).map_err(Failure::State)?;
    tell_not_writable(zone, host);
    Ok(())
}

fn tell_not_writable(zone: &ZoneConf, host: &ZoneHost<'_>) {
    if let Some(error) = zone.state.not_writable() {
        host.error(format_args!(
            "the state directory is read and not written to: {error}; reload NGINX once it can be"
        ));
    }
}

/// A zone that serves now gets what its directory holds.
fn bring_state(zone: &ZoneConf, store: &Store, host: &ZoneHost<'_>) {
    let Some(durable) = zone.durable() else { return };
    match restore::restore(&durable, store, host) {
        Ok(0) => {}
        Ok(restored) => host.notice(format_args!("{restored} pushed certificates read again")),
        Err(error) => host.error(format_args!("{}", Failure::from(error))),
    }
}

/// The directory gets what the zone holds, unless another instance writes to it.
fn save(durable: &Durable, opened: Opened, store: &Store, host: &ZoneHost<'_>) {
    if durable.ownership() != Ok(Ownership::Mine) {
        return;
    }
    let there = durable.directory().list().unwrap_or_default();
    // What is there was written as it was pushed, unless it is another directory than before.
    let is_kept = opened == Opened::Kept;
    restore::save(durable, if is_kept { &there.entries } else { &[] }, store, host);
    if there.has_removed && durable.directory().has_other_instance() == Ok(false) {
        let _ = durable.directory().forget_removed();
    }
}
