//! Work that would keep the event loop waiting, in NGINX's thread pool where it has one.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use nginx_sys::{
    NGX_OK, NGX_PROCESS_WORKER, ngx_add_timer, ngx_conf_t, ngx_connection_t, ngx_cycle,
    ngx_del_timer, ngx_event_actions, ngx_event_t, ngx_http_request_t, ngx_int_t, ngx_log_t,
    ngx_process, ngx_str_t, ngx_thread_pool_add, ngx_thread_pool_get, ngx_thread_pool_t,
    ngx_thread_task_post, ngx_thread_task_t, ngx_uint_t,
};

use super::body::Handler;
use super::suspend::{resume, suspend};

/// A worker that is to end goes on while there is a timer; this one starts again until the work is
/// done.
const STAY_MSEC: usize = 60_000;

/// Asks for NGINX's pool named "default", as `aio threads` does; false when memory is short. While a
/// configuration is read.
pub(crate) fn need_pool(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: cf is valid in a directive handler; no name is the default pool's.
    unsafe { !ngx_thread_pool_add(cf, ptr::null_mut()).is_null() }
}

/// The pool of this worker; `None` where there is none, or where the event loop cannot be told of
/// the end of a task (`select`, `poll`). A single process starts no threads for the cycles that follow
/// its first.
fn pool() -> Option<NonNull<ngx_thread_pool_t>> {
    const NAME: &str = "default";
    let mut name = ngx_str_t { len: NAME.len(), data: NAME.as_ptr().cast_mut() };
    // SAFETY: integers of this thread; the running cycle; the name is only compared.
    unsafe {
        if ngx_process != NGX_PROCESS_WORKER as ngx_uint_t {
            return None;
        }
        ngx_event_actions.notify?;
        NonNull::new(ngx_thread_pool_get(ngx_cycle, &mut name))
    }
}

/// A piece of work and, when it is done, its result.
struct Work<T: Send> {
    task: ngx_thread_task_t,
    /// What NGINX's debug log expects behind `ev->data`; its own data is this.
    connection: ngx_connection_t,
    request: *mut ngx_http_request_t,
    handler: Handler,
    run: fn(&mut T),
    job: T,
}

/// The one handle of work that may be under way.
pub(crate) struct Handle<T: Send>(NonNull<Work<T>>);

impl<T: Send + 'static> Handle<T> {
    /// The job, once its request's handler was called.
    pub(crate) fn finish(self) -> T {
        let work = self.0;
        std::mem::forget(self);
        // SAFETY: made by Box::into_raw() in start(); the thread is through with it, as nothing but
        // on_done() calls that handler.
        unsafe { Box::from_raw(work.as_ptr()) }.job
    }
}

impl<T: Send> Drop for Handle<T> {
    /// With a request that NGINX ended: not before it was resumed.
    fn drop(&mut self) {
        // SAFETY: as in finish().
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Suspends the request and runs the job in a thread; then the handler is called. Without threads the
/// job is run at once, and given back.
///
/// # Safety
/// `r` is a main request in one of its handlers, and is not suspended.
pub(crate) unsafe fn start<T: Send + 'static>(
    r: *mut ngx_http_request_t,
    handler: Handler,
    mut job: T,
    run: fn(&mut T),
) -> Result<Handle<T>, T> {
    let Some(pool) = pool() else {
        run(&mut job);
        return Err(job);
    };
    // SAFETY: C structures that NGINX itself makes of zeroed memory.
    let (task, connection): (ngx_thread_task_t, ngx_connection_t) =
        unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
    let work = Box::new(Work { task, connection, request: r, handler, run, job });
    let work = NonNull::from(Box::leak(work));
    // SAFETY: the work is at one address until finish(); the pool's threads touch the task, and
    // through run_job() the job, until the event loop calls on_done().
    unsafe {
        let at = work.as_ptr();
        (*at).connection.fd = -1;
        (*at).connection.data = at.cast();
        (*at).task.ctx = at.cast();
        (*at).task.handler = Some(run_job::<T>);
        (*at).task.event.data = (&raw mut (*at).connection).cast();
        (*at).task.event.handler = Some(on_done::<T>);
        (*at).task.event.log = (*ngx_cycle).log;
        if ngx_thread_task_post(pool.as_ptr(), &raw mut (*at).task) != NGX_OK as ngx_int_t {
            // The queue is full: nobody else has it.
            let mut work = Box::from_raw(at);
            (work.run)(&mut work.job);
            return Err(work.job);
        }
        suspend(r);
        ngx_add_timer(&raw mut (*at).task.event, STAY_MSEC);
    }
    Ok(Handle(work))
}

unsafe extern "C" fn run_job<T: Send>(ctx: *mut c_void, _log: *mut ngx_log_t) {
    // SAFETY: what start() has set; the thread alone uses the job now. `run` does not panic: it has
    // a boundary of its own.
    unsafe {
        let work = ctx.cast::<Work<T>>();
        ((*work).run)(&mut (*work).job);
    }
}

unsafe extern "C" fn on_done<T: Send>(event: *mut ngx_event_t) {
    // SAFETY: what start() has set; the request was suspended there. The thread is through with the
    // work, unless it is the timer that has called.
    unsafe {
        if (*event).timedout() != 0 {
            (*event).set_timedout(0);
            ngx_add_timer(event, STAY_MSEC);
            return;
        }
        if (*event).timer_set() != 0 {
            ngx_del_timer(event);
        }
        let work = (*(*event).data.cast::<ngx_connection_t>()).data.cast::<Work<T>>();
        resume((*work).request, (*work).handler);
    }
}
