//! `errno`, which `free` must leave as it was.

/// Runs `work` and puts `errno` back. C code relies on `free` not touching it (POSIX 2024, glibc 2.33), and a lock that
/// waits inside of a hook sets it.
#[inline]
pub(crate) fn keep_errno<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the C library gives every thread a valid place for its errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; no other thread refers to it.
    let before = unsafe { *errno };
    let result = work();
    // SAFETY: as above.
    unsafe { *errno = before };
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_work_leaves_in_errno_is_undone() {
        // SAFETY: the C library gives every thread a valid place for its errno.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; this thread's alone.
        unsafe { *errno = libc::EBADF };
        // SAFETY: as above.
        let result = keep_errno(|| unsafe {
            *errno = libc::EAGAIN;
            7
        });
        // SAFETY: as above.
        assert_eq!((result, unsafe { *errno }), (7, libc::EBADF));
    }
}
