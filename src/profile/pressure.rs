//! What the kernel tells of memory that runs short: pressure (PSI), and the events of the control group.
//!
//! Meanings: `Documentation/accounting/psi.rst`, `admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst` of Linux.

use std::fmt;
use std::time::Duration;

/// A share of time, as the kernel prints it: in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(pub u32);

impl Share {
    /// From 0 to 100.
    pub(crate) fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// From 0 to 1.
    pub(crate) fn ratio(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}%", self.percent())
    }
}

/// How much time was lost to waiting for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The share of the last 10 s.
    pub avg10: Share,
    /// The share of the last 60 s.
    pub avg60: Share,
    /// The share of the last 300 s.
    pub avg300: Share,
    /// In all, since the machine or the group started.
    pub total: Duration,
}

/// Memory pressure (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// Time in which some task waited for memory.
    pub some: Stall,
    /// Time in which all tasks that had something to do waited for memory.
    pub full: Stall,
    /// Whether it is of this process's control group alone, or of the whole machine.
    pub of_group: bool,
}

/// How often the memory control group got into trouble, since it was made. What the kernel does not tell is `None`: v1
/// tells `max` and `oom_kill` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupEvents {
    /// Reclaimed from, though below its `memory.low`.
    pub low: Option<u64>,
    /// Slowed down for being above its `memory.high`.
    pub high: Option<u64>,
    /// About to be above its limit.
    pub max: Option<u64>,
    /// At its limit with nothing to reclaim: an allocation was about to fail.
    pub oom: Option<u64>,
    /// Processes of it that the kernel killed for memory.
    pub oom_kill: Option<u64>,
}

/// One of the counts in [`CgroupEvents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupEvent {
    Low,
    High,
    Max,
    Oom,
    OomKill,
}

impl CgroupEvent {
    pub(crate) const ALL: [Self; 5] = [Self::Low, Self::High, Self::Max, Self::Oom, Self::OomKill];

    /// The kernel's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Max => "max",
            Self::Oom => "oom",
            Self::OomKill => "oom_kill",
        }
    }
}

impl CgroupEvents {
    /// How often `event` was counted; `None` when that is unknown.
    pub(crate) fn of(&self, event: CgroupEvent) -> Option<u64> {
        match event {
            CgroupEvent::Low => self.low,
            CgroupEvent::High => self.high,
            CgroupEvent::Max => self.max,
            CgroupEvent::Oom => self.oom,
            CgroupEvent::OomKill => self.oom_kill,
        }
    }

    /// Where the count of `event` is kept.
    pub(crate) fn of_mut(&mut self, event: CgroupEvent) -> &mut Option<u64> {
        match event {
            CgroupEvent::Low => &mut self.low,
            CgroupEvent::High => &mut self.high,
            CgroupEvent::Max => &mut self.max,
            CgroupEvent::Oom => &mut self.oom,
            CgroupEvent::OomKill => &mut self.oom_kill,
        }
    }
}
