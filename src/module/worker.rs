//! The life of a worker: a timer that drops what is no longer current, looks at files and tells of
//! handshakes, and the end.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nginx_sys::{
    NGX_OK, ngx_add_timer, ngx_connection_t, ngx_cycle, ngx_cycle_t, ngx_event_t, ngx_int_t,
    ngx_msec_t, ngx_new_binary,
};

use super::boundary::guard;
use super::zone::{clear_all, for_each_zone};
use crate::ffi::clock;
use crate::ffi::log::Log;

/// How often sweeps begin, in ms: parsed sets are gone at most twice this after they were replaced, with
/// what a sweep takes (P8: 10 s).
const SWEEP_MSEC: u64 = 4_000;
/// When looks at files are planned: one that is planned meanwhile is at most this late, ms.
const LOOK_MSEC: u64 = 500;
/// How often at most, ms.
const LEAST_MSEC: u64 = 20;

/// The timer's event, and the connection that NGINX's debug log expects behind `ev->data`.
struct Timer {
    event: ngx_event_t,
    connection: ngx_connection_t,
}

/// Until when workers may be the first ones of their cycle, ms after it came to stay. One that is forked
/// later only clears once too often.
const FIRST_WORKERS_MSEC: u64 = 1_000;

/// When the cycle came to stay, monotonic ms; of the master, which has workers inherit it.
static CYCLE_BEGAN_AT: AtomicU64 = AtomicU64::new(0);
/// Whether this process has its timer.
static STARTED: AtomicBool = AtomicBool::new(false);
/// When the last sweep began, monotonic ms.
static SWEPT_AT: AtomicU64 = AtomicU64::new(0);

/// Called in the master, before the workers of a cycle are started.
pub(super) fn cycle_begins() {
    CYCLE_BEGAN_AT.store(clock::monotonic_msec(), Ordering::Relaxed);
}

fn cycle_age_msec() -> u64 {
    clock::monotonic_msec().wrapping_sub(CYCLE_BEGAN_AT.load(Ordering::Relaxed))
}

pub(super) unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cycle).log) };
    guard("init_process", log, NGX_OK as ngx_int_t, || {
        // The master has started another binary, and goes back to workers of its own: clears meanwhile
        // reached the zones of the other master only. By HUP, that one still runs; where it has ended
        // (ngx_reap_children), nothing but the time tells such workers from the first of the cycle.
        // SAFETY: an integer of the master, as it was when this process was forked.
        let is_beside_another = unsafe { ngx_new_binary } != 0;
        if is_beside_another || cycle_age_msec() > FIRST_WORKERS_MSEC {
            clear_all(cycle);
        }
        // What a worker left that was killed is looked after at once by the one in its place.
        for_each_zone(cycle, |zone| {
            zone.state.close_inherited();
            zone.finish_left_write(log);
            if zone.durable().is_some() {
                zone.heal(log);
                start_timer();
            }
        });
        NGX_OK as ngx_int_t
    })
}

/// Starts the timer of this process, once.
#[inline]
pub(super) fn start_timer() {
    // One thread does this: no exchange, which each handshake would pay for.
    if !STARTED.load(Ordering::Relaxed) {
        STARTED.store(true, Ordering::Relaxed);
        add_timer();
    }
}

#[cold]
fn add_timer() {
    // SAFETY: both are C structures for which NGINX itself takes zeroed memory as the beginning.
    // The event tree points to them for as long as the process lives: they are never freed.
    let timer: *mut Timer = Box::into_raw(unsafe { Box::new(MaybeUninit::zeroed().assume_init()) });
    // SAFETY: only NGINX's event loop, in this thread, uses the memory.
    unsafe {
        (*timer).connection.fd = -1;
        (*timer).event.data = (&raw mut (*timer).connection).cast();
        (*timer).event.handler = Some(tick);
        (*timer).event.log = (*ngx_cycle).log;
        // It does not keep a worker from ending.
        (*timer).event.set_cancelable(1);
        ngx_add_timer(&raw mut (*timer).event, LOOK_MSEC as ngx_msec_t);
    }
}

unsafe extern "C" fn tick(event: *mut ngx_event_t) {
    let wait = guard("tick", Log::of_cycle(), SWEEP_MSEC, || {
        // SAFETY: the running cycle; it is live while its event loop calls us.
        let cycle = unsafe { ngx_cycle };
        for_each_zone(cycle, |zone| zone.flush_counts());
        begin_sweep(cycle);
        let mut is_swept = true;
        for_each_zone(cycle, |zone| is_swept &= !zone.sweep());
        let wait = look_around(cycle);
        if is_swept { wait } else { LEAST_MSEC }
    });
    // SAFETY: the event of start_timer(). A worker that is shutting down goes on with it: its old
    // connections may last for days.
    unsafe {
        (*event).log = (*ngx_cycle).log;
        ngx_add_timer(event, wait as ngx_msec_t);
    }
}

fn begin_sweep(cycle: *mut ngx_cycle_t) {
    let now = clock::monotonic_msec();
    if now.wrapping_sub(SWEPT_AT.load(Ordering::Relaxed)) >= SWEEP_MSEC {
        SWEPT_AT.store(now, Ordering::Relaxed);
        for_each_zone(cycle, |zone| {
            zone.finish_left_write(Log::of_cycle());
            zone.begin_sweep();
            zone.heal(Log::of_cycle());
        });
    }
}

/// How long to wait until the next time, ms.
fn look_around(cycle: *mut ngx_cycle_t) -> u64 {
    let mut next = None;
    for_each_zone(cycle, |zone| {
        let zone_next = zone.look_around(Log::of_cycle());
        next = zone_next.into_iter().chain(next).min();
    });
    let now = clock::monotonic_msec();
    next.map_or(SWEEP_MSEC, |at| at.saturating_sub(now).clamp(LEAST_MSEC, LOOK_MSEC))
}

pub(super) unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cycle).log) };
    guard("exit_process", log, (), || {
        for_each_zone(cycle, |zone| {
            zone.flush_counts();
            zone.forget();
        });
    });
}
