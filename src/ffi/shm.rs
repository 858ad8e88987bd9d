//! The shared memory of a zone: its slab pool, its mutex, and the one block that we take from it.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

use nginx_sys::{
    ngx_conf_t, ngx_cycle, ngx_int_t, ngx_list_part_t, ngx_module_t, ngx_pagesize,
    ngx_shared_memory_add, ngx_shm_zone_t, ngx_shmtx_force_unlock, ngx_shmtx_trylock,
    ngx_shmtx_unlock, ngx_slab_alloc, ngx_slab_pool_t, ngx_str_t,
};

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::region::Region;
use crate::store::ZoneLock;

/// What `ngx_shm_zone_t.init` is.
pub(crate) type ZoneInit = unsafe extern "C" fn(*mut ngx_shm_zone_t, *mut c_void) -> ngx_int_t;

/// The least that a zone can have, bytes; the rule of NGINX's own zones.
pub(crate) fn least_size() -> usize {
    // SAFETY: ngx_pagesize is set by ngx_os_init() before a configuration is read.
    8 * unsafe { ngx_pagesize }
}

/// Adds a zone to the cycle that is being configured. `Ok(None)`: a zone of that name is there
/// already (`shm_zone->data` is set). `Err`: NGINX logged why.
pub(crate) fn add_zone(
    cf: *mut ngx_conf_t,
    name: &[u8],
    size: usize,
    tag: *mut ngx_module_t,
    init: ZoneInit,
) -> Result<Option<NonNull<ngx_shm_zone_t>>, ()> {
    let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
    // SAFETY: cf is valid in a directive handler; `name` points into cf->args, whose strings live
    // in the cycle's pool and so as long as the zone's list entry.
    unsafe {
        let zone = NonNull::new(ngx_shared_memory_add(cf, &mut name, size, tag.cast())).ok_or(())?;
        if !(*zone.as_ptr()).data.is_null() {
            return Ok(None);
        }
        (*zone.as_ptr()).init = Some(init);
        Ok(Some(zone))
    }
}

/// The zone of that name in the running cycle, mapped and with an initialised slab pool; of whatever
/// module. `None` when there is none. For use while a new cycle is being made: until then the
/// running one is not freed.
pub(crate) fn running_zone(name: &[u8]) -> Option<SharedZone> {
    let zone = any_running_zone(|zone| zone.shm.name.as_bytes() == name)?;
    // SAFETY: NGINX maps each zone of a running cycle and initialises its pool.
    unsafe { SharedZone::from_raw(zone) }
}

/// The first zone of the running cycle that is wanted.
fn any_running_zone(wanted: impl Fn(&ngx_shm_zone_t) -> bool) -> Option<NonNull<ngx_shm_zone_t>> {
    // SAFETY: ngx_cycle is the running cycle (or the empty one that main() starts with) and its
    // list of zones does not change any more; this runs in the thread that would replace it.
    unsafe {
        let mut part: *const ngx_list_part_t = &raw const (*ngx_cycle).shared_memory.part;
        while let Some(zones) = part.as_ref() {
            for i in 0..zones.nelts {
                let zone = zones.elts.cast::<ngx_shm_zone_t>().add(i);
                if wanted(&*zone) {
                    return NonNull::new(zone);
                }
            }
            part = zones.next;
        }
    }
    None
}

/// The size of a zone whose block is to have so many bytes: with its slab pool, in whole kilobytes.
pub(crate) fn zone_size_for(region_bytes: u64) -> u64 {
    /// `ngx_slab_page_t`, and no less than what the pool has at its start.
    const PAGE_ENTRY: u64 = 24;
    const POOL: u64 = 8 * 1024;
    // SAFETY: as in least_size().
    let page = unsafe { ngx_pagesize } as u64;
    let pages = (region_bytes + BLOCK_HEADER as u64).div_ceil(page) + 1;
    (pages * (page + PAGE_ENTRY) + POOL).next_multiple_of(1024)
}

/// Why a zone cannot be used.
#[derive(Debug)]
pub(crate) enum ShmError {
    /// The slab pool has no block of the size that it says is free.
    NoMemory,
}

impl fmt::Display for ShmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShmError::NoMemory => f.write_str("ngx_slab_alloc() failed"),
        }
    }
}

/// A zone that NGINX has mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SharedZone(NonNull<ngx_slab_pool_t>);

/// The block's length, kept in its first words, in front of what the store sees.
const BLOCK_HEADER: usize = 16;

impl SharedZone {
    /// # Safety
    /// `zone` is mapped and its slab pool initialised (`ngx_init_zone_pool()` ran), and stays
    /// mapped while the value is used: as long as the cycle that configured it.
    pub(crate) unsafe fn from_raw(zone: NonNull<ngx_shm_zone_t>) -> Option<SharedZone> {
        // SAFETY: by the contract of this function.
        NonNull::new(unsafe { (*zone.as_ptr()).shm.addr }.cast()).map(SharedZone)
    }

    /// Whether the running cycle has it: then it is mapped.
    pub(crate) fn is_in_running_cycle(self) -> bool {
        any_running_zone(|zone| zone.shm.addr == self.0.as_ptr().cast()).is_some()
    }

    /// Takes all pages of a new zone as one block; `log_ctx` ends NGINX's own messages.
    pub(crate) fn take_all(self) -> Result<Region, ShmError> {
        let pool = self.0.as_ptr();
        // SAFETY: the pool is initialised and no other process has it yet: this runs in the
        // master before it forks. The block is written within its `size` bytes.
        unsafe {
            (*pool).set_log_nomem(0);
            let size = (*pool).pfree * ngx_pagesize;
            let block =
                NonNull::new(ngx_slab_alloc(pool, size).cast::<u8>()).ok_or(ShmError::NoMemory)?;
            block.cast::<u64>().write(size as u64);
            (*pool).data = block.as_ptr().cast();
            Ok(Self::region_of(block, size))
        }
    }

    /// The block that `take_all()` took in this zone earlier; `None` when it did not. The zone may
    /// be that of any module: it is for the store to say whose the block's bytes are.
    pub(crate) fn taken(self) -> Option<Region> {
        let pool = self.0.as_ptr();
        // SAFETY: the pool is initialised; what data points to is read only where it is inside of
        // the zone, from behind the pool's own header to its end.
        unsafe {
            let block = NonNull::new((*pool).data.cast::<u8>())?;
            let (at, end) = (block.as_ptr() as usize, (*pool).end as usize);
            let room = end.checked_sub(at)?;
            if at < (*pool).start as usize || at % align_of::<u64>() != 0 || room <= BLOCK_HEADER {
                return None;
            }
            let size = usize::try_from(block.cast::<u64>().read()).ok()?;
            (size <= room && size > BLOCK_HEADER).then(|| Self::region_of(block, size))
        }
    }

    /// # Safety
    /// `block` has `size` bytes, more than `BLOCK_HEADER`, in the zone.
    unsafe fn region_of(block: NonNull<u8>, size: usize) -> Region {
        // SAFETY: by the contract of this function; pages are aligned for any word.
        unsafe { Region::from_raw(block.add(BLOCK_HEADER), size - BLOCK_HEADER) }
    }

    /// Leaves the whole mapping out of core dumps (P8); inherited by the workers.
    pub(crate) fn keep_out_of_core(self, zone: NonNull<ngx_shm_zone_t>) {
        // SAFETY: addr and size are those of the mapping. A kernel that refuses loses us nothing
        // but the protection.
        unsafe {
            let shm = &(*zone.as_ptr()).shm;
            rustix::mm::madvise(shm.addr.cast(), shm.size, rustix::mm::Advice::LinuxDontDump).ok();
        }
    }
}

// The one lock that NGINX frees for a dead worker (`ngx_unlock_mutexes()`). Only trylock:
// ngx_shmtx_lock() ends in a wait without a limit.
impl ZoneLock for SharedZone {
    fn try_lock(&self) -> bool {
        // SAFETY: the pool stays mapped by the contract of from_raw().
        let is_held = unsafe { ngx_shmtx_trylock(&raw mut (*self.0.as_ptr()).mutex) != 0 };
        #[cfg(feature = "fault-injection")]
        if is_held {
            super::fault::set_holds_lock(true);
        }
        is_held
    }

    // ngx_unlock_mutexes() runs in the master's handler of SIGCHLD, which is blocked while it works on
    // a configuration.
    fn free_if_holder_died(&self) {
        // SAFETY: the pool stays mapped; the word that locks is the pid of the holder, or 0. The child
        // is left to NGINX to reap.
        unsafe {
            let mutex = &raw mut (*self.0.as_ptr()).mutex;
            let holder = std::ptr::read_volatile((*mutex).lock) as i32;
            let Some(pid) = rustix::process::Pid::from_raw(holder) else { return };
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if let Ok(Some(_)) = waitid(WaitId::Pid(pid), options) {
                ngx_shmtx_force_unlock(mutex, holder as _);
            }
        }
    }

    fn unlock(&self) {
        #[cfg(feature = "fault-injection")]
        super::fault::set_holds_lock(false);
        // SAFETY: the same; NGINX ignores an unlock by a process that is not the holder.
        unsafe { ngx_shmtx_unlock(&raw mut (*self.0.as_ptr()).mutex) }
    }
}
