//! The directives. None has an effect outside the configuration that is being read.

use std::ffi::{c_char, c_void};
use std::rc::Rc;

use nginx_sys::{ngx_command_t, ngx_conf_t};

use super::boundary::guard;
use super::conf::{LocationConf, ServerConf, Setting, ZoneRef, core_loc_conf};
use super::{api_directive, zone_directive};
use crate::ffi::conf::{CONF_ERROR, CONF_OK, Conf};
use crate::ffi::log::Log;
use crate::server_name::ServerName;

pub(super) type Handled = Result<(), *mut c_char>;

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

/// `rust_shared_cert_zone zone=NAME:SIZE ...`: see `zone_directive`.
pub(super) unsafe extern "C" fn cmd_add_zone(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: NGINX's arguments; the table says NGX_HTTP_MAIN_CONF_OFFSET.
    unsafe { handle("rust_shared_cert_zone", cf, conf, zone_directive::add_zone) }
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

/// `rust_shared_cert_api NAME [write=off|unix[:USER,...]|on]`: see `api_directive`.
pub(super) unsafe extern "C" fn cmd_set_api(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: NGINX's arguments; the table says NGX_HTTP_LOC_CONF_OFFSET.
    unsafe { handle("rust_shared_cert_api", cf, conf, api_directive::set_api) }
}

/// What a directive handler returns to make NGINX print `"NAME" directive TEXT`.
pub(super) fn refuse(text: &'static std::ffi::CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

pub(super) fn invalid_parameter(cf: &Conf, word: &[u8]) -> *mut c_char {
    cf.emerg(format_args!("invalid parameter \"{}\"", word.escape_ascii()))
}

/// A name in a directive that must be a zone of this configuration.
pub(super) fn zone_ref(cf: &Conf, name: &[u8]) -> Result<Rc<ZoneRef>, *mut c_char> {
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
    unsafe { (*core_loc_conf(cf.as_ptr())).handler = Some(super::clear_handler::handle) };
    Ok(())
}
