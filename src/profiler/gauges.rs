//! Takes readings.

use std::path::Path;
use std::time::{Instant, SystemTime};

use crate::error::Result;
use crate::profile::Reading;
use crate::system::{
    AllocatorStats, CgroupEventsReader, CgroupReader, PressureReader, ProcessMemoryReader, SystemMemoryReader,
};

/// Takes readings of this process. What can fail on its own leaves a gap in the reading and an error in the list.
pub(crate) struct Gauges {
    started: Instant,
    process: ProcessMemoryReader,
    allocator: AllocatorStats,
    cgroup: CgroupReader,
    system: SystemMemoryReader,
    pressure: PressureReader,
    events: CgroupEventsReader,
}

impl Gauges {
    /// Opens what is read again and again.
    pub(crate) fn open(started: Instant) -> Result<Self> {
        Ok(Self {
            started,
            process: ProcessMemoryReader::open(Path::new("/proc/self"))?,
            allocator: AllocatorStats::open()?,
            cgroup: CgroupReader::discover(Path::new("/")),
            system: SystemMemoryReader::new(Path::new("/proc")),
            pressure: PressureReader::new(Path::new("/")),
            events: CgroupEventsReader::default(),
        })
    }

    /// A reading, which fails without RSS alone; errors of the other parts are passed to `failed`.
    pub(crate) fn read(&mut self, mut failed: impl FnMut(crate::Error)) -> Result<Reading> {
        let process = self.process.read()?;
        let mut or_gap = |error| failed(error);
        let allocator = self.allocator.read().map_err(&mut or_gap).ok();
        let cgroup = self.cgroup.read().map_err(&mut or_gap).unwrap_or_default();
        let pressure = self.pressure.read(self.cgroup.unified()).map_err(&mut or_gap).unwrap_or_default();
        let events = self.events.read(self.cgroup.group()).map_err(&mut or_gap).unwrap_or_default();
        let system = self.system.read().map_err(&mut or_gap).ok();
        let (time, uptime) = (SystemTime::now(), self.started.elapsed());
        Ok(Reading { time, uptime, process, allocator, cgroup, pressure, events, system })
    }

    /// When uptime began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Where the limit comes from, in words.
    pub(crate) fn describe_cgroup(&self) -> String {
        self.cgroup.describe()
    }
}
