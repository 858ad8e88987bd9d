//! `rust_shared_cert_api NAME [write=off|unix[:USER,...]|on]`

use std::rc::Rc;

use super::conf::{ApiConf, LocationConf, core_loc_conf, main_conf};
use super::directives::{Handled, invalid_parameter, refuse, zone_ref};
use crate::api::access::Write;
use crate::ffi::conf::{CONF_ERROR, Conf};
use crate::ffi::peer;

pub(super) fn set_api(cf: &Conf, conf: &LocationConf) -> Handled {
    if conf.api.borrow().is_some() {
        return Err(refuse(c"is duplicate"));
    }
    // SAFETY: the directive stands in a location, whose core configuration exists.
    let is_prefix_or_exact = unsafe {
        let core = &*core_loc_conf(cf.as_ptr());
        core.regex.is_null() && core.named() == 0
    };
    if !is_prefix_or_exact {
        return Err(cf.emerg(format_args!(
            "\"rust_shared_cert_api\" cannot be used in location given by regular expression, or \
             in named location"
        )));
    }

    let args = cf.args();
    let name = args.get(1).copied().unwrap_or_default();
    let write = match args.get(2) {
        None => Write::Off,
        Some(word) => {
            let value = word.strip_prefix(b"write=").ok_or_else(|| invalid_parameter(cf, word))?;
            parse_write(cf, word, value)?
        }
    };
    let api = Rc::new(ApiConf { zone: zone_ref(cf, name)?, write });
    // SAFETY: the directive stands in the http block only.
    match unsafe { main_conf(cf.as_ptr()) } {
        Some(main) => main.apis.borrow_mut().push(Rc::clone(&api)),
        None => return Err(CONF_ERROR),
    }
    *conf.api.borrow_mut() = Some(api);
    Ok(())
}

fn parse_write(cf: &Conf, word: &[u8], value: &[u8]) -> Result<Write, *mut std::ffi::c_char> {
    match value {
        b"off" => return Ok(Write::Off),
        b"on" => return Ok(Write::On),
        _ => {}
    }
    let mut uids = vec![0, peer::own_uid()];
    let users = match value.strip_prefix(b"unix") {
        Some(b"") => None,
        Some(rest) => Some(rest.strip_prefix(b":").ok_or_else(|| invalid_parameter(cf, word))?),
        None => return Err(invalid_parameter(cf, word)),
    };
    for user in users.into_iter().flat_map(|users| users.split(|b| *b == b',')) {
        let uid = std::str::from_utf8(user).ok().and_then(peer::uid_of);
        let Some(uid) = uid else {
            return Err(cf.emerg(format_args!(
                "user \"{}\" not found in \"{}\"",
                user.escape_ascii(),
                word.escape_ascii()
            )));
        };
        uids.push(uid);
    }
    uids.sort_unstable();
    uids.dedup();
    Ok(Write::Unix(uids))
}
