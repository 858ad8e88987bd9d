//! A request that waits for something that is not its client.

use std::mem::MaybeUninit;

use nginx_sys::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_http_block_reading,
    ngx_http_request_t, ngx_http_run_posted_requests, ngx_msec_t,
};

use super::body::Handler;

/// Keeps a request from being freed, and its client from being listened to, until `resume()`, which
/// calls the handler. As `ngx_http_copy_thread_handler()` does.
///
/// # Safety
/// `r` is a main request in one of its handlers. `resume()` is called once for it.
pub(super) unsafe fn suspend(r: *mut ngx_http_request_t, handler: Handler) {
    // SAFETY: by the contract.
    unsafe {
        let blocked = (*(*r).main).blocked();
        (*(*r).main).set_blocked(blocked + 1);
        (*r).read_event_handler = Some(ngx_http_block_reading);
        (*r).write_event_handler = Some(handler);
    }
}

/// Goes on with a request, which may be gone after that. Where NGINX has ended it meanwhile, its own
/// handler took the place of ours.
///
/// # Safety
/// `suspend()` was called for `r` and no `resume()` yet. Called from the event loop.
pub(super) unsafe fn resume(r: *mut ngx_http_request_t) {
    // SAFETY: by the contract: a blocked request is alive, as is its connection.
    unsafe {
        let connection = (*r).connection;
        let blocked = (*(*r).main).blocked();
        (*(*r).main).set_blocked(blocked.saturating_sub(1));
        if let Some(handler) = (*r).write_event_handler {
            handler(r);
        }
        ngx_http_run_posted_requests(connection);
    }
}

/// A timer that a request waits for.
pub(crate) struct Pause {
    event: ngx_event_t,
    /// What NGINX's debug log expects behind `ev->data`; its own data is the request.
    connection: ngx_connection_t,
}

impl Pause {
    pub(crate) fn new() -> Pause {
        // SAFETY: two C structures for which NGINX itself takes zeroed memory as the beginning.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    /// Suspends the request for so long; then the handler is called.
    ///
    /// # Safety
    /// `r` is a main request in one of its handlers, which returns without a further use of it. The
    /// value is in the request's pool, or lives as long, and is not moved.
    pub(crate) unsafe fn wait(&mut self, r: *mut ngx_http_request_t, handler: Handler, msec: u64) {
        // SAFETY: by the contract.
        unsafe {
            suspend(r, handler);
            self.connection.fd = -1;
            self.connection.data = r.cast();
            self.event.data = (&raw mut self.connection).cast();
            self.event.handler = Some(on_timer);
            self.event.log = (*(*r).connection).log;
            ngx_add_timer(&raw mut self.event, msec as ngx_msec_t);
        }
    }
}

unsafe extern "C" fn on_timer(event: *mut ngx_event_t) {
    // SAFETY: what wait() has set; the request was suspended there. Its handler is one of our entry
    // points, behind the panic boundary, or one of NGINX's.
    unsafe { resume((*(*event).data.cast::<ngx_connection_t>()).data.cast()) }
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
