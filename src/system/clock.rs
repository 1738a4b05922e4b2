//! Clocks. [`CoarseClock`] may be asked inside a hook: no allocation, no lock.

use std::time::Duration;

/// A monotonic clock of a few nanoseconds' cost and a few milliseconds' resolution.
#[derive(Debug)]
pub(crate) struct CoarseClock {
    start_millis: u64,
}

impl CoarseClock {
    /// A clock that reads 0 now.
    pub(crate) fn start() -> Self {
        Self { start_millis: now_millis() }
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed_millis(&self) -> u64 {
        now_millis().saturating_sub(self.start_millis)
    }
}

fn now_millis() -> u64 {
    let now = now(libc::CLOCK_MONOTONIC_COARSE);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// CPU time that all threads of this process have had, those that ended included.
pub(crate) fn process_cpu_time() -> Duration {
    let time = now(libc::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// By the C library, which knows the vDSO page: the coarse clock takes no system call, CPU time does. rustix looks for that page on
/// its own, and under valgrind finds one that is not there.
pub(super) fn now(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `now`, which is ours. It cannot fail: Linux has had these clocks since 2.6.32.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}
