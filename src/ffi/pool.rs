//! Values that live as long as an NGINX pool.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use nginx_sys::{ngx_pool_cleanup_add, ngx_pool_t};

/// Moves a value into a pool, which drops it when it is destroyed. `None` when memory is short.
///
/// # Safety
/// The pool is alive, and code of this module may run when it is destroyed.
pub(crate) unsafe fn keep_in_pool<T>(pool: *mut ngx_pool_t, value: T) -> Option<NonNull<T>> {
    unsafe extern "C" fn drop_value<T>(data: *mut c_void) {
        // SAFETY: data is the value that keep_in_pool() wrote; NGINX runs a cleanup once.
        unsafe { ptr::drop_in_place(data.cast::<T>()) }
    }

    // What ngx_palloc() gives (NGX_ALIGNMENT).
    const { assert!(align_of::<T>() <= size_of::<usize>()) };
    // SAFETY: by the contract; with a size, ngx_pool_cleanup_add() allocates memory for the data.
    // The handler is set after the value is written.
    unsafe {
        let cleanup = NonNull::new(ngx_pool_cleanup_add(pool, size_of::<T>().max(1)))?;
        let data = NonNull::new((*cleanup.as_ptr()).data)?.cast::<T>();
        data.write(value);
        (*cleanup.as_ptr()).handler = Some(drop_value::<T>);
        Some(data)
    }
}
