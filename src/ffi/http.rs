//! A request that a content handler or a variable is evaluated for.

use std::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_POST, NGX_OK, ngx_buf_t, ngx_chain_t,
    ngx_connection_t, ngx_create_temp_buf, ngx_http_arg, ngx_http_discard_request_body,
    ngx_http_output_filter, ngx_http_request_t, ngx_http_send_header, ngx_int_t, ngx_list_push,
    ngx_palloc, ngx_str_t, ngx_table_elt_t, ngx_uint_t, ngx_unescape_uri,
};

use super::log::Log;

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

    /// Adds a header to the answer. Both texts are static: NGINX keeps pointers to them.
    fn add_header(&self, key: &'static str, value: &'static str) -> bool {
        // SAFETY: the list is r's own; static texts outlive the request.
        unsafe {
            let h = ngx_list_push(&raw mut (*self.0).headers_out.headers).cast::<ngx_table_elt_t>();
            if h.is_null() {
                return false;
            }
            // Fields that this version of NGINX has and we do not know (`next`) are zeroed.
            ptr::write_bytes(h, 0, 1);
            (*h).hash = 1;
            (*h).key = ngx_str_t { len: key.len(), data: key.as_ptr().cast_mut() };
            (*h).value = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
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
            (*r).headers_out.content_length_n = body.len() as _;
            let text =
                ngx_str_t { len: content_type.len(), data: content_type.as_ptr().cast_mut() };
            (*r).headers_out.content_type = text;
            (*r).headers_out.content_type_len = content_type.len();
            (*r).headers_out.content_type_lowcase = ptr::null_mut();

            let rc = ngx_http_send_header(r);
            if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t || (*r).header_only() != 0 {
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
