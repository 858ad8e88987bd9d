//! The directives. None has an effect outside the configuration that is being read.

use std::ffi::{c_char, c_void};
use std::rc::Rc;

use nginx_sys::{ngx_command_t, ngx_conf_t, ngx_http_core_loc_conf_t, ngx_http_core_module};

use super::boundary::{guard, panic_if_asked};
use super::conf::{LocationConf, MainConf, ServerConf, Setting, ZoneRef};
use super::zone::{self, ZoneConf};
use crate::ffi::conf::{CONF_ERROR, CONF_OK, Conf, parse_size};
use crate::ffi::log::Log;
use crate::ffi::shm;
use crate::files::{Pair, PathTemplate};
use crate::server_name::ServerName;

/// The files of a zone that names none, from the directory of nginx.conf.
const DEFAULT_CERT: &str = "certs/$ssl_server_name.cert.pem";
const DEFAULT_KEY: &str = "certs/$ssl_server_name.key.pem";

/// Parsed sets that a worker keeps for a zone, when the directive does not say.
const DEFAULT_WORKER_CACHE: usize = 10_000;

type Handled = Result<(), *mut c_char>;

/// Runs a directive handler; `T` is what the table's `conf` offset leads to.
///
/// # Safety
/// The arguments are those that NGINX passed, and `conf` is NULL or a `T`.
unsafe fn handle<T>(
    entry: &'static str,
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
    body: impl FnOnce(&Conf, &T) -> Handled,
) -> *mut c_char {
    // SAFETY: by the contract.
    let (log, conf) = unsafe { (Log::from_raw((*cf).log), conf.cast::<T>().as_ref()) };
    guard(entry, log, CONF_ERROR, || {
        let Some(conf) = conf else { return CONF_ERROR };
        // SAFETY: cf is used within this call only.
        match body(&unsafe { Conf::from_raw(cf) }, conf) {
            Ok(()) => CONF_OK,
            Err(rv) => rv,
        }
    })
}

/// `rust_shared_cert_zone zone=NAME:SIZE [cert=PATH key=PATH]... [worker_cache=NUMBER]`
pub(super) unsafe extern "C" fn cmd_add_zone(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: NGINX's arguments; the table says NGX_HTTP_MAIN_CONF_OFFSET.
    unsafe { handle("rust_shared_cert_zone", cf, conf, add_zone) }
}

/// `rust_shared_cert NAME | off [default=SERVER_NAME]`
pub(super) unsafe extern "C" fn cmd_set_shared_cert(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: NGINX's arguments; the table says NGX_HTTP_SRV_CONF_OFFSET.
    unsafe { handle("rust_shared_cert", cf, conf, set_shared_cert) }
}

/// `rust_shared_cert_clear NAME`
pub(super) unsafe extern "C" fn cmd_set_clear(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: NGINX's arguments; the table says NGX_HTTP_LOC_CONF_OFFSET.
    unsafe { handle("rust_shared_cert_clear", cf, conf, set_clear) }
}

/// What a directive handler returns to make NGINX print `"NAME" directive TEXT`.
fn refuse(text: &'static std::ffi::CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

fn invalid_parameter(cf: &Conf, word: &[u8]) -> *mut c_char {
    cf.emerg(format_args!("invalid parameter \"{}\"", word.escape_ascii()))
}

fn add_zone(cf: &Conf, main: &MainConf) -> Handled {
    let mut name_and_size = None;
    let mut files = FileParameters::default();
    let mut worker_cache = None;

    for word in cf.args().into_iter().skip(1) {
        if let Some(value) = word.strip_prefix(b"zone=") {
            if name_and_size.is_some() {
                return Err(invalid_parameter(cf, word));
            }
            name_and_size = Some(zone_name_and_size(cf, word, value)?);
        } else if let Some(value) = word.strip_prefix(b"cert=") {
            files.add_cert(cf, word, value)?;
        } else if let Some(value) = word.strip_prefix(b"key=") {
            files.add_key(cf, word, value)?;
        } else if let Some(value) = word.strip_prefix(b"worker_cache=") {
            let number = std::str::from_utf8(value).ok().and_then(|v| v.parse::<u32>().ok());
            match number {
                Some(number) if number > 0 && worker_cache.is_none() => {
                    worker_cache = Some(number as usize);
                }
                _ => return Err(invalid_parameter(cf, word)),
            }
        } else {
            return Err(invalid_parameter(cf, word));
        }
    }

    let Some((name, size)) = name_and_size else {
        return Err(
            cf.emerg(format_args!("\"rust_shared_cert_zone\" must have \"zone\" parameter"))
        );
    };
    let pairs = files.finish(cf)?;
    let worker_cache = worker_cache.unwrap_or(DEFAULT_WORKER_CACHE);
    panic_if_asked(name);

    let added = shm::add_zone(cf.as_ptr(), name, size, zone::tag(), zone::init_zone);
    let shm_zone = match added {
        Err(()) => return Err(CONF_ERROR),
        Ok(None) => {
            return Err(cf.emerg(format_args!("duplicate zone \"{}\"", name.escape_ascii())));
        }
        Ok(Some(shm_zone)) => shm_zone,
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let zone = Rc::new(ZoneConf::new(name, pairs, worker_cache, shm_zone));
    zone.attach_to(shm_zone);
    main.zones.borrow_mut().push(zone);
    Ok(())
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
    let Ok(value) = std::str::from_utf8(value) else { return Err(invalid_parameter(cf, word)) };
    if value.is_empty() {
        return Err(invalid_parameter(cf, word));
    }
    let Some(path) = cf.full_name(value) else { return Err(CONF_ERROR) };
    PathTemplate::parse(&path)
        .map_err(|e| cf.emerg(format_args!("\"{}\" {e}", word.escape_ascii())))
}

/// A name in a directive that must be a zone of this configuration.
fn zone_ref(cf: &Conf, name: &[u8]) -> Result<Rc<ZoneRef>, *mut c_char> {
    let text = std::str::from_utf8(name)
        .map_err(|_| cf.emerg(format_args!("invalid zone name \"{}\"", name.escape_ascii())))?;
    let reference = Rc::new(ZoneRef::new(text.to_owned(), cf.position()));
    // SAFETY: the directives of this table stand in the http block only.
    match unsafe { super::conf::main_conf(cf.as_ptr()) } {
        Some(main) => main.references.borrow_mut().push(Rc::clone(&reference)),
        None => return Err(CONF_ERROR),
    }
    Ok(reference)
}

fn set_shared_cert(cf: &Conf, conf: &ServerConf) -> Handled {
    if !conf.is_unset() {
        return Err(refuse(c"is duplicate"));
    }

    let args = cf.args();
    let name = args.get(1).copied().unwrap_or_default();
    let parameter = args.get(2).copied();

    if name == b"off" {
        if let Some(word) = parameter {
            return Err(invalid_parameter(cf, word));
        }
        *conf.setting.borrow_mut() = Setting::Off;
        return Ok(());
    }

    if let Some(word) = parameter {
        let default = word.strip_prefix(b"default=").and_then(ServerName::from_operator);
        let Some(default) = default else { return Err(invalid_parameter(cf, word)) };
        *conf.default_name.borrow_mut() = Some(default);
    }
    *conf.setting.borrow_mut() = Setting::Zone(zone_ref(cf, name)?);
    Ok(())
}

fn set_clear(cf: &Conf, conf: &LocationConf) -> Handled {
    if conf.clear.borrow().is_some() {
        return Err(refuse(c"is duplicate"));
    }
    let name = cf.args().get(1).copied().unwrap_or_default();
    *conf.clear.borrow_mut() = Some(zone_ref(cf, name)?);

    // SAFETY: the directive stands in a location, whose core configuration exists.
    unsafe {
        let ctx = (*cf.as_ptr()).ctx.cast::<nginx_sys::ngx_http_conf_ctx_t>();
        let core_index = ngx_http_core_module.ctx_index;
        let core = (*(*ctx).loc_conf.add(core_index)).cast::<ngx_http_core_loc_conf_t>();
        (*core).handler = Some(super::clear_handler::handle);
    }
    Ok(())
}
