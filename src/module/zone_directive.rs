//! `rust_shared_cert_zone zone=NAME:SIZE [cert=PATH key=PATH]... [load=lazy|startup|off]
//! [valid=TIME|off] [state=DIR] [worker_cache=NUMBER] [password_file=FILE]`.

use std::cell::Cell;
use std::ffi::c_char;
use std::path::Path;
use std::rc::Rc;

use super::boundary::panic_if_asked;
use super::conf::MainConf;
use super::directives::{Handled, invalid_parameter};
use super::state::StateConf;
use super::zone::{self, ZoneConf};
use super::zone_init;
use crate::certificate::Passwords;
use crate::ffi::conf::{CONF_ERROR, Conf, parse_seconds, parse_size};
use crate::ffi::{shm, thread};
use crate::files::{Files, Pair, PathTemplate};
use crate::lookup::{Load, Settings};

/// The files of a zone that names none, from the directory of nginx.conf.
const DEFAULT_CERT: &str = "certs/$ssl_server_name.cert.pem";
const DEFAULT_KEY: &str = "certs/$ssl_server_name.key.pem";

/// Parsed sets that a worker keeps for a zone, when the directive does not say.
const DEFAULT_WORKER_CACHE: usize = 10_000;

/// After how long files are looked at again, when the directive does not say, ms.
const DEFAULT_VALID_MSEC: u64 = 60_000;

/// The parameters so far.
#[derive(Default)]
struct Parameters<'a> {
    name_and_size: Option<(&'a [u8], usize)>,
    files: FileParameters,
    load: Option<Load>,
    /// The inner one is that of `off`.
    valid_msec: Option<Option<u64>>,
    worker_cache: Option<usize>,
    passwords: Option<Passwords>,
    state: Option<Option<String>>,
}

pub(super) fn add_zone(cf: &Conf, main: &MainConf) -> Handled {
    let mut parameters = Parameters::default();
    for word in cf.args().into_iter().skip(1) {
        parameters.add(cf, word)?;
    }
    let Some((name, size)) = parameters.name_and_size else {
        return Err(
            cf.emerg(format_args!("\"rust_shared_cert_zone\" must have \"zone\" parameter"))
        );
    };
    // SAFETY: cf is valid in a directive handler.
    let cycle = unsafe { (*cf.as_ptr()).cycle };
    let state = StateConf::new(parameters.state.take().flatten(), cycle);
    check_state(cf, main, &state)?;
    let settings = parameters.settings(cf)?;
    panic_if_asked(name);

    let added = shm::add_zone(cf.as_ptr(), name, size, zone::tag(), zone_init::init_zone);
    let shm_zone = match added {
        Err(()) => return Err(CONF_ERROR),
        Ok(None) => {
            return Err(cf.emerg(format_args!("duplicate zone \"{}\"", name.escape_ascii())));
        }
        Ok(Some(shm_zone)) => shm_zone,
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let zone = Rc::new(ZoneConf::new(name, settings, state));
    zone.attach_to(shm_zone);
    main.zones.borrow_mut().push(zone);
    Ok(())
}

impl<'a> Parameters<'a> {
    fn add(&mut self, cf: &Conf, word: &'a [u8]) -> Handled {
        let invalid = || invalid_parameter(cf, word);
        if let Some(value) = word.strip_prefix(b"zone=") {
            set_once(&mut self.name_and_size, zone_name_and_size(cf, word, value)?)
        } else if let Some(value) = word.strip_prefix(b"cert=") {
            return self.files.add_cert(cf, word, value);
        } else if let Some(value) = word.strip_prefix(b"key=") {
            return self.files.add_key(cf, word, value);
        } else if let Some(value) = word.strip_prefix(b"load=") {
            set_once(&mut self.load, load(value).ok_or_else(invalid)?)
        } else if let Some(value) = word.strip_prefix(b"valid=") {
            set_once(&mut self.valid_msec, valid_msec(value).ok_or_else(invalid)?)
        } else if let Some(value) = word.strip_prefix(b"worker_cache=") {
            set_once(&mut self.worker_cache, positive(value).ok_or_else(invalid)?)
        } else if let Some(value) = word.strip_prefix(b"password_file=") {
            let path = path(cf, word, value)?;
            let passwords =
                Passwords::read(Path::new(&path)).map_err(|e| cf.emerg(format_args!("{e}")))?;
            set_once(&mut self.passwords, passwords)
        } else if let Some(value) = word.strip_prefix(b"state=") {
            let directory = match value {
                b"off" => None,
                value => Some(directory(cf, word, value)?),
            };
            set_once(&mut self.state, directory)
        } else {
            None
        }
        .ok_or_else(invalid)
    }

    fn settings(self, cf: &Conf) -> Result<Settings, *mut c_char> {
        let load = self.load.unwrap_or(Load::Lazy);
        let unused = match load {
            Load::Off if self.files.is_any() => Some("cert"),
            Load::Off if self.passwords.is_some() => Some("password_file"),
            Load::Off | Load::Startup if matches!(self.valid_msec, Some(Some(_))) => Some("valid"),
            _ => None,
        };
        if let Some(parameter) = unused {
            let load = if load == Load::Off { "off" } else { "startup" };
            return Err(cf.emerg(format_args!(
                "\"{parameter}\" parameter cannot be used with \"load={load}\""
            )));
        }
        let pairs = if load == Load::Off { Vec::new() } else { self.files.finish(cf)? };
        let default_valid = (load == Load::Lazy).then_some(DEFAULT_VALID_MSEC);
        Ok(Settings {
            load,
            files: Files::new(pairs, self.passwords.unwrap_or_default()),
            valid_msec: self.valid_msec.unwrap_or(default_valid),
            worker_cache: self.worker_cache.unwrap_or(DEFAULT_WORKER_CACHE),
            keeps_previous: Cell::new(false),
        })
    }
}

/// One zone would read what another has written, and take it for its own. Writes are done in threads.
fn check_state(cf: &Conf, main: &MainConf, state: &StateConf) -> Handled {
    if let Some(other) = main.zones.borrow().iter().find(|zone| zone.state.is_same_as(state)) {
        return Err(
            cf.emerg(format_args!("state directory is that of zone \"{}\" already", other.name()))
        );
    }
    if state.is_set() && !thread::need_pool(cf.as_ptr()) {
        return Err(CONF_ERROR);
    }
    Ok(())
}

/// `None` when it was set before.
fn set_once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value);
    Some(())
}

fn load(value: &[u8]) -> Option<Load> {
    match value {
        b"lazy" => Some(Load::Lazy),
        b"startup" => Some(Load::Startup),
        b"off" => Some(Load::Off),
        _ => None,
    }
}

/// The inner one is that of `off`.
fn valid_msec(value: &[u8]) -> Option<Option<u64>> {
    if value == b"off" {
        return Some(None);
    }
    let seconds = parse_seconds(value).filter(|seconds| *seconds > 0)?;
    Some(Some(seconds.checked_mul(1_000)?))
}

fn positive(value: &[u8]) -> Option<usize> {
    let number = std::str::from_utf8(value).ok()?.parse::<u32>().ok()?;
    (number > 0).then_some(number as usize)
}

fn zone_name_and_size<'a>(
    cf: &Conf,
    word: &[u8],
    value: &'a [u8],
) -> Result<(&'a [u8], usize), *mut c_char> {
    let parts = value.iter().position(|b| *b == b':').and_then(|at| value.split_at_checked(at));
    let Some((name, size)) = parts else {
        return Err(cf.emerg(format_args!("invalid zone size \"{}\"", word.escape_ascii())));
    };
    if name.is_empty() || std::str::from_utf8(name).is_err() {
        return Err(cf.emerg(format_args!("invalid zone name \"{}\"", word.escape_ascii())));
    }
    let Some(size) = size.get(1..).and_then(parse_size) else {
        return Err(cf.emerg(format_args!("invalid zone size \"{}\"", word.escape_ascii())));
    };
    if size < shm::least_size() {
        return Err(cf.emerg(format_args!("zone \"{}\" is too small", name.escape_ascii())));
    }
    Ok((name, size))
}

/// `cert=` and `key=`, which come in pairs, the certificate first.
#[derive(Default)]
struct FileParameters {
    pairs: Vec<Pair>,
    cert: Option<PathTemplate>,
}

impl FileParameters {
    fn add_cert(&mut self, cf: &Conf, word: &[u8], value: &[u8]) -> Handled {
        if self.cert.is_some() {
            return Err(cf.emerg(format_args!(
                "\"cert\" without \"key\" before \"{}\"",
                word.escape_ascii()
            )));
        }
        self.cert = Some(template(cf, word, value)?);
        Ok(())
    }

    fn add_key(&mut self, cf: &Conf, word: &[u8], value: &[u8]) -> Handled {
        let key = template(cf, word, value)?;
        match self.cert.take() {
            Some(cert) => {
                self.pairs.push(Pair { cert, key });
                Ok(())
            }
            None => {
                Err(cf
                    .emerg(format_args!("\"key\" without \"cert\" in \"{}\"", word.escape_ascii())))
            }
        }
    }

    fn is_any(&self) -> bool {
        self.cert.is_some() || !self.pairs.is_empty()
    }

    fn finish(mut self, cf: &Conf) -> Result<Vec<Pair>, *mut c_char> {
        if self.cert.is_some() {
            return Err(
                cf.emerg(format_args!("\"cert\" without \"key\" in \"rust_shared_cert_zone\""))
            );
        }
        if self.pairs.is_empty() {
            let cert = template(cf, DEFAULT_CERT.as_bytes(), DEFAULT_CERT.as_bytes())?;
            let key = template(cf, DEFAULT_KEY.as_bytes(), DEFAULT_KEY.as_bytes())?;
            self.pairs.push(Pair { cert, key });
        }
        Ok(self.pairs)
    }
}

fn template(cf: &Conf, word: &[u8], value: &[u8]) -> Result<PathTemplate, *mut c_char> {
    // What ssl_certificate takes besides paths: here it would become a part of one.
    if [&b"data:"[..], b"engine:", b"store:"].iter().any(|prefix| value.starts_with(prefix)) {
        return Err(cf.emerg(format_args!("\"{}\" must be a path", word.escape_ascii())));
    }
    PathTemplate::parse(&path(cf, word, value)?)
        .map_err(|e| cf.emerg(format_args!("\"{}\" {e}", word.escape_ascii())))
}

/// A directory, from NGINX's prefix.
fn directory(cf: &Conf, word: &[u8], value: &[u8]) -> Result<String, *mut c_char> {
    match std::str::from_utf8(value) {
        Ok(value) if !value.is_empty() => cf.full_name_in_prefix(value).ok_or(CONF_ERROR),
        _ => Err(invalid_parameter(cf, word)),
    }
}

/// A path, from the directory of nginx.conf.
fn path(cf: &Conf, word: &[u8], value: &[u8]) -> Result<String, *mut c_char> {
    match std::str::from_utf8(value) {
        Ok(value) if !value.is_empty() => cf.full_name(value).ok_or(CONF_ERROR),
        _ => Err(invalid_parameter(cf, word)),
    }
}
