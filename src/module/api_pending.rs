//! A call of the API that is not answered at once: its body is to be read, others are writing, a thread
//! is at work for it, or it has much to look at.
//!
//! What a handler finds out is done in two steps: the first has a reference to what is kept of the
//! request, the second, when that is gone, may end the request and free it.

use std::rc::Rc;

use nginx_sys::{NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_http_request_t, ngx_int_t};

use super::api_handler::{end, too_large, with_context};
use super::boundary::guard;
use super::zone::ZoneConf;
use crate::api::disk::Job;
use crate::api::precondition::Precondition;
use crate::api::reply::Reply;
use crate::api::route::Call;
use crate::api::transaction::{Next, Transaction};
use crate::api::write::{Change, internal_error};
use crate::api::{Context, metrics};
use crate::ffi::body::{self, Body, Progress};
use crate::ffi::http::Request;
use crate::ffi::suspend::Pause;
use crate::ffi::thread::{self, Handle};

/// What is kept of a request, in its pool.
pub(super) struct Pending {
    zone: Rc<ZoneConf>,
    call: Call,
    precondition: Precondition,
    body: Option<Body>,
    /// The answer that is settled already, once the body is read.
    refusal: Option<Reply>,
    transaction: Option<Transaction>,
    /// What a thread does for it.
    work: Option<Handle<Job>>,
    pause: Pause,
    /// How far a survey of the sets is.
    place: usize,
}

impl Pending {
    pub(super) fn new(zone: Rc<ZoneConf>, call: Call, precondition: Precondition) -> Pending {
        Pending {
            zone,
            call,
            precondition,
            body: None,
            refusal: None,
            transaction: None,
            work: None,
            pause: Pause::new(),
            place: 0,
        }
    }

    /// With a body of at most `limit` bytes to read; `length` is what was announced.
    pub(super) fn with_body(self, limit: usize, length: Option<u64>) -> Pending {
        Pending { body: Some(Body::new(limit, length)), ..self }
    }

    pub(super) fn with_refusal(self, reply: Reply) -> Pending {
        Pending { refusal: Some(reply), ..self }
    }

    /// `None` when memory is short.
    pub(super) fn keep(request: &Request, pending: Pending) -> Option<()> {
        request.keep(super::ctx_index(), pending).map(|_| ())
    }

    /// The request's own; `None` when it is not ours any more: an error page has taken over.
    #[allow(clippy::mut_from_ref, reason = "the value is in the request's pool, not in the handle")]
    fn of(request: &Request) -> Option<&mut Pending> {
        // SAFETY: keep() has put it there, or it is NULL. Handlers of one request run one after
        // another, and each has the one reference.
        unsafe { request.kept(super::ctx_index()) }
    }
}

/// What a handler has found out.
enum Step {
    Waits,
    Ends(Reply),
    /// By what NGINX has for it.
    Fails(ngx_int_t),
}

/// Reads the body, then goes on. Returns what the phase handler has to return.
pub(super) fn read_body(
    request: &Request,
    r: *mut ngx_http_request_t,
    pending: Pending,
) -> ngx_int_t {
    if Pending::keep(request, pending).is_none() {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    }
    // SAFETY: the request of a phase handler, which returns this.
    unsafe { body::begin(r, on_body) }
}

/// Answers the call that is kept, or begins to. Returns what the phase handler has to return.
pub(super) fn go_on(request: &Request, r: *mut ngx_http_request_t) -> ngx_int_t {
    take_step(request, |pending| advance(request, r, pending));
    NGX_DONE as ngx_int_t
}

/// When NGINX has begun to read the body, and whenever there is more of it.
unsafe extern "C" fn on_body(r: *mut ngx_http_request_t) {
    // SAFETY: NGINX's argument, valid until the request is finalized.
    let request = unsafe { Request::from_raw(r) };
    take_step(&request, |pending| read(&request, r, pending));
}

/// When a pause is over, or a thread is through.
unsafe extern "C" fn on_resume(r: *mut ngx_http_request_t) {
    // SAFETY: the request that was suspended, valid until it is finalized.
    let request = unsafe { Request::from_raw(r) };
    take_step(&request, |pending| advance(&request, r, pending));
}

fn take_step(request: &Request, step: impl FnOnce(&mut Pending) -> Step) {
    const ENTRY: &str = "rust_shared_cert_api";
    let log = request.log();
    let panicked = Some(Step::Fails(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t));
    let step = guard(ENTRY, log, panicked, || Pending::of(request).map(step));
    guard(ENTRY, log, (), || match step {
        None | Some(Step::Waits) => {}
        Some(Step::Ends(reply)) => {
            end(request, &reply);
        }
        Some(Step::Fails(rc)) => request.finalize(rc),
    });
}

fn read(request: &Request, r: *mut ngx_http_request_t, pending: &mut Pending) -> Step {
    let Some(body) = &mut pending.body else { return Step::Waits };
    // SAFETY: the request that NGINX called with.
    match unsafe { body.read(r, on_body) } {
        Progress::Waits => Step::Waits,
        Progress::Whole => match pending.refusal.take() {
            Some(reply) => Step::Ends(reply),
            None => advance(request, r, pending),
        },
        Progress::TooLarge => Step::Ends(pending.refusal.take().unwrap_or_else(too_large)),
        Progress::InFile => {
            let detail = "the body was read by another module before it came here";
            Step::Ends(Reply::problem(500, "the body is in a file", detail))
        }
        Progress::Failed(rc) => {
            pending.body = None;
            Step::Fails(rc)
        }
    }
}

/// Goes on with the change until it is made, refused, or has to wait.
fn advance(request: &Request, r: *mut ngx_http_request_t, pending: &mut Pending) -> Step {
    let zone = Rc::clone(&pending.zone);
    let mut finished = pending.work.take().map(Handle::finish);
    loop {
        let next = with_context(request, &zone, |context| next(pending, finished.take(), context));
        match next {
            Some(Ok(Next::Done(reply)) | Err(reply)) => return Step::Ends(reply),
            Some(Ok(Next::Wait { msec })) => {
                // SAFETY: a handler of the request, which is not suspended: it was called by whoever
                // suspended it, or by NGINX. The value is in the request's pool.
                unsafe { Pause::wait(&raw mut pending.pause, r, on_resume, msec) }
                return Step::Waits;
            }
            Some(Ok(Next::InThread(job))) => {
                // SAFETY: as above.
                match unsafe { thread::start(r, on_resume, job, Job::run) } {
                    Ok(work) => {
                        pending.work = Some(work);
                        return Step::Waits;
                    }
                    Err(job) => finished = Some(job),
                }
            }
            None => return Step::Ends(internal_error()),
        }
    }
}

fn next(
    pending: &mut Pending,
    finished: Option<Job>,
    context: &mut Context<'_>,
) -> Result<Next, Reply> {
    if let Call::Metrics { names } = pending.call {
        pending.zone.flush_counts();
        return Ok(match names {
            true => Next::Done(metrics::with_names(context)),
            false => metrics::without_names(&mut pending.place, context),
        });
    }
    if pending.transaction.is_none() {
        let change = change(pending, context);
        // The body is wiped, whatever it was.
        pending.body = None;
        pending.transaction = Some(Transaction::new(change?, pending.zone.durable()));
    }
    let Some(transaction) = &mut pending.transaction else { return Err(internal_error()) };
    if let Some(job) = finished {
        transaction.finished(job, context);
    }
    Ok(transaction.advance(context))
}

fn change(pending: &Pending, context: &mut Context<'_>) -> Result<Change, Reply> {
    let precondition = pending.precondition.clone();
    match &pending.call {
        Call::Put { name, options } => {
            let body = pending.body.as_ref().map(Body::bytes).unwrap_or_default();
            Change::put(name.clone(), precondition, *options, body, context)
        }
        Call::Delete { name } => Ok(Change::delete(name.clone(), precondition)),
        Call::Rollback { name, force } => Ok(Change::rollback(name.clone(), precondition, *force)),
        Call::DropPrevious { name } => Ok(Change::drop_previous(name.clone(), precondition)),
        _ => Err(internal_error()),
    }
}
