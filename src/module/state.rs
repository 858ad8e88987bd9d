//! `state=DIR` of a zone: the directory, and which instance of NGINX this is to it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nginx_sys::{
    NGX_PROCESS_SINGLE, ngx_cycle, ngx_cycle_t, ngx_inherited, ngx_new_binary, ngx_process,
    ngx_test_config,
};
use rustix::io::Errno;
use rustix::process::{getpid, getppid};

use super::zone::for_each_zone;
use crate::ffi::cycle::workers_uid;
use crate::files::failed_call;
use crate::host::Host;
use crate::state::{Durable, Instance, Ownership, Relatives, StateDirectory, StateError};

/// How long the master waits for writes by workers of another instance.
const PATIENCE: Duration = Duration::from_secs(5);

/// The parameter of a zone.
pub(super) struct StateConf {
    path: Option<PathBuf>,
    /// The cycle that is being configured; of use until that is done.
    cycle: *mut ngx_cycle_t,
    open: RefCell<Option<Rc<OpenState>>>,
    not_writable: RefCell<Option<StateError>>,
}

/// A directory in use, shared by the cycles of a master.
struct OpenState {
    durable: Durable,
    /// The master's; a worker closes what it inherits.
    instance: RefCell<Option<Instance>>,
}

/// What a zone finds in its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opened {
    /// What the zone has of it in the running cycle.
    #[default]
    Kept,
    /// Something else, or what another instance has left that took it over from this zone.
    Anew,
}

/// Why the directory cannot be used.
pub(super) enum StateFailure {
    State(StateError),
    /// A worker of another instance was stopped in a write.
    Busy(PathBuf),
    /// It is to be made in a directory that is not there.
    Parent(PathBuf, io::Error),
    /// Another zone has it.
    OfZone(String),
}

impl From<StateError> for StateFailure {
    fn from(error: StateError) -> StateFailure {
        StateFailure::State(error)
    }
}

impl fmt::Display for StateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateFailure::State(error) => error.fmt(f),
            StateFailure::Parent(path, error) => {
                let errno = error.raw_os_error().map(Errno::from_raw_os_error);
                f.write_str(&failed_call("mkdir", path, errno.unwrap_or(Errno::NOENT)))
            }
            StateFailure::OfZone(name) => write!(f, "it is that of zone \"{name}\" already"),
            StateFailure::Busy(path) => {
                write!(
                    f,
                    "\"{}\" is being written to by another process for too long",
                    path.display()
                )
            }
        }
    }
}

impl StateConf {
    pub(super) fn new(path: Option<String>, cycle: *mut ngx_cycle_t) -> StateConf {
        StateConf {
            path: path.map(PathBuf::from),
            cycle,
            open: None.into(),
            not_writable: None.into(),
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.path.is_some()
    }

    /// Whether both are of one directory.
    pub(super) fn is_same_as(&self, other: &StateConf) -> bool {
        match (&self.path, &other.path) {
            (Some(own), Some(other)) => resolved(own) == resolved(other),
            _ => false,
        }
    }

    /// The directory, once it is open.
    pub(super) fn durable(&self) -> Option<Durable> {
        self.open.borrow().as_ref().map(|open| open.durable.clone())
    }

    /// Opens the directory for the zone of that name, in the master. Unless it was kept, nobody else
    /// begins to write to it from then on, until the new cycle fails.
    pub(super) fn open(&self, zone: &str, host: &dyn Host) -> Result<Opened, StateFailure> {
        let Some(path) = &self.path else { return Ok(Opened::Kept) };
        // SAFETY: reads an integer that main() set.
        let is_test = unsafe { ngx_test_config } != 0;
        // SAFETY: the cycle is being initialised, its configuration was read.
        let owner = unsafe { workers_uid(self.cycle) };
        if let Some(open) = self.of_running_cycle(zone) {
            let directory = open.durable.directory();
            // What would fail at a start fails now.
            let there = match path.symlink_metadata() {
                Ok(_) => Some(StateDirectory::open(path, Some(owner))?),
                Err(_) => None,
            };
            let is_same = there.is_some_and(|there| there.is_same_as(directory));
            if is_same && !open.durable.is_read_only() {
                if let Err(error) = clear_places(directory, false, host) {
                    host.error(format_args!(
                        "the state directory does not take all pushes: {error}"
                    ));
                }
                let is_owned = match open.durable.ownership() {
                    Ok(Ownership::Mine | Ownership::Other) => true,
                    Ok(Ownership::Dead | Ownership::Nobody) => false,
                    // Pushes are refused until it is mended; the zone serves.
                    Err(error) if error.is_not_writable() => {
                        host.error(format_args!("the state directory takes no pushes: {error}"));
                        true
                    }
                    Err(error) => return Err(error.into()),
                };
                if is_owned {
                    *self.open.borrow_mut() = Some(open);
                    return Ok(Opened::Kept);
                }
            }
        }
        let directory = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_test => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                return match parent.map(Path::metadata) {
                    Some(Err(error)) => Err(StateFailure::Parent(path.clone(), error)),
                    _ => Ok(Opened::Kept),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                StateDirectory::create(path, owner)?
            }
            _ => StateDirectory::open(path, Some(owner))?,
        };
        self.check_alone(zone, &directory)?;
        let is_clear = clear_places(&directory, is_test, host);
        let begun = match is_clear {
            _ if is_test => Ok(read_only(&directory)),
            Ok(()) => begin(directory.clone()),
            Err(error) => Err(error),
        };
        let open = match begun {
            // What there is can be served. A reload that fails changes nothing.
            Err(error) if self.may_only_read(zone, &error) => self.only_reads(&directory, error),
            open => open?,
        };
        *self.open.borrow_mut() = Some(Rc::new(open));
        Ok(Opened::Anew)
    }

    /// Whether the directory may be read and not written to because of this: at a start, and where it was
    /// so until now. A lock that another process has had for too long is left to it, for each process of
    /// the workers' user can do that; but a binary that takes over from another does not begin then, and
    /// that one goes on.
    fn may_only_read(&self, zone: &str, error: &StateError) -> bool {
        // SAFETY: the running cycle, or the empty one that main() begins with, which has no
        // configuration (ngx_is_init_cycle()); and an integer that main() set.
        let (is_start, is_inherited) =
            unsafe { ((*ngx_cycle).conf_ctx.is_null(), ngx_inherited != 0) };
        let is_of_the_kind =
            error.is_not_writable() || (error.is_busy() && !(is_start && is_inherited));
        let was_so = || self.of_running_cycle(zone).is_some_and(|open| open.durable.is_read_only());
        is_of_the_kind && (is_start || was_so())
    }

    /// The directory to read only, for that reason.
    fn only_reads(&self, directory: &StateDirectory, error: StateError) -> OpenState {
        *self.not_writable.borrow_mut() = Some(error);
        read_only(directory)
    }

    /// Why it is open to read only.
    pub(super) fn not_writable(&self) -> Option<StateError> {
        self.not_writable.take()
    }

    /// What is one directory may have two paths.
    fn check_alone(&self, zone: &str, directory: &StateDirectory) -> Result<(), StateFailure> {
        let mut found = Ok(());
        for_each_zone(self.cycle, |other| {
            let open = other.state.open.borrow();
            let is_other = other.name() != zone;
            let durable = open.as_ref().filter(|_| is_other).map(|open| &open.durable);
            if durable.is_some_and(|durable| durable.directory().is_same_as(directory)) {
                found = Err(StateFailure::OfZone(other.name().to_owned()));
            }
        });
        found
    }

    /// Waits for the writes that had begun before; after `open()`, and when the zone that they are for
    /// takes none any more.
    pub(super) fn wait_for_writers(&self, zone: &str) -> Result<(), StateFailure> {
        let (Some(path), Some(durable)) = (&self.path, self.durable()) else { return Ok(()) };
        let directory = durable.directory();
        if durable.is_read_only() || directory.wait_for_writers(Instant::now() + PATIENCE)? {
            return Ok(());
        }
        let error = directory.busy();
        if !self.may_only_read(zone, &error) {
            return Err(StateFailure::Busy(path.clone()));
        }
        *self.open.borrow_mut() = Some(Rc::new(self.only_reads(directory, error)));
        Ok(())
    }

    /// The cycle has come to stay.
    pub(super) fn stay(&self, host: &dyn Host) {
        let open = self.open.borrow();
        let Some(open) = open.as_ref() else { return };
        if let Some(instance) = open.instance.borrow_mut().as_mut() {
            instance.stay();
            let path = open.durable.directory().path().display();
            for stranger in instance.strangers(&relatives()) {
                let process = stranger.map_or("not seen from here".to_owned(), |p| p.to_string());
                host.warn(format_args!(
                    "another NGINX (process {process}) has the state directory \"{path}\", too; \
                     it takes no pushes while this one runs"
                ));
            }
        }
    }

    /// That of another zone is not this one's, even if it is the same directory: its workers write
    /// what this zone would not see.
    fn of_running_cycle(&self, name: &str) -> Option<Rc<OpenState>> {
        let mut found = None;
        // SAFETY: the running cycle, or the empty one that main() begins with.
        for_each_zone(unsafe { ngx_cycle }, |zone| {
            if zone.name() == name && zone.state.path == self.path {
                found = zone.state.open.borrow().clone();
            }
        });
        found
    }

    /// For a worker: leaves the master's lock to the master.
    pub(super) fn close_inherited(&self) {
        // SAFETY: an integer that only this thread changes.
        if unsafe { ngx_process } == NGX_PROCESS_SINGLE as nginx_sys::ngx_uint_t {
            return;
        }
        if let Some(instance) = self.open.borrow().as_ref().and_then(|o| o.instance.take()) {
            instance.close_inherited();
        }
    }
}

fn read_only(directory: &StateDirectory) -> OpenState {
    OpenState { durable: Durable::read_only(directory.clone()), instance: None.into() }
}

/// Who may have the directory besides: the binary that this one takes over from, which is its parent, or
/// the one that takes over from this.
fn relatives() -> Relatives {
    // SAFETY: integers that only this thread changes.
    let (is_inherited, new_binary) = unsafe { (ngx_inherited != 0, ngx_new_binary) };
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    let child = (new_binary > 0).then_some(new_binary);
    let own = getpid().as_raw_nonzero().get();
    Relatives {
        pids: [Some(own), parent, child].into_iter().flatten().collect(),
        is_upgrade: is_inherited || child.is_some(),
    }
}

/// Removes what is in the place of the directory's own files and is none; a test tells of it. An error
/// says that something of it is there still.
fn clear_places(
    directory: &StateDirectory,
    is_test: bool,
    host: &dyn Host,
) -> Result<(), StateError> {
    let found = if is_test { directory.misplaced() } else { directory.remove_misplaced() };
    if let Some(first) = found.first {
        let done = if is_test {
            "a start removes it, or does not write to the state directory"
        } else {
            "it was removed"
        };
        match found.count {
            1 => host.warn(format_args!("{first}; {done}")),
            count => host.warn(format_args!("{first}; {done} (so for {count} in all)")),
        }
    }
    found.failed.map_or(Ok(()), Err)
}

/// The directory as that of an instance which may write to it from now on.
fn begin(directory: StateDirectory) -> Result<OpenState, StateError> {
    let mut instance = Instance::begin(&directory)?;
    directory.check_locks()?;
    instance.claim()?;
    let durable = Durable::new(directory, instance.name());
    Ok(OpenState { durable, instance: RefCell::new(Some(instance)) })
}

/// As the kernel would find it; one that is not there, as it is written.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.components().collect())
}
