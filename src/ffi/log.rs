//! NGINX's error log.

use std::fmt;
use std::ptr::NonNull;

use nginx_sys::{
    NGX_LOG_ALERT, NGX_LOG_EMERG, NGX_LOG_ERR, NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_cycle, ngx_log_t,
    ngx_uint_t,
};

/// The levels that the module uses (`ngx_log.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Emerg,
    Alert,
    Error,
    Warn,
    Notice,
}

impl Level {
    fn as_ngx(self) -> ngx_uint_t {
        (match self {
            Level::Emerg => NGX_LOG_EMERG,
            Level::Alert => NGX_LOG_ALERT,
            Level::Error => NGX_LOG_ERR,
            Level::Warn => NGX_LOG_WARN,
            Level::Notice => NGX_LOG_NOTICE,
        }) as ngx_uint_t
    }
}

/// A log to write to. Lines are cut by NGINX at 2,048 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Log(NonNull<ngx_log_t>);

impl Log {
    /// # Safety
    /// `log` is NULL or stays valid for as long as the value is used: the log of a cycle, of a
    /// connection or of a configuration that is being read, used within one call from NGINX.
    pub(crate) unsafe fn from_raw(log: *mut ngx_log_t) -> Option<Log> {
        NonNull::new(log).map(Log)
    }

    /// The log of the running cycle; `None` before there is one.
    pub(crate) fn of_cycle() -> Option<Log> {
        // SAFETY: NGINX sets ngx_cycle before it reads a configuration, and replaces it only in
        // the thread that we run in.
        unsafe {
            let cycle = ngx_cycle;
            if cycle.is_null() { None } else { Log::from_raw((*cycle).log) }
        }
    }

    /// Writes one line; NGINX adds time, pid and what the connection was doing.
    pub(crate) fn write(self, level: Level, text: fmt::Arguments<'_>) {
        let level = level.as_ngx();
        // SAFETY: the pointer is valid by the contract of from_raw().
        if level > unsafe { (*self.0.as_ptr()).log_level } {
            return;
        }
        let line = text.to_string();
        // SAFETY: the same; the line is written by its length.
        unsafe { ngx::log::log_error(level, self.0.as_ptr(), 0, line.as_bytes()) }
    }
}
