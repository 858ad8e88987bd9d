//! What a cycle's configuration says of the process.

use nginx_sys::{ngx_core_conf_t, ngx_core_module, ngx_cycle_t};

/// The user that workers run as: of the `user` directive where the master is root, else its own.
///
/// # Safety
/// The configuration of the cycle was read.
pub(crate) unsafe fn workers_uid(cycle: *mut ngx_cycle_t) -> u32 {
    let own = rustix::process::geteuid();
    if !own.is_root() {
        return own.as_raw();
    }
    // SAFETY: by the contract; the core module has a configuration in each cycle, and its user was
    // set by ngx_core_module_init_conf().
    unsafe {
        let core = (*(*cycle).conf_ctx.add(ngx_core_module.index)).cast::<ngx_core_conf_t>();
        core.as_ref().map_or(0, |core| core.user)
    }
}
