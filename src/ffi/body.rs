//! The body of a request, read into memory that is wiped, and nowhere else.
//!
//! NGINX's own way of reading puts a body that outgrows its buffer into a file, and keeps all of it
//! where variables find it. Unbuffered reading, which is made for proxies, hands each piece over:
//! it is copied, overwritten where it lay, and detached.

use std::ptr;

use nginx_sys::{
    NGX_AGAIN, NGX_DONE, NGX_ERROR, NGX_HTTP_SPECIAL_RESPONSE, ngx_http_block_reading,
    ngx_http_finalize_request, ngx_http_read_client_request_body,
    ngx_http_read_unbuffered_request_body, ngx_http_request_t, ngx_int_t,
};
use zeroize::{Zeroize, Zeroizing};

use super::request_bits;

/// What NGINX calls with a request.
pub(crate) type Handler = unsafe extern "C" fn(*mut ngx_http_request_t);

/// A body as far as it has come.
pub(crate) struct Body {
    /// Of its full capacity from the start: growing would leave copies behind.
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
    is_too_large: bool,
    is_in_file: bool,
}

/// What reading came to.
pub(crate) enum Progress {
    /// All of it is there.
    Whole,
    /// More is to come: the read handler is called again.
    Waits,
    TooLarge,
    /// NGINX had put it into a file before it was asked for it here: another module read it.
    InFile,
    /// What the request ends with.
    Failed(ngx_int_t),
}

impl Body {
    /// A body of at most `limit` bytes; `expected` is the length that was announced.
    pub(crate) fn new(limit: usize, expected: Option<u64>) -> Body {
        let capacity = expected.and_then(|n| usize::try_from(n).ok()).unwrap_or(limit).min(limit);
        Body {
            bytes: Zeroizing::new(Vec::with_capacity(capacity)),
            limit,
            is_too_large: false,
            is_in_file: false,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what NGINX has read. How many bytes that were.
    ///
    /// # Safety
    /// `r` is the request that NGINX called a handler with.
    unsafe fn take_pieces(&mut self, r: *mut ngx_http_request_t) -> usize {
        let mut count = 0;
        // SAFETY: by the contract; the buffers are the request's, each from pos to last of bytes that
        // nobody else reads: they were handed over to whoever reads the body.
        unsafe {
            let Some(body) = (*r).request_body.as_mut() else { return 0 };
            self.is_in_file |= !body.temp_file.is_null();
            let mut link = body.bufs;
            while let Some(piece) = link.as_ref() {
                let buf = &mut *piece.buf;
                self.is_in_file |= buf.in_file() != 0;
                if buf.in_file() == 0 && !buf.pos.is_null() && buf.last > buf.pos {
                    let len = buf.last.offset_from(buf.pos) as usize;
                    let bytes = std::slice::from_raw_parts_mut(buf.pos, len);
                    self.add(bytes);
                    bytes.zeroize();
                    buf.pos = buf.last;
                    count += len;
                }
                link = piece.next;
            }
            body.bufs = ptr::null_mut();
        }
        count
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.limit {
            self.is_too_large = true;
        } else {
            // Reserves nothing within the length that was announced; chunks have the whole limit.
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn settled(&self, otherwise: Progress) -> Progress {
        if self.is_in_file {
            Progress::InFile
        } else if self.is_too_large {
            Progress::TooLarge
        } else {
            otherwise
        }
    }

    /// Takes what there is. To be called first by the handler that `begin()` was given, then by the
    /// read handler until nothing waits.
    ///
    /// # Safety
    /// `r` is the request that NGINX called the handler with.
    pub(crate) unsafe fn read(&mut self, r: *mut ngx_http_request_t, again: Handler) -> Progress {
        // SAFETY: by the contract.
        unsafe {
            self.take_pieces(r);
            while request_bits::reading_body(r) != 0 {
                let rc = ngx_http_read_unbuffered_request_body(r);
                if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t || rc == NGX_ERROR as ngx_int_t {
                    // Not once more: an error page may be on its way by then.
                    (*r).read_event_handler = Some(ngx_http_block_reading);
                    self.take_pieces(r);
                    wipe_rest(r);
                    return Progress::Failed(rc);
                }
                let count = self.take_pieces(r);
                if self.is_too_large || self.is_in_file {
                    break;
                }
                // The event loop tells of no byte that was there before: asked until none is.
                if rc == NGX_AGAIN as ngx_int_t && count == 0 {
                    (*r).read_event_handler = Some(again);
                    return Progress::Waits;
                }
            }
            (*r).read_event_handler = Some(ngx_http_block_reading);
        }
        self.settled(Progress::Whole)
    }
}

/// Overwrites what was read of a body that is given up.
///
/// # Safety
/// `r` is a request whose connection reads nothing more from these buffers.
unsafe fn wipe_rest(r: *mut ngx_http_request_t) {
    // SAFETY: by the contract; each buffer is its own memory, the first from start to end, and that of
    // the header from pos to last is what came after the header.
    unsafe {
        if let Some(buf) = (*r).request_body.as_ref().and_then(|body| body.buf.as_ref()) {
            wipe(buf.start, buf.end);
        }
        // That of a stream is its connection's.
        let is_own = (*r).stream.is_null();
        if let Some(buf) = (*r).header_in.as_ref().filter(|_| is_own) {
            wipe(buf.pos, buf.last);
        }
    }
}

/// # Safety
/// Both are NULL, or in one buffer that nobody else has a reference to.
unsafe fn wipe(from: *mut u8, to: *mut u8) {
    if !from.is_null() && to > from {
        // SAFETY: by the contract.
        unsafe { std::slice::from_raw_parts_mut(from, to.offset_from(from) as usize) }.zeroize();
    }
}

/// Begins to read the body of a request; `handler` is called when there is something to take, maybe
/// at once. Returns what a phase handler has to return.
///
/// # Safety
/// `r` is the request of a phase handler, which returns the result without a further use of it.
pub(crate) unsafe fn begin(r: *mut ngx_http_request_t, handler: Handler) -> ngx_int_t {
    // SAFETY: by the contract. The flags are those that locations set before their body is read.
    unsafe {
        request_bits::read_body_unbuffered(r);
        let rc = ngx_http_read_client_request_body(r, Some(handler));
        if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            Body::new(0, None).take_pieces(r);
            wipe_rest(r);
            return rc;
        }
        ngx_http_finalize_request(r, NGX_DONE as ngx_int_t);
        NGX_DONE as ngx_int_t
    }
}
