//! What jemalloc calls inside `malloc` and `free`. This file, with what it calls in this folder, is the hot path.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::collector::Collector;
use super::handover;
use crate::error::Result;
#[cfg(feature = "cpu")]
use crate::system::{BacktraceHook, without_sigprof};
use crate::system::{Profiling, keep_errno};

/// The collector that the hooks feed. Set once, never freed: a thread may be inside of a hook at any time.
static COLLECTOR: AtomicPtr<Collector> = AtomicPtr::new(std::ptr::null_mut());

/// Directs jemalloc's samples to `collector`.
pub(super) fn install(collector: &'static Collector) -> Result<()> {
    COLLECTOR.store(std::ptr::from_ref(collector).cast_mut(), Ordering::Release);
    Profiling::install_hooks(sample, sample_free)
}

/// The collector; none in a forked child, where a lock of the live set may be held by a thread that does not exist.
fn collector() -> Option<&'static Collector> {
    // SAFETY: null, or the `&'static Collector` that `install` stored.
    unsafe { COLLECTOR.load(Ordering::Acquire).as_ref() }.filter(|collector| !collector.is_quiet())
}

/// Whether this is a forked child, where nothing is collected.
#[inline]
pub(super) fn is_quiet() -> bool {
    // SAFETY: null, or the `&'static Collector` that `install` stored.
    unsafe { COLLECTOR.load(Ordering::Acquire).as_ref() }.is_some_and(Collector::is_quiet)
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
    keep_errno(|| collector.sampled(address as u64, requested as u64, usable as u64, handover::take(frames)));
}

/// jemalloc's free hook: runs before the object is freed, also in late thread-local destructors.
unsafe extern "C" fn sample_free(address: *const c_void, usable: usize) {
    if let Some(collector) = collector() {
        keep_errno(|| collector.freed(address as u64, usable as u64));
    }
}

/// The unwinder behind [`backtrace_undisturbed`], a `BacktraceHook`; null before the first CPU profile.
#[cfg(feature = "cpu")]
static UNWINDER: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Has jemalloc's unwinder run with SIGPROF held back; returns the hook to put back.
#[cfg(feature = "cpu")]
pub(super) fn shield_unwinding() -> Result<BacktraceHook> {
    let unwinder = Profiling::backtrace_hook()?;
    UNWINDER.store(unwinder as *mut c_void, Ordering::Release);
    Profiling::set_backtrace_hook(backtrace_undisturbed)?;
    Ok(unwinder)
}

/// In front of an unwinder that a CPU profiler's signal must not interrupt, to run the same unwinder again.
#[cfg(feature = "cpu")]
unsafe extern "C" fn backtrace_undisturbed(frames: *mut *mut c_void, depth: *mut c_uint, room: c_uint) {
    let unwinder = UNWINDER.load(Ordering::Acquire);
    if unwinder.is_null() {
        return;
    }
    // SAFETY: not null, so it is the hook that `shield_unwinding` stored.
    let unwinder: BacktraceHook = unsafe { std::mem::transmute(unwinder) };
    // SAFETY: called with what jemalloc calls it with.
    without_sigprof(|| unsafe { unwinder(frames, depth, room) });
}
