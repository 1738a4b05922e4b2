//! What heapward watches beside the heap: its own process over time, its own slowness, and the machine's largest processes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::readings::Readings;
use super::slow::{Operation, SlowOperations};
use super::{Config, Shared};
use crate::error::Result;
use crate::profile::Reading;
use crate::system::{LargestProcesses, WalkLimits, largest_processes, process_cpu_time};

/// What a walk through all processes may take. 12 µs a process were seen, in a build that is not optimized.
const WALK: WalkLimits = WalkLimits { processes: 65_536, time: Duration::from_millis(250) };

/// For how long a walk is told again.
const FRESH: Duration = Duration::from_secs(1);

/// A process is told of from this share of the machine's memory on, in percent.
pub(crate) const LARGE_PERCENT: f64 = 1.0;

/// What heapward watches beside the heap.
pub(crate) struct Monitoring {
    pub(crate) readings: Readings,
    pub(crate) slow: SlowOperations,
    processes: Mutex<Option<Arc<Walk>>>,
}

/// A walk through all processes.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) begun: Instant,
    pub(crate) duration: Duration,
    pub(crate) found: Result<LargestProcesses>,
}

impl Monitoring {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            readings: Readings::new(config.readings),
            slow: SlowOperations::new(config.slow_operation),
            processes: Mutex::new(None),
        }
    }

    /// Notes a poll.
    pub(super) fn observe(&self, reading: &Reading) {
        self.readings.push(reading, process_cpu_time());
    }
}

impl Shared {
    /// CPU time that this process has had.
    pub(crate) fn cpu_time(&self) -> Duration {
        process_cpu_time()
    }

    /// The processes with more than [`LARGE_PERCENT`] of the `total` bytes of the machine, for the renderer's thread; of not
    /// longer than a second ago.
    pub(crate) fn largest_processes(&self, total: u64) -> Arc<Walk> {
        let monitoring = &self.monitoring;
        let mut last = monitoring.processes.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(walk) if walk.begun.elapsed() < FRESH => Arc::clone(walk),
            _ => {
                let _timed = monitoring.slow.time(Operation::Processes);
                let begun = Instant::now();
                let above = (total as f64 * LARGE_PERCENT / 100.0) as u64;
                let found = largest_processes(Path::new("/proc"), above, WALK);
                let walk = Arc::new(Walk { begun, duration: begun.elapsed(), found });
                *last = Some(Arc::clone(&walk));
                walk
            }
        }
    }
}
