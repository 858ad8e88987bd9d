//! A request that waits for something that is not its client.

use std::mem::MaybeUninit;

use nginx_sys::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_http_block_reading,
    ngx_http_request_t, ngx_http_run_posted_requests, ngx_msec_t,
};

use super::body::Handler;
use super::request_bits;

/// While a request is suspended: whatever happens on its connection is no reason to go on.
unsafe extern "C" fn stay(_r: *mut ngx_http_request_t) {}

/// Keeps a request from being freed, and its client from being listened to, until `resume()`.
///
/// # Safety
/// `r` is a main request in one of its handlers, and is not suspended. `resume()` is called once for
/// it.
pub(super) unsafe fn suspend(r: *mut ngx_http_request_t) {
    // SAFETY: by the contract.
    unsafe {
        request_bits::block(r);
        // A body that is not wanted is still to be read away.
        if request_bits::discards_body(r) == 0 {
            (*r).read_event_handler = Some(ngx_http_block_reading);
        }
        (*r).write_event_handler = Some(stay);
    }
}

/// Goes on with a request by `handler`, which may free it. Where NGINX has ended it meanwhile, what
/// it put into the place of our handler is called.
///
/// # Safety
/// `suspend()` was called for `r` and no `resume()` yet. Called from the event loop.
pub(super) unsafe fn resume(r: *mut ngx_http_request_t, handler: Handler) {
    // SAFETY: by the contract: a blocked request is alive, as is its connection.
    unsafe {
        let connection = (*r).connection;
        request_bits::unblock(r);
        match (*r).write_event_handler {
            Some(other) if other as usize != stay as *const () as usize => other(r),
            _ => handler(r),
        }
        ngx_http_run_posted_requests(connection);
    }
}

/// A timer that a request waits for.
#[repr(C)]
pub(crate) struct Pause {
    /// The first: its address is that of the whole.
    event: ngx_event_t,
    /// What NGINX's debug log expects behind `ev->data`; its own data is the request.
    connection: ngx_connection_t,
    handler: Option<Handler>,
}

impl Pause {
    pub(crate) fn new() -> Pause {
        // SAFETY: two C structures for which NGINX itself takes zeroed memory as the beginning, and no
        // handler, which is zero.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    /// Suspends the request for so long; then the handler is called.
    ///
    /// # Safety
    /// `r` is a main request in one of its handlers, and is not suspended. `this` is in the request's
    /// pool, or lives as long, and is not moved.
    pub(crate) unsafe fn wait(
        this: *mut Pause,
        r: *mut ngx_http_request_t,
        handler: Handler,
        msec: u64,
    ) {
        // SAFETY: by the contract.
        unsafe {
            suspend(r);
            (*this).handler = Some(handler);
            (*this).connection.fd = -1;
            (*this).connection.data = r.cast();
            (*this).event.data = (&raw mut (*this).connection).cast();
            (*this).event.handler = Some(on_timer);
            (*this).event.log = (*(*r).connection).log;
            ngx_add_timer(&raw mut (*this).event, msec as ngx_msec_t);
        }
    }
}

unsafe extern "C" fn on_timer(event: *mut ngx_event_t) {
    // SAFETY: what wait() has set; the event is the first field of a Pause, and the request was
    // suspended there. Its handler is one of our entry points, behind the panic boundary.
    unsafe {
        let pause = event.cast::<Pause>();
        if let Some(handler) = (*pause).handler {
            resume((*pause).connection.data.cast(), handler);
        }
    }
}

impl Drop for Pause {
    /// A process that ends may free requests that wait.
    fn drop(&mut self) {
        if self.event.timer_set() != 0 {
            // SAFETY: the event is in this process' tree.
            unsafe { ngx_del_timer(&raw mut self.event) }
        }
    }
}
