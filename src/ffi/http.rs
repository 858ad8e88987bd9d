//! A request that a content handler or a variable is evaluated for.

use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_POST, NGX_OK, ngx_buf_t, ngx_chain_t,
    ngx_connection_t, ngx_create_temp_buf, ngx_http_arg, ngx_http_core_loc_conf_t,
    ngx_http_core_module, ngx_http_discard_request_body, ngx_http_finalize_request,
    ngx_http_output_filter, ngx_http_request_t, ngx_http_send_header, ngx_int_t, ngx_list_part_t,
    ngx_list_push, ngx_palloc, ngx_str_t, ngx_table_elt_t, ngx_uint_t, ngx_unescape_uri,
};

use super::log::Log;
use super::pool::keep_in_pool;
use super::request_bits;

/// One request, within one call from NGINX.
pub(crate) struct Request(*mut ngx_http_request_t);

impl Request {
    /// # Safety
    /// `r` is what NGINX passed to a handler; the value is used within that call only.
    pub(crate) unsafe fn from_raw(r: *mut ngx_http_request_t) -> Request {
        Request(r)
    }

    pub(crate) fn log(&self) -> Option<Log> {
        // SAFETY: a request has a connection, and that a log.
        unsafe { Log::from_raw((*(*self.0).connection).log) }
    }

    pub(crate) fn connection(&self) -> *mut ngx_connection_t {
        // SAFETY: r is valid (from_raw).
        unsafe { (*self.0).connection }
    }

    /// The configuration of a module for the request's location.
    ///
    /// # Safety
    /// The module's location configuration at `index` is NULL or a `T`.
    pub(crate) unsafe fn loc_conf<T>(&self, index: usize) -> Option<&T> {
        // SAFETY: by the contract; loc_conf has an entry for each HTTP module.
        unsafe { (*(*self.0).loc_conf.add(index)).cast::<T>().as_ref() }
    }

    /// As in `NGX_HTTP_GET`; 0 is a method that NGINX does not know.
    pub(crate) fn method(&self) -> u32 {
        // SAFETY: r is valid.
        unsafe { (*self.0).method as u32 }
    }

    /// Whether a client sent it: not a part of another request's answer, nor a mirrored one.
    pub(crate) fn is_main(&self) -> bool {
        // SAFETY: r is valid; main is r or the request that r is a part of.
        unsafe { ptr::eq(self.0, (*self.0).main) }
    }

    /// The decoded, normalized path.
    pub(crate) fn path(&self) -> &[u8] {
        // SAFETY: r is valid, and the text is in its pool.
        unsafe { (*self.0).uri.as_bytes() }
    }

    /// What the client asked for, as it came.
    pub(crate) fn raw_uri(&self) -> &[u8] {
        // SAFETY: as in path().
        unsafe { (*self.0).unparsed_uri.as_bytes() }
    }

    /// The query string, as it came.
    pub(crate) fn query(&self) -> &[u8] {
        // SAFETY: as in path().
        unsafe { (*self.0).args.as_bytes() }
    }

    /// The name of the location that the request is in.
    pub(crate) fn location_name(&self) -> &[u8] {
        // SAFETY: the core module has a location configuration for each request.
        unsafe {
            let core = (*(*self.0).loc_conf.add(ngx_http_core_module.ctx_index))
                .cast::<ngx_http_core_loc_conf_t>();
            (*core).name.as_bytes()
        }
    }

    /// The length of the body that the client announced; `None` when it did not.
    pub(crate) fn content_length(&self) -> Option<u64> {
        // SAFETY: r is valid.
        u64::try_from(unsafe { (*self.0).headers_in.content_length_n }).ok()
    }

    /// Whether there is a body that nobody has read yet.
    pub(crate) fn has_body(&self) -> bool {
        // SAFETY: r is valid.
        let is_open =
            unsafe { (*self.0).request_body.is_null() && request_bits::is_chunked(self.0) != 0 };
        is_open || self.content_length().is_some_and(|length| length > 0)
    }

    /// The values of a header of the request, joined as RFC 9110 (section 5.3) has it.
    pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
        let mut joined: Option<Vec<u8>> = None;
        // SAFETY: the list is the request's, of ngx_table_elt_t in parts of nelts each.
        unsafe {
            let mut part: *const ngx_list_part_t = &raw const (*self.0).headers_in.headers.part;
            while let Some(fields) = part.as_ref() {
                for i in 0..fields.nelts {
                    let field = &*fields.elts.cast::<ngx_table_elt_t>().add(i);
                    if !field.key.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                        continue;
                    }
                    match &mut joined {
                        Some(value) => {
                            value.extend_from_slice(b", ");
                            value.extend_from_slice(field.value.as_bytes());
                        }
                        None => joined = Some(field.value.as_bytes().to_vec()),
                    }
                }
                part = fields.next;
            }
        }
        joined
    }

    /// The host and port of an HTTP/2 or HTTP/3 request (`:authority`), or of a request line with a whole URI.
    pub(crate) fn authority(&self) -> Option<&[u8]> {
        // SAFETY: both are NULL, or the ends of one string that lives as long as the request: in its
        // header buffers or its pool (ngx_http_v2_parse_authority, ngx_http_v3_process_pseudo_header).
        unsafe {
            let (start, end) = ((*self.0).host_start, (*self.0).host_end);
            if start.is_null() || end.is_null() {
                return None;
            }
            let length = usize::try_from(end.offset_from(start)).ok()?;
            Some(std::slice::from_raw_parts(start, length))
        }
    }

    /// Ends the request with what the sending came to. The request may be gone after that.
    pub(crate) fn finalize(&self, rc: ngx_int_t) {
        // SAFETY: r is valid, and its handler returns without a further use of it.
        unsafe { ngx_http_finalize_request(self.0, rc) }
    }

    pub(crate) fn is_get_head_or_post(&self) -> bool {
        // SAFETY: r is valid.
        let method = unsafe { (*self.0).method };
        method & (NGX_HTTP_GET | NGX_HTTP_HEAD | NGX_HTTP_POST) as ngx_uint_t != 0
    }

    /// Reads and forgets the body; anything but `NGX_OK` is what the handler has to return.
    pub(crate) fn discard_body(&self) -> ngx_int_t {
        // SAFETY: r is valid and its body was not read.
        unsafe { ngx_http_discard_request_body(self.0) }
    }

    /// Whether there is a query string.
    pub(crate) fn has_args(&self) -> bool {
        // SAFETY: r is valid.
        unsafe { (*self.0).args.len > 0 }
    }

    /// How often an argument is in the query string, by its name in any case (`ngx_http_arg()`).
    pub(crate) fn count_of_arg(&self, name: &str) -> usize {
        // SAFETY: r is valid, and its query string with it.
        let args = unsafe { (*self.0).args.as_bytes() };
        let names =
            args.split(|byte| *byte == b'&').filter_map(|arg| arg.split(|b| *b == b'=').next());
        names.filter(|found| found.eq_ignore_ascii_case(name.as_bytes())).count()
    }

    /// An argument of the query string, percent-decoded. At most `limit` bytes are looked at.
    pub(crate) fn arg(&self, name: &str, limit: usize) -> Option<Vec<u8>> {
        let mut value = ngx_str_t { len: 0, data: ptr::null_mut() };
        // SAFETY: ngx_http_arg() reads `name` and sets value to a part of r->args;
        // ngx_unescape_uri() writes no more bytes than it reads.
        unsafe {
            let found = ngx_http_arg(self.0, name.as_ptr().cast_mut(), name.len(), &mut value);
            if found != NGX_OK as ngx_int_t {
                return None;
            }
            let mut text = value.as_bytes().to_vec();
            text.truncate(limit);
            let mut src = text.as_ptr().cast_mut();
            let mut decoded = vec![0u8; text.len()];
            let mut dst = decoded.as_mut_ptr();
            ngx_unescape_uri(&mut dst, &mut src, text.len(), 0);
            let len = dst.offset_from(decoded.as_ptr());
            decoded.truncate(usize::try_from(len).unwrap_or(0));
            Some(decoded)
        }
    }

    /// Adds a header to the answer; false when memory is short.
    pub(crate) fn add_header(&self, key: &'static str, value: &str) -> bool {
        let Some(value) = self.keep_text(value) else { return false };
        // SAFETY: the list is r's own; the key is static, the value in the request's pool.
        unsafe {
            let h = ngx_list_push(&raw mut (*self.0).headers_out.headers).cast::<ngx_table_elt_t>();
            if h.is_null() {
                return false;
            }
            // Fields that this version of NGINX has and we do not know (`next`) are zeroed.
            ptr::write_bytes(h, 0, 1);
            (*h).hash = 1;
            (*h).key = ngx_str_t { len: key.len(), data: key.as_ptr().cast_mut() };
            (*h).value = value;
            true
        }
    }

    /// Sends an answer that no cache may keep. Returns what the handler has to return.
    pub(crate) fn send(&self, status: u16, content_type: &'static str, body: &[u8]) -> ngx_int_t {
        let r = self.0;
        if !self.add_header("Cache-Control", "no-store") {
            return NGX_ERROR as ngx_int_t;
        }
        // SAFETY: r is valid; the buffer is allocated from its pool with the body's length and
        // written within it; the chain link lives until ngx_http_output_filter() copied it.
        unsafe {
            (*r).headers_out.status = ngx_uint_t::from(status);
            // If-Match is the call's own: NGINX's filter would make a 412 of what has succeeded.
            request_bits::disable_not_modified(r);
            (*r).headers_out.content_length_n = body.len() as _;
            let text =
                ngx_str_t { len: content_type.len(), data: content_type.as_ptr().cast_mut() };
            (*r).headers_out.content_type = text;
            (*r).headers_out.content_type_len = content_type.len();
            (*r).headers_out.content_type_lowcase = ptr::null_mut();

            let rc = ngx_http_send_header(r);
            if rc == NGX_ERROR as ngx_int_t
                || rc > NGX_OK as ngx_int_t
                || request_bits::header_only(r) != 0
            {
                return rc;
            }

            let buf: *mut ngx_buf_t = ngx_create_temp_buf((*r).pool, body.len().max(1));
            let link = ngx_palloc((*r).pool, size_of::<ngx_chain_t>()).cast::<ngx_chain_t>();
            if buf.is_null() || link.is_null() {
                return NGX_ERROR as ngx_int_t;
            }
            ptr::copy_nonoverlapping(body.as_ptr(), (*buf).pos, body.len());
            (*buf).last = (*buf).pos.add(body.len());
            let is_main = ptr::eq(r, (*r).main);
            (*buf).set_last_buf(u32::from(is_main));
            (*buf).set_last_in_chain(1);
            link.write(ngx_chain_t { buf, next: ptr::null_mut() });
            ngx_http_output_filter(r, link)
        }
    }

    /// Keeps a value as the request's own of a module, for as long as the request lives; `None` when
    /// memory is short.
    #[allow(
        clippy::mut_from_ref,
        reason = "the value is in the request's pool, not in this handle"
    )]
    pub(crate) fn keep<T>(&self, index: usize, value: T) -> Option<&mut T> {
        // SAFETY: the pool is the request's; ctx has an entry for each HTTP module. A value that was
        // kept before is dropped with the pool, but is not reached any more.
        unsafe {
            let mut kept = keep_in_pool((*self.0).pool, value)?;
            *(*self.0).ctx.add(index) = kept.as_ptr().cast();
            Some(kept.as_mut())
        }
    }

    /// What `keep()` has kept.
    ///
    /// # Safety
    /// The module's entry is NULL or a `T`, and nobody else has a reference to it.
    #[allow(
        clippy::mut_from_ref,
        reason = "the value is in the request's pool, not in this handle"
    )]
    pub(crate) unsafe fn kept<T>(&self, index: usize) -> Option<&mut T> {
        // SAFETY: by the contract.
        unsafe { (*(*self.0).ctx.add(index)).cast::<T>().as_mut() }
    }

    /// Memory that lives as long as the request; `None` when there is none.
    pub(crate) fn keep_text(&self, text: &str) -> Option<ngx_str_t> {
        // SAFETY: the pool is the request's; the copy is within what was allocated.
        unsafe {
            let data = ngx_palloc((*self.0).pool, text.len().max(1)).cast::<u8>();
            if data.is_null() {
                return None;
            }
            ptr::copy_nonoverlapping(text.as_ptr(), data, text.len());
            Some(ngx_str_t { len: text.len(), data })
        }
    }
}
