//! What is known of stacks without asking anybody, and asking the kernel whether memory can be read.

use std::sync::atomic::{AtomicU64, Ordering};

/// The thread register: the address of this thread's control block. 0 on processors for which it is not known here.
#[inline]
pub(crate) fn thread_pointer() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let pointer: u64;
        // SAFETY: the first word of the control block is its own address (ELF TLS, variant II); it is only read.
        unsafe { std::arch::asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, readonly, preserves_flags)) };
        pointer
    }
    #[cfg(target_arch = "aarch64")]
    {
        let pointer: u64;
        // SAFETY: reads a register.
        unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
        pointer
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    0
}

/// An address above all frames of the main thread: where the kernel put the program's file name. 0 when it did not say.
#[inline]
pub(crate) fn top_of_main_stack() -> u64 {
    static TOP: AtomicU64 = AtomicU64::new(u64::MAX);
    match TOP.load(Ordering::Relaxed) {
        u64::MAX => {
            // SAFETY: reads what the kernel handed to the program; any number is allowed.
            let top = unsafe { libc::getauxval(libc::AT_EXECFN) } as u64;
            TOP.store(top, Ordering::Relaxed);
            top
        }
        top => top,
    }
}

/// Whether the word at `address`, a multiple of 8, can be read. A system call that changes nothing and that no sandbox
/// refuses: the kernel copies a signal set before it looks at what to do with it, which is nothing it knows.
pub(crate) fn is_readable(address: u64) -> bool {
    const NOTHING: libc::c_int = -1;
    const SET_BYTES: usize = 8;
    // errno is the caller's, and this runs inside `malloc`.
    super::keep_errno(|| {
        // SAFETY: the kernel checks the address itself, refuses the command in any case, and writes nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                NOTHING,
                address as *const u64,
                std::ptr::null_mut::<u64>(),
                SET_BYTES,
            )
        };
        // SAFETY: the C library gives every thread a valid place for its errno.
        result == -1 && unsafe { *libc::__errno_location() } == libc::EINVAL
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_that_is_there_can_be_read() {
        let word = 7u64;
        assert!(is_readable(&raw const word as u64));
        assert!(is_readable(only_memory_that_is_there_can_be_read as *const () as u64 & !7));
        for nowhere in [8, 4096, 1 << 47, u64::MAX - 7, 0xffff_8000_0000_0000] {
            assert!(!is_readable(nowhere), "{nowhere:#x}");
        }
    }

    #[test]
    fn the_tops_of_stacks_are_above_what_is_in_use() {
        let local = 7u64;
        let here = std::hint::black_box(&raw const local) as u64;
        // A test runs on a thread of its own, whose stack is below that of the main thread.
        assert!(thread_pointer() > here && is_readable(thread_pointer() & !7));
        assert!(top_of_main_stack() > here && is_readable(top_of_main_stack() & !7));
    }
}
