//! Why a snapshot was taken.

use std::fmt;
use std::time::Duration;

use crate::profile::ByteSize;

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// RSS stood above the threshold, on two readings in a row.
    RssAboveThreshold {
        /// RSS then, in bytes.
        rss: u64,
        /// The threshold then, in bytes.
        threshold: u64,
    },
    /// Somebody asked, through the handle or over HTTP.
    Requested,
    /// RSS had grown since the last snapshot by as much as was set, on two readings in a row.
    RssGrowth {
        /// RSS then, in bytes.
        rss: u64,
        /// What it had grown from, in bytes.
        from: u64,
        /// The snapshot that it had grown since; `None` when there was none: since the first reading.
        since: Option<u64>,
    },
    /// Memory use rose such that it would reach the limit soon.
    LimitPredicted {
        /// Use of the control group then, in bytes, without droppable page cache.
        usage: u64,
        /// The limit then, in bytes.
        limit: u64,
        /// How long it would take.
        within: Duration,
    },
    /// Tasks waited for memory (PSI) for more of the last ten seconds than was set.
    MemoryPressure {
        /// The share of that time in which some task waited, in percent.
        percent: f64,
        /// What was set, in percent.
        threshold: f64,
    },
    /// The kernel had counted trouble of the memory control group since the last snapshot.
    CgroupEvent {
        /// The kernel's word in `memory.events`: `high`, `oom` or `oom_kill`.
        event: &'static str,
        /// How often.
        count: u64,
    },
    /// A gauge of the host's stood above its threshold, on two readings in a row.
    GaugeAboveThreshold {
        /// Its name.
        gauge: &'static str,
        /// Its value then.
        value: f64,
        /// What was set.
        threshold: f64,
    },
}

impl Reason {
    /// Every name that [`Reason::name`] gives.
    pub(crate) const NAMES: [&'static str; 7] = [
        "rss_above_threshold",
        "requested",
        "rss_growth",
        "limit_predicted",
        "memory_pressure",
        "cgroup_event",
        "gauge_above_threshold",
    ];

    /// One word for metrics and JSON.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Its place in [`Reason::NAMES`].
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::RssAboveThreshold { .. } => 0,
            Self::Requested => 1,
            Self::RssGrowth { .. } => 2,
            Self::LimitPredicted { .. } => 3,
            Self::MemoryPressure { .. } => 4,
            Self::CgroupEvent { .. } => 5,
            Self::GaugeAboveThreshold { .. } => 6,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = ByteSize::bytes;
        match *self {
            Self::RssAboveThreshold { rss, threshold } => {
                write!(f, "RSS {} above the threshold {}", size(rss), size(threshold))
            }
            Self::Requested => f.write_str("requested"),
            Self::RssGrowth { rss, from, since } => {
                let grown = rss.saturating_sub(from);
                write!(f, "RSS {} is {} above the {} of ", size(rss), size(grown), size(from))?;
                match since {
                    Some(id) => write!(f, "snapshot {id}"),
                    None => f.write_str("the first reading"),
                }
            }
            Self::LimitPredicted { usage, limit, within } => write!(
                f,
                "memory use {} is predicted to reach the limit {} in {:.0} s",
                size(usage),
                size(limit),
                within.as_secs_f64()
            ),
            Self::MemoryPressure { percent, threshold } => {
                write!(f, "some task waited for memory in {percent:.2}% of the last 10 s, above {threshold}%")
            }
            Self::CgroupEvent { event, count } => {
                write!(f, "the control group's memory event {event} was counted {count} times since the last snapshot")
            }
            Self::GaugeAboveThreshold { gauge, value, threshold } => {
                write!(f, "the gauge {gauge} is {value}, above {threshold}")
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each.
    pub(crate) const ALL: [Reason; Reason::NAMES.len()] = [
        Reason::RssAboveThreshold { rss: 2 << 20, threshold: 1 << 20 },
        Reason::Requested,
        Reason::RssGrowth { rss: 3 << 20, from: 1 << 20, since: Some(4) },
        Reason::LimitPredicted { usage: 1 << 20, limit: 2 << 20, within: Duration::from_millis(90_400) },
        Reason::MemoryPressure { percent: 12.34, threshold: 10.0 },
        Reason::CgroupEvent { event: "high", count: 5 },
        Reason::GaugeAboveThreshold { gauge: "queue_bytes", value: 1.5, threshold: 1.0 },
    ];

    #[test]
    fn each_has_its_name_and_its_sentence() {
        let told = ALL.map(|reason| (reason.name(), reason.to_string()));
        let expect = [
            ("rss_above_threshold", "RSS 2.0 MiB above the threshold 1.0 MiB"),
            ("requested", "requested"),
            ("rss_growth", "RSS 3.0 MiB is 2.0 MiB above the 1.0 MiB of snapshot 4"),
            ("limit_predicted", "memory use 1.0 MiB is predicted to reach the limit 2.0 MiB in 90 s"),
            ("memory_pressure", "some task waited for memory in 12.34% of the last 10 s, above 10%"),
            ("cgroup_event", "the control group's memory event high was counted 5 times since the last snapshot"),
            ("gauge_above_threshold", "the gauge queue_bytes is 1.5, above 1"),
        ];
        assert_eq!(told.each_ref().map(|(name, text)| (*name, &**text)), expect);
        assert_eq!(ALL.map(|reason| reason.name()), Reason::NAMES);
    }
}
