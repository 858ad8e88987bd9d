//! Bits of a request, by functions of `request_bits.c`, which says why.

use nginx_sys::{ngx_http_request_t, ngx_uint_t};

// All take a request of NGINX that is live, in the thread of its event loop.
unsafe extern "C" {
    #[link_name = "ngx_http_rust_shared_cert_reading_body"]
    pub(super) fn reading_body(r: *mut ngx_http_request_t) -> ngx_uint_t;
    #[link_name = "ngx_http_rust_shared_cert_discards_body"]
    pub(super) fn discards_body(r: *mut ngx_http_request_t) -> ngx_uint_t;
    #[link_name = "ngx_http_rust_shared_cert_is_chunked"]
    pub(super) fn is_chunked(r: *mut ngx_http_request_t) -> ngx_uint_t;
    #[link_name = "ngx_http_rust_shared_cert_header_only"]
    pub(super) fn header_only(r: *mut ngx_http_request_t) -> ngx_uint_t;
    #[link_name = "ngx_http_rust_shared_cert_disable_not_modified"]
    pub(super) fn disable_not_modified(r: *mut ngx_http_request_t);
    #[link_name = "ngx_http_rust_shared_cert_read_body_unbuffered"]
    pub(super) fn read_body_unbuffered(r: *mut ngx_http_request_t);
    #[link_name = "ngx_http_rust_shared_cert_block"]
    pub(super) fn block(r: *mut ngx_http_request_t);
    #[link_name = "ngx_http_rust_shared_cert_unblock"]
    pub(super) fn unblock(r: *mut ngx_http_request_t);
}
