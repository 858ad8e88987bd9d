//! The life of a worker: a timer that drops what is no longer current, and the end.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use nginx_sys::{
    NGX_OK, ngx_add_timer, ngx_connection_t, ngx_cycle, ngx_cycle_t, ngx_event_t, ngx_int_t,
    ngx_new_binary,
};

use super::boundary::guard;
use super::zone::{clear_all, for_each_zone};
use crate::ffi::log::Log;

/// How often, in ms: parsed sets are gone at most twice this after they were replaced (P8: 10 s).
const SWEEP_MSEC: usize = 4_000;

/// The timer's event, and the connection that NGINX's debug log expects behind `ev->data`.
struct Timer {
    event: ngx_event_t,
    connection: ngx_connection_t,
}

/// Whether this process has its timer.
static STARTED: AtomicBool = AtomicBool::new(false);

pub(super) unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cycle).log) };
    guard("init_process", log, NGX_OK as ngx_int_t, || {
        // The master has started another binary, and goes back to workers of its own (HUP): clears
        // meanwhile reached the zones of the other master only.
        // SAFETY: an integer of the master, as it was when this process was forked.
        if unsafe { ngx_new_binary } != 0 {
            clear_all(cycle);
        }
        NGX_OK as ngx_int_t
    })
}

/// Starts the timer of this process, once.
pub(super) fn start_timer() {
    if STARTED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: both are C structures for which NGINX itself takes zeroed memory as the beginning.
    // The event tree points to them for as long as the process lives: they are never freed.
    let timer: *mut Timer = Box::into_raw(unsafe { Box::new(MaybeUninit::zeroed().assume_init()) });
    // SAFETY: only NGINX's event loop, in this thread, uses the memory.
    unsafe {
        (*timer).connection.fd = -1;
        (*timer).event.data = (&raw mut (*timer).connection).cast();
        (*timer).event.handler = Some(sweep);
        (*timer).event.log = (*ngx_cycle).log;
        // It does not keep a worker from ending.
        (*timer).event.set_cancelable(1);
        ngx_add_timer(&raw mut (*timer).event, SWEEP_MSEC);
    }
}

unsafe extern "C" fn sweep(event: *mut ngx_event_t) {
    guard("sweep", Log::of_cycle(), (), || {
        // SAFETY: the running cycle; it is live while its event loop calls us.
        for_each_zone(unsafe { ngx_cycle }, |zone| zone.sweep());
    });
    // SAFETY: the event of start_timer(). A worker that is shutting down sweeps on: its old
    // connections may last for days.
    unsafe {
        (*event).log = (*ngx_cycle).log;
        ngx_add_timer(event, SWEEP_MSEC);
    }
}

pub(super) unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: NGINX's argument.
    let log = unsafe { Log::from_raw((*cycle).log) };
    guard("exit_process", log, (), || for_each_zone(cycle, |zone| zone.forget()));
}
