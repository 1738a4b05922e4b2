//! Clocks. [`CoarseClock`] may be asked inside a hook: no allocation, no lock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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
    // Read from the vDSO page: no system call. rustix finds that page at its first call, which may open a file and
    // allocate; the first call is `CoarseClock::start`, before there are hooks.
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// CPU time that all threads of this process have had, those that ended included.
pub(crate) fn process_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
