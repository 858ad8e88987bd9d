//! Faults on request, for t/ only: a process that is killed or stopped at one of the stores that it does
//! to a zone while it holds the zone's lock.
//!
//! The test says which by a file of words that it writes to while NGINX runs; its path is in the
//! environment of the master.

use std::cell::Cell;
use std::fs::File;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::process::{Signal, getpid, kill_process};

/// Names the file.
const VARIABLE: &str = "TEST_SHARED_CERT_FAULTS";

/// The words of the file.
#[repr(C)]
struct Control {
    /// Stores that still happen before the fault; `u64::MAX` for no fault.
    left: AtomicU64,
    /// The number of the signal that the process gets from itself: SIGKILL or SIGSTOP.
    signal: AtomicU64,
    /// The stores so far.
    stores: AtomicU64,
    /// The process that had the fault.
    pid: AtomicU64,
    /// What `left` becomes then: another process has the same fault.
    next: AtomicU64,
}

static CONTROL: OnceLock<Option<&'static Control>> = OnceLock::new();

thread_local! {
    static HOLDS_LOCK: Cell<bool> = const { Cell::new(false) };
}

/// Before the workers are forked: they lose most of the environment.
pub(crate) fn begin() {
    CONTROL.get_or_init(|| {
        let path = std::env::var_os(VARIABLE)?;
        let file = File::options().read(true).write(true).open(path).ok()?;
        let (access, len) = (ProtFlags::READ | ProtFlags::WRITE, size_of::<Control>());
        // SAFETY: a new mapping, which is never removed; the test keeps the file as long as it is. All
        // who have it use it as atomic words.
        unsafe {
            let at = mmap(ptr::null_mut(), len, access, MapFlags::SHARED, &file, 0).ok()?;
            NonNull::new(at.cast::<Control>()).map(|at| at.as_ref())
        }
    });
}

/// The process takes the lock of a zone, or frees it.
pub(crate) fn set_holds_lock(holds: bool) {
    HOLDS_LOCK.set(holds);
}

/// Before each store.
pub(super) fn at_store() {
    if !HOLDS_LOCK.get() {
        return;
    }
    let Some(Some(control)) = CONTROL.get() else { return };
    control.stores.fetch_add(1, Ordering::Relaxed);
    match control.left.load(Ordering::Relaxed) {
        u64::MAX => {}
        0 => {
            let next = control.next.swap(u64::MAX, Ordering::Relaxed);
            control.left.store(next, Ordering::Relaxed);
            control.pid.store(getpid().as_raw_nonzero().get() as u64, Ordering::Relaxed);
            let signal = match control.signal.load(Ordering::Relaxed) {
                9 => Signal::KILL,
                _ => Signal::STOP,
            };
            let _ = kill_process(getpid(), signal);
        }
        left => control.left.store(left - 1, Ordering::Relaxed),
    }
}
