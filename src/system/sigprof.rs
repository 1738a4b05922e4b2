//! SIGPROF, the signal of CPU profilers.

/// Runs `work` with SIGPROF held back from this thread until it is done.
pub(crate) fn without_sigprof<T>(work: impl FnOnce() -> T) -> T {
    let mut only = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid places; `only` is initialised before it is read, and `before` by a call that does not
    // fail with these arguments. None of these allocates.
    unsafe {
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), libc::SIGPROF);
        if libc::pthread_sigmask(libc::SIG_BLOCK, only.as_ptr(), before.as_mut_ptr()) != 0 {
            return work();
        }
    }
    let result = work();
    // SAFETY: `before` was written by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

/// The address of the function that handles SIGPROF; `None` when the signal is ignored or ends the process.
pub(crate) fn sigprof_handler() -> Option<usize> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action changes nothing, and `action` is a valid place; all zero is a value of it.
    let action = unsafe {
        libc::sigaction(libc::SIGPROF, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    Some(action.sa_sigaction).filter(|handler| ![libc::SIG_DFL, libc::SIG_IGN].contains(handler))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether SIGPROF, which is signal 27, is held back from this thread.
    fn is_held_back() -> bool {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(blocked.trim(), 16).unwrap() & 1 << 26 != 0
    }

    #[test]
    fn the_signal_is_held_back_for_as_long_and_no_longer() {
        assert!(!is_held_back());
        assert!(without_sigprof(|| is_held_back() && without_sigprof(is_held_back) && is_held_back()));
        assert!(!is_held_back());
        assert_eq!(sigprof_handler(), None);
    }
}
