//! NGINX's cached time, as fresh as the event loop made it.

use nginx_sys::{ngx_cached_time, ngx_current_msec, ngx_time_update};

/// Milliseconds of the monotonic clock, the same for all processes of a machine
/// (`ngx_current_msec`).
pub(crate) fn monotonic_msec() -> u64 {
    // SAFETY: a word that only the thread of the event loop, which runs us, changes.
    unsafe { ngx_current_msec as u64 }
}

/// Seconds since the epoch (`ngx_time()`).
pub(crate) fn unix_seconds() -> i64 {
    // SAFETY: ngx_time_init() ran before anything else; the slot it points to is static.
    unsafe { (*ngx_cached_time).sec }
}

/// Reads the system's clocks: while the master works on a configuration nobody else does.
pub(crate) fn update() {
    // SAFETY: what the event loop does at each turn, in the same thread.
    unsafe { ngx_time_update() }
}
