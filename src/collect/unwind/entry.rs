//! Where a walk begins: the registers of whoever called a hook.
//!
//! A hook is three or four instructions that hand its caller's registers on and jump. It has no frame of its own, so
//! the first return address is the hook's, inside of jemalloc, and all unwinders give the same stack.

use std::ffi::{c_uint, c_void};

use super::engine::{walk_and_compare, walk_by_frame_pointers, walk_by_rules};
use super::rule::Registers;
use super::self_test::{Trial, try_out};

/// Whether there is code for this processor.
pub(super) const SUPPORTED: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Makes `$name` hand on its arguments, three at most, and in the next three the stack pointer after its return, the
/// frame pointer and the return address.
macro_rules! entry {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) => $target:path) => {
        $(#[$doc])*
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) {
            std::arch::naked_asm!(
                "endbr64",
                "lea rcx, [rsp + 8]",
                "mov r8, rbp",
                "mov r9, [rsp]",
                "jmp {target}",
                target = sym $target,
            )
        }

        $(#[$doc])*
        #[cfg(target_arch = "aarch64")]
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) {
            std::arch::naked_asm!(
                "bti c",
                "mov x3, sp",
                "mov x4, x29",
                "mov x5, x30",
                "b {target}",
                target = sym $target,
            )
        }

        $(#[$doc])*
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) {
            // Never installed: see SUPPORTED.
            let _ = ($($argument,)* $target as *const ());
        }
    };
}

entry! {
    /// jemalloc's backtrace hook: by the unwind tables.
    by_rules(frames: *mut *mut c_void, depth: *mut c_uint, room: c_uint) => walk_by_rules
}

entry! {
    /// jemalloc's backtrace hook: by frame pointers.
    by_frame_pointers(frames: *mut *mut c_void, depth: *mut c_uint, room: c_uint) => walk_by_frame_pointers
}

entry! {
    /// jemalloc's backtrace hook: by the one in use and by libgcc, which are compared.
    comparing(frames: *mut *mut c_void, depth: *mut c_uint, room: c_uint) => walk_and_compare
}

entry! {
    /// At the end of the self-test's chain of calls.
    end_of_chain(trial: *mut Trial<'_>, _unused: usize, _unused_too: usize) => try_out
}

#[cfg(test)]
entry! {
    /// Doubts frame pointers from here.
    doubting(engine: *mut c_void, _unused: usize, _unused_too: usize) => super::engine::tests::doubt_here
}

/// What an entry hands on.
#[inline(always)]
pub(super) fn registers(sp: u64, fp: u64, return_address: u64) -> Registers {
    #[cfg(target_arch = "aarch64")]
    let return_address = strip_signature(return_address);
    Registers { pc: return_address, sp, fp }
}

/// A return address without its signature (pointer authentication).
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn strip_signature(address: u64) -> u64 {
    let stripped: u64;
    // SAFETY: `xpaclri` takes the signature out of x30, and does nothing on processors that have none.
    unsafe {
        std::arch::asm!("mov x30, {0}", "hint #7", "mov {1}, x30", in(reg) address, lateout(reg) stripped,
            out("x30") _, options(nomem, nostack, preserves_flags));
    }
    stripped
}
