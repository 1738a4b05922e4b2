//! libgcc's unwinder: what jemalloc uses by itself, what the others are judged by, and what does the walks that they
//! cannot.

use std::ffi::{c_int, c_void};
#[cfg(feature = "cpu")]
use std::sync::atomic::{AtomicBool, Ordering};

use super::rules::Frames;

/// Frames between the one that is asked for and the walk: those of this file and of whoever calls it.
const MOST_SKIPPED: u32 = 32;

/// `_URC_NO_REASON` and `_URC_END_OF_STACK` of unwind.h.
const GO_ON: c_int = 0;
const STOP: c_int = 5;

unsafe extern "C" {
    fn _Unwind_Backtrace(visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

/// Whether SIGPROF is to be held back meanwhile, because a CPU profiler's handler would run the same unwinder again.
#[cfg(feature = "cpu")]
pub(super) static SHIELDED: AtomicBool = AtomicBool::new(false);

struct Walk<'a, 'f> {
    from: u64,
    skipped: u32,
    frames: &'a mut Frames<'f>,
}

/// Puts `from`, a return address on this thread's stack, and all above it into `frames`, as jemalloc's own unwinder
/// does. Nothing when it does not come by there.
pub(super) fn walk(from: u64, frames: &mut Frames<'_>) {
    let mut walk = Walk { from, skipped: 0, frames };
    let argument: *mut Walk<'_, '_> = &raw mut walk;
    // SAFETY: `visit` gets `argument` back, and only during this call.
    let backtrace = || unsafe { _Unwind_Backtrace(visit, argument.cast()) };
    #[cfg(feature = "cpu")]
    if SHIELDED.load(Ordering::Relaxed) {
        crate::system::without_sigprof(backtrace);
        return;
    }
    backtrace();
}

extern "C" fn visit(context: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: the unwinder hands back what `walk` gave it, to which nothing else refers meanwhile.
    let walk = unsafe { &mut *walk.cast::<Walk<'_, '_>>() };
    // SAFETY: the context is the unwinder's own.
    let address = unsafe { _Unwind_GetIP(context) } as u64;
    if walk.frames.len() == 0 && address != walk.from {
        walk.skipped += 1;
        return if walk.skipped > MOST_SKIPPED || address == 0 { STOP } else { GO_ON };
    }
    if address != 0 && walk.frames.push(address) { GO_ON } else { STOP }
}

/// Where the function begins that holds the call before `return_address`.
pub(super) fn function_of(return_address: u64) -> u64 {
    // SAFETY: looks the address up; it need not be one.
    unsafe { _Unwind_FindEnclosingFunction(return_address.wrapping_sub(1) as *mut c_void) as u64 }
}
