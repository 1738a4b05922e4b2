//! How much of the limit is in use, by one reading.

use std::fmt;

use super::Severity;
use crate::policy::Threshold;
use crate::profile::{ByteSize, MachineMemory, Reading};

/// Points above the threshold from which an alert is `medium` …
const MEDIUM_POINTS: u64 = 5;
/// … above which it is `high` …
const HIGH_POINTS: u64 = 15;
/// … and the share of the limit above which it is `high` in any case.
const HIGH_PERCENT: u64 = 95;
/// So many points below the threshold an alert is over, or a tenth of the threshold below it if that is less: a threshold of
/// some MiB on a large machine would be left never.
const HYSTERESIS_POINTS: u64 = 5;

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitOf {
    /// That of the control group.
    Cgroup,
    /// All memory of the machine: no control group sets a smaller one.
    Machine,
}

/// How much is in use, by one reading, beside limit and threshold; in bytes.
///
/// What counts is the higher one of RSS and what the control group uses. The group counts where it has a limit: what a group
/// without one uses, which may be the whole machine, is not for this service to answer for. For the same reason only
/// RSS counts against the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    /// Resident set size.
    pub(crate) rss: u64,
    /// What the control group uses, where it has a limit.
    pub(crate) usage: Option<u64>,
    /// The smaller one of the control group's limit and the machine's memory.
    pub(crate) limit: Option<(u64, LimitOf)>,
    /// The threshold.
    pub(crate) threshold: u64,
}

impl MemoryUse {
    /// `None` where the threshold is a share of a limit that is unknown.
    pub(crate) fn of(reading: &Reading, machine: &MachineMemory, threshold: Threshold) -> Option<Self> {
        let cgroup = reading.cgroup.limit.map(|limit| (limit, LimitOf::Cgroup));
        let machine = machine.total.map(|total| (total, LimitOf::Machine));
        let limit = cgroup.into_iter().chain(machine).filter(|(limit, _)| *limit > 0).min_by_key(|(limit, _)| *limit);
        Some(Self {
            rss: reading.process.rss,
            usage: reading.cgroup.usage.filter(|_| cgroup.is_some()),
            limit,
            threshold: threshold.bytes(limit.map(|(limit, _)| limit))?,
        })
    }

    /// What counts.
    pub(crate) fn used(&self) -> u64 {
        self.rss.max(self.usage.unwrap_or(0))
    }

    /// What counts, in percent of the limit.
    pub(crate) fn percent(&self) -> Option<f64> {
        self.share(self.used())
    }

    /// The threshold, in percent of the limit.
    pub(crate) fn threshold_percent(&self) -> Option<f64> {
        self.share(self.threshold)
    }

    fn share(&self, bytes: u64) -> Option<f64> {
        self.limit.map(|(limit, _)| 100.0 * bytes as f64 / limit as f64)
    }

    /// How bad it is; `None` at the threshold and below.
    ///
    /// In whole numbers, so that what is exactly at a boundary is on the side that it belongs to.
    pub(crate) fn severity(&self) -> Option<Severity> {
        let above = self.used().checked_sub(self.threshold).filter(|above| *above > 0)?;
        let over_limit = |(limit, _)| hundredfold(self.used()) > u128::from(HIGH_PERCENT) * u128::from(limit);
        Some(if hundredfold(above) > self.points(HIGH_POINTS) || self.limit.is_some_and(over_limit) {
            Severity::High
        } else if hundredfold(above) >= self.points(MEDIUM_POINTS) {
            Severity::Medium
        } else {
            Severity::Low
        })
    }

    /// Whether it is so far below the threshold that an alert is over.
    pub(crate) fn is_clear(&self) -> bool {
        let margin = self.points(HYSTERESIS_POINTS).min(u128::from(self.threshold) * 10);
        hundredfold(self.used()) + margin < hundredfold(self.threshold)
    }

    /// That many points, in hundredths of bytes. Of the limit; where none is known, of the threshold.
    fn points(&self, points: u64) -> u128 {
        u128::from(points) * u128::from(self.limit.map_or(self.threshold, |(limit, _)| limit))
    }
}

fn hundredfold(bytes: u64) -> u128 {
    100 * u128::from(bytes)
}

impl fmt::Display for MemoryUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ByteSize::bytes(self.used()))?;
        if let (Some(percent), Some((limit, of))) = (self.percent(), self.limit) {
            let whose = match of {
                LimitOf::Cgroup => "the memory limit",
                LimitOf::Machine => "the machine's memory",
            };
            write!(f, ", {percent:.1}% of {whose} of {}", ByteSize::bytes(limit))?;
        }
        Ok(())
    }
}
