//! What jemalloc calls inside `malloc` and `free`. This file, with what it calls in this folder, is the hot path.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::collector::Collector;
use crate::error::Result;
use crate::system::{Profiling, keep_errno};

/// The collector that the hooks feed. Set once, never freed: a thread may be inside of a hook at any time.
static COLLECTOR: AtomicPtr<Collector> = AtomicPtr::new(std::ptr::null_mut());

/// Directs jemalloc's samples to `collector`.
pub(super) fn install(collector: &'static Collector) -> Result<()> {
    COLLECTOR.store(std::ptr::from_ref(collector).cast_mut(), Ordering::Release);
    Profiling::install_hooks(sample, sample_free)
}

/// Samples whose stack was not looked for.
static WITHOUT_STACK: AtomicU64 = AtomicU64::new(0);

/// The collector; none in a forked child, where a lock of the live set may be held by a thread that does not exist.
fn collector() -> Option<&'static Collector> {
    // SAFETY: null, or the `&'static Collector` that `install` stored.
    unsafe { COLLECTOR.load(Ordering::Acquire).as_ref() }.filter(|collector| !collector.is_quiet())
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
    keep_errno(|| collector.sampled(address as u64, requested as u64, usable as u64, frames));
}

/// jemalloc's free hook: runs before the object is freed, also in late thread-local destructors.
unsafe extern "C" fn sample_free(address: *const c_void, usable: usize) {
    if let Some(collector) = collector() {
        keep_errno(|| collector.freed(address as u64, usable as u64));
    }
}

/// In place of an unwinder: no stack.
#[cfg(feature = "cpu")]
pub(super) unsafe extern "C" fn no_backtrace(_frames: *mut *mut c_void, depth: *mut c_uint, _room: c_uint) {
    WITHOUT_STACK.fetch_add(1, Ordering::Relaxed);
    // SAFETY: jemalloc hands a valid place for the number of frames.
    unsafe { *depth = 0 };
}

/// How many samples [`no_backtrace`] was asked about.
pub(super) fn without_stack() -> u64 {
    WITHOUT_STACK.load(Ordering::Relaxed)
}
