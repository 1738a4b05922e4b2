//! What jemalloc calls inside `malloc` and `free`. This file, with what it calls in this folder, is the hot path.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::collector::Collector;
use crate::error::Result;
use crate::system::{Profiling, on_fork_in_child};

/// The collector that the hooks feed. Set once, never freed: a thread may be inside of a hook at any time.
static COLLECTOR: AtomicPtr<Collector> = AtomicPtr::new(std::ptr::null_mut());

/// True in a forked child: a lock of the live set may be held by a thread that does not exist there.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Directs jemalloc's samples to `collector`.
pub(super) fn install(collector: &'static Collector) -> Result<()> {
    on_fork_in_child(quiet_in_child)
        .map_err(|error| crate::error::Error::io("pthread_atfork for the allocator's hooks", error))?;
    COLLECTOR.store(std::ptr::from_ref(collector).cast_mut(), Ordering::Release);
    Profiling::install_hooks(sample, sample_free)
}

/// Whether this is a forked child, where nothing is collected any more.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

extern "C" fn quiet_in_child() {
    QUIET.store(true, Ordering::Relaxed);
}

fn collector() -> Option<&'static Collector> {
    if QUIET.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: null, or the `&'static Collector` that `install` stored.
    unsafe { COLLECTOR.load(Ordering::Acquire).as_ref() }
}

/// jemalloc's sample hook: runs before `malloc` returns, with none of jemalloc's profiling locks held.
unsafe extern "C" fn sample(
    address: *const c_void,
    requested: usize,
    frames: *mut *mut c_void,
    depth: c_uint,
    usable: usize,
) {
    let Some(collector) = collector() else { return };
    let frames = if frames.is_null() {
        &[]
    } else {
        // SAFETY: jemalloc hands `depth` return addresses that it does not touch while the hook runs; a pointer and
        // a u64 have the same size and alignment on the 64-bit targets that heapward supports.
        unsafe { std::slice::from_raw_parts(frames.cast::<u64>(), depth as usize) }
    };
    collector.sampled(address as u64, requested as u64, usable as u64, frames);
}

/// jemalloc's free hook: runs before the object is freed, also in late thread-local destructors.
unsafe extern "C" fn sample_free(address: *const c_void, usable: usize) {
    if let Some(collector) = collector() {
        collector.freed(address as u64, usable as u64);
    }
}
