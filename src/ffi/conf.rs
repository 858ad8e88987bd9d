//! Reading of the configuration: arguments, errors with file and line, paths, sizes.

use std::ffi::c_char;
use std::fmt;
use std::slice;

use nginx_sys::{
    NGX_LOG_EMERG, NGX_OK, ngx_conf_full_name, ngx_conf_t, ngx_cycle_t, ngx_int_t,
    ngx_parse_offset, ngx_parse_time, ngx_pnalloc, ngx_str_t, ngx_uint_t,
};

/// What a directive handler returns when all is well (`NGX_CONF_OK`).
pub(crate) const CONF_OK: *mut c_char = std::ptr::null_mut();
/// What it returns when an error was logged (`NGX_CONF_ERROR`).
pub(crate) const CONF_ERROR: *mut c_char = usize::MAX as *mut c_char;

/// A place in a configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The configuration that NGINX is reading.
pub(crate) struct Conf(*mut ngx_conf_t);

impl Conf {
    /// # Safety
    /// `cf` is what NGINX passed to a handler; the value is used within that call only.
    pub(crate) unsafe fn from_raw(cf: *mut ngx_conf_t) -> Conf {
        Conf(cf)
    }

    pub(crate) fn as_ptr(&self) -> *mut ngx_conf_t {
        self.0
    }

    /// The words of the directive; the first is its name.
    pub(crate) fn args(&self) -> Vec<&[u8]> {
        // SAFETY: cf->args is an array of nelts ngx_str_t while a directive is being handled.
        unsafe {
            let args = (*self.0).args;
            if args.is_null() || (*args).nelts == 0 {
                return Vec::new();
            }
            let words = slice::from_raw_parts((*args).elts.cast::<ngx_str_t>(), (*args).nelts);
            words.iter().map(|w| w.as_bytes()).collect()
        }
    }

    /// Logs `[emerg]`; NGINX adds file and line. Returns what the handler has to return.
    pub(crate) fn emerg(&self, text: fmt::Arguments<'_>) -> *mut c_char {
        let text = text.to_string();
        // SAFETY: cf is valid by the contract of from_raw(); "%*s" takes the two that follow.
        unsafe {
            nginx_sys::ngx_conf_log_error(
                NGX_LOG_EMERG as ngx_uint_t,
                self.0,
                0,
                c"%*s".as_ptr(),
                text.len(),
                text.as_ptr(),
            );
        }
        CONF_ERROR
    }

    /// Where the directive stands.
    pub(crate) fn position(&self) -> Position {
        // SAFETY: conf_file is NULL or valid while the configuration is being read.
        unsafe {
            let file = (*self.0).conf_file;
            if file.is_null() {
                return Position::default();
            }
            Position {
                file: String::from_utf8_lossy((*file).file.name.as_bytes()).into_owned(),
                line: (*file).line,
            }
        }
    }

    /// A path as NGINX would open it: relative ones are taken from the directory of nginx.conf
    /// (`ngx_conf_full_name()`, as for `ssl_certificate`). `None` when memory is short.
    pub(crate) fn full_name(&self, path: &str) -> Option<String> {
        self.full_name_from(path, true)
    }

    /// As for temporary files: relative ones are taken from the prefix.
    pub(crate) fn full_name_in_prefix(&self, path: &str) -> Option<String> {
        self.full_name_from(path, false)
    }

    fn full_name_from(&self, path: &str, from_conf: bool) -> Option<String> {
        // SAFETY: cf and its cycle are valid; the copy in the pool is NUL-terminated as
        // ngx_conf_full_name() expects.
        unsafe {
            let cycle: *mut ngx_cycle_t = (*self.0).cycle;
            let data = ngx_pnalloc((*self.0).pool, path.len() + 1).cast::<u8>();
            if data.is_null() {
                return None;
            }
            std::ptr::copy_nonoverlapping(path.as_ptr(), data, path.len());
            data.add(path.len()).write(0);
            let mut name = ngx_str_t { len: path.len(), data };
            if ngx_conf_full_name(cycle, &mut name, from_conf.into()) != NGX_OK as ngx_int_t {
                return None;
            }
            String::from_utf8(name.as_bytes().to_vec()).ok()
        }
    }
}

/// A size in bytes with an optional `k`, `m` or `g`. `ngx_parse_offset()`: `ngx_parse_size()`
/// knows no `g`.
pub(crate) fn parse_size(text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return None;
    }
    let mut line = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
    // SAFETY: ngx_parse_offset() reads the len bytes of line and changes nothing in them.
    usize::try_from(unsafe { ngx_parse_offset(&mut line) }).ok()
}

/// A time in seconds, as NGINX writes them (`60s`, `5m`; a number alone is seconds).
pub(crate) fn parse_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut line = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
    // SAFETY: ngx_parse_time() reads the len bytes of line and changes nothing in them.
    u64::try_from(unsafe { ngx_parse_time(&mut line, 1) }).ok()
}

/// Logs `[emerg]` outside a directive, with the text as it is.
///
/// # Safety
/// `cf` is what NGINX passed to the caller.
pub(crate) unsafe fn emerg_plain(cf: *mut ngx_conf_t, text: fmt::Arguments<'_>) {
    // SAFETY: cf->log is valid while the configuration is being read.
    if let Some(log) = unsafe { super::log::Log::from_raw((*cf).log) } {
        log.write(super::log::Level::Emerg, text);
    }
}
