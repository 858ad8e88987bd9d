/*
 * Bits of a request, as the compiler lays them out. Since NGINX has the port of a request in the word
 * before them, what bindgen makes of them is two bits off for all that come after uri_changes.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


ngx_uint_t
ngx_http_rust_shared_cert_reading_body(ngx_http_request_t *r)
{
    return r->reading_body;
}


ngx_uint_t
ngx_http_rust_shared_cert_discards_body(ngx_http_request_t *r)
{
    return r->discard_body;
}


ngx_uint_t
ngx_http_rust_shared_cert_is_chunked(ngx_http_request_t *r)
{
    return r->headers_in.chunked;
}


ngx_uint_t
ngx_http_rust_shared_cert_header_only(ngx_http_request_t *r)
{
    return r->header_only;
}


void
ngx_http_rust_shared_cert_disable_not_modified(ngx_http_request_t *r)
{
    r->disable_not_modified = 1;
}


void
ngx_http_rust_shared_cert_read_body_unbuffered(ngx_http_request_t *r)
{
    r->request_body_no_buffering = 1;
    r->request_body_in_file_only = 0;
    r->request_body_in_persistent_file = 0;
    r->request_body_in_clean_file = 0;
    r->request_body_in_single_buf = 0;
}


/* Each wait of a request counts one; it is not freed before there is none. */

void
ngx_http_rust_shared_cert_block(ngx_http_request_t *r)
{
    r->main->blocked++;
}


void
ngx_http_rust_shared_cert_unblock(ngx_http_request_t *r)
{
    if (r->main->blocked) {
        r->main->blocked--;
    }
}
