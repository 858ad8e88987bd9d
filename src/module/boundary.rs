//! The one panic boundary: no panic crosses into C (P16).

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once, PoisonError};

use crate::ffi::log::{Level, Log};

/// Where the last panic happened. A panic's text is never kept: it could hold data.
static PLACE: Mutex<Option<(String, u32)>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Takes the place of the standard hook, which writes to stderr. Rust's runtime is linked into the
/// module, so this is nobody else's hook and goes with the module at dlclose().
fn install_hook() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| (at.file().to_owned(), at.line()));
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }));
}

/// Runs the body of an entry point. When it panics, one `[alert]` says where, and `failure` is the
/// entry point's answer. `entry` is what NGINX or OpenSSL called.
pub(super) fn guard<T>(
    entry: &'static str,
    log: Option<Log>,
    failure: T,
    body: impl FnOnce() -> T,
) -> T {
    HOOK.call_once(install_hook);

    // What a body changes across calls is behind RefCell and Cell, whose borrows a panic releases;
    // the zone has its own repair (the busy mark).
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            // Dropping a payload could panic again.
            std::mem::forget(payload);
            report(entry, log);
            failure
        }
    }
}

fn report(entry: &'static str, log: Option<Log>) {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (file, line) = place.unwrap_or_else(|| ("unknown".to_owned(), 0));
    if let Some(log) = log.or_else(Log::of_cycle) {
        log.write(
            Level::Alert,
            format_args!("rust_shared_cert: {entry} panicked at {file}:{line}"),
        );
    }
}

/// A panic on request, for the test of this boundary; nothing in a build that is installed.
#[cfg(feature = "fault-injection")]
#[allow(clippy::panic)]
pub(super) fn panic_if_asked(name: &[u8]) {
    assert!(!matches!(name, b"panic.fault.test" | b"panic_fault_test"), "asked for by a test");
}

#[cfg(not(feature = "fault-injection"))]
pub(super) fn panic_if_asked(_name: &[u8]) {}
