//! CPU time. By the C library: under valgrind, rustix looks for a vDSO that is not there.

use std::time::Duration;

/// Of the process or of the calling thread, by the clock's number in libc.
pub fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `now`, which is ours.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0, "there is no such clock");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
