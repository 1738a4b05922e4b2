//! The rule that asks for a snapshot when RSS stands above a threshold, and can say why it did not.

use std::fmt;
use std::time::Duration;

use super::{RateLimit, Reason, Threshold};
use crate::profile::{ByteSize, Reading};

/// How many readings in a row must be above the threshold. The kernel's RSS is approximate: one reading can be wrong.
const CONFIRMATIONS: u32 = 2;

/// What the trigger makes of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    /// A snapshot is due.
    Take(Reason),
    /// None is, and why.
    Hold(Hold),
}

/// Why no snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hold {
    /// RSS is not above the threshold.
    Below { rss: u64, threshold: u64 },
    /// It is, for the first time.
    Unconfirmed { rss: u64, threshold: u64 },
    /// It is, but the last snapshot is too young.
    TooSoon { left: Duration, interval: Duration },
    /// The threshold is a share of a limit that is unknown.
    UnknownLimit { threshold: Threshold },
    /// Memory could not be read.
    NoReading,
    /// Nothing has been read yet.
    NotYet,
}

/// ```text
///            above             above, interval over
///   below ──────────► once ─────────────────────────► take ─┐
///     ▲                 │ not above    ▲                    │
///     └─────────────────┴──────────────┼────── not above ───┤
///                                      └────────── above ───┘
/// ```
#[derive(Debug)]
pub(crate) struct Trigger {
    threshold: Threshold,
    limit: RateLimit,
    above_in_a_row: u32,
}

impl Trigger {
    /// A trigger that asks for at most one snapshot in `min_interval`.
    pub(crate) fn new(threshold: Threshold, min_interval: Duration) -> Self {
        Self { threshold, limit: RateLimit::new(min_interval), above_in_a_row: 0 }
    }

    /// What to do about a reading.
    pub(crate) fn decide(&mut self, reading: &Reading) -> Decision {
        let rss = reading.process.rss;
        let Some(threshold) = self.threshold.bytes(reading.cgroup.limit) else {
            self.above_in_a_row = 0;
            return Decision::Hold(Hold::UnknownLimit { threshold: self.threshold });
        };
        if rss <= threshold {
            self.above_in_a_row = 0;
            return Decision::Hold(Hold::Below { rss, threshold });
        }
        self.above_in_a_row = self.above_in_a_row.saturating_add(1);
        if self.above_in_a_row < CONFIRMATIONS {
            return Decision::Hold(Hold::Unconfirmed { rss, threshold });
        }
        match self.limit.wait(reading.uptime) {
            Some(left) => Decision::Hold(Hold::TooSoon { left, interval: self.limit.interval() }),
            None => Decision::Take(Reason::RssAboveThreshold { rss, threshold }),
        }
    }

    /// The snapshot that was asked for has been taken. One that failed is asked for again at the next reading.
    pub(crate) fn taken(&mut self, uptime: Duration) {
        self.limit.done(uptime);
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(reason) => write!(f, "taken: {reason}"),
            Self::Hold(hold) => write!(f, "not taken: {hold}"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = ByteSize::bytes;
        match *self {
            Self::Below { rss, threshold } => {
                write!(f, "RSS {} is not above the threshold {}", size(rss), size(threshold))
            }
            Self::Unconfirmed { rss, threshold } => write!(
                f,
                "RSS {} is above the threshold {} on one reading, and it takes {CONFIRMATIONS} in a row",
                size(rss),
                size(threshold)
            ),
            Self::TooSoon { left, interval } => {
                // Rounded up: "0 s left" would be a lie.
                write!(f, "{} s of the {} s interval left", left.as_secs_f64().ceil(), interval.as_secs_f64())
            }
            Self::UnknownLimit { threshold } => {
                write!(f, "the threshold is {threshold}, and the limit is unknown")
            }
            Self::NoReading => f.write_str("memory could not be read"),
            Self::NotYet => f.write_str("nothing has been read yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{CgroupMemory, ProcessMemory};
    use std::time::SystemTime;

    const MIB: u64 = 1 << 20;

    fn reading(seconds: u64, rss_mib: u64) -> Reading {
        Reading {
            time: SystemTime::UNIX_EPOCH,
            uptime: Duration::from_secs(seconds),
            process: ProcessMemory { rss: rss_mib * MIB, ..Default::default() },
            allocator: None,
            cgroup: CgroupMemory::default(),
            system: None,
        }
    }

    fn trigger() -> Trigger {
        Trigger::new(ByteSize::mib(100).into(), Duration::from_secs(60))
    }

    #[track_caller]
    fn check(trigger: &mut Trigger, seconds: u64, rss_mib: u64, expect: &str) {
        let decision = trigger.decide(&reading(seconds, rss_mib));
        assert_eq!(decision.to_string(), expect);
        if matches!(decision, Decision::Take(_)) {
            trigger.taken(Duration::from_secs(seconds));
        }
    }

    #[test]
    fn fires_on_the_second_reading_above_and_then_once_a_minute() {
        let trigger = &mut trigger();
        check(trigger, 0, 100, "not taken: RSS 100.0 MiB is not above the threshold 100.0 MiB");
        check(
            trigger,
            1,
            101,
            "not taken: RSS 101.0 MiB is above the threshold 100.0 MiB on one reading, and it takes 2 in a row",
        );
        check(trigger, 2, 102, "taken: RSS 102.0 MiB above the threshold 100.0 MiB");
        check(trigger, 25, 102, "not taken: 37 s of the 60 s interval left");
        check(trigger, 61, 102, "not taken: 1 s of the 60 s interval left");
        check(trigger, 62, 103, "taken: RSS 103.0 MiB above the threshold 100.0 MiB");
    }

    #[test]
    fn one_reading_below_starts_the_count_anew() {
        let trigger = &mut trigger();
        for seconds in 0..20 {
            let decision = trigger.decide(&reading(seconds, if seconds % 2 == 0 { 200 } else { 50 }));
            assert!(matches!(decision, Decision::Hold(_)), "{decision}");
        }
    }

    #[test]
    fn a_snapshot_that_failed_is_asked_for_again() {
        let mut trigger = trigger();
        trigger.decide(&reading(0, 200));
        assert!(matches!(trigger.decide(&reading(1, 200)), Decision::Take(_)));
        assert!(matches!(trigger.decide(&reading(2, 200)), Decision::Take(_)));
    }

    #[test]
    fn a_share_of_the_limit_needs_the_limit() {
        let mut trigger = Trigger::new(Threshold::PercentOfLimit(50.0), Duration::from_secs(60));
        let mut with_limit = reading(0, 101);
        assert_eq!(
            trigger.decide(&with_limit).to_string(),
            "not taken: the threshold is 50% of the memory limit, and the limit is unknown"
        );
        with_limit.cgroup.limit = Some(200 * MIB);
        trigger.decide(&with_limit);
        assert!(matches!(trigger.decide(&with_limit), Decision::Take(_)));
    }
}
