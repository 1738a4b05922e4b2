//! Why a rule asks for no snapshot.

use std::fmt;
use std::time::Duration;

use super::CONFIRMATIONS;
use super::trend::Outlook;
use crate::policy::{Growth, Threshold};
use crate::profile::{ByteSize, Share};

/// Why no snapshot was taken, or why one rule of several asks for none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hold {
    /// RSS is not above the threshold.
    Below { rss: u64, threshold: u64 },
    /// It is, for the first time.
    Unconfirmed { rss: u64, threshold: u64 },
    /// A rule asks for one, but the last snapshot is too young.
    TooSoon { left: Duration, interval: Duration },
    /// The threshold is a share of a limit that is unknown.
    UnknownLimit { threshold: Threshold },
    /// Memory could not be read.
    NoReading,
    /// Nothing has been read yet.
    NotYet,
    /// The rule is switched off.
    Off { setting: &'static str },
    /// RSS has not grown so much since the last snapshot.
    NotGrown { rss: u64, from: u64, since: Option<u64>, growth: Growth },
    /// It has, for the first time.
    GrownOnce { rss: u64, from: u64, since: Option<u64> },
    /// There is no limit that could be reached, or use of memory is unknown.
    NoLimit,
    /// Memory use is not seen to reach the limit so soon.
    Prediction { outlook: Outlook, usage: u64, limit: u64, horizon: Duration },
    /// The kernel tells no pressure.
    NoPressure,
    /// Pressure is not above the threshold.
    LowPressure { some: Share, threshold: f64 },
    /// The kernel counts nothing of the control group that the rule looks at.
    NoEvents,
    /// What the rule looks at has not been counted since the last snapshot.
    NoneRose,
    /// The gauge is not above its threshold.
    GaugeBelow { value: f64, threshold: f64 },
    /// It is, for the first time.
    GaugeOnce { value: f64, threshold: f64 },
    /// The gauge has no value now.
    GaugeUnknown,
    /// The gauge's function panicked.
    GaugePanicked,
}

impl Hold {
    /// One word for JSON.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Off { .. } => "off",
            Self::UnknownLimit { .. }
            | Self::NoReading
            | Self::NotYet
            | Self::NoLimit
            | Self::NoPressure
            | Self::NoEvents
            | Self::GaugeUnknown
            | Self::GaugePanicked => "unknown",
            _ => "holds",
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
            Self::Off { setting } => write!(f, "switched off; {setting} switches it on"),
            Self::NotGrown { rss, from, since, growth } => {
                write!(f, "RSS {} is not {growth} above the {} of {}", size(rss), size(from), Since(since))
            }
            Self::GrownOnce { rss, from, since } => write!(
                f,
                "RSS {} has grown from the {} of {} on one reading, and it takes {CONFIRMATIONS} in a row",
                size(rss),
                size(from),
                Since(since)
            ),
            Self::NoLimit => f.write_str("the memory limit or what is used of it is unknown"),
            Self::Prediction { outlook, usage, limit, horizon } => {
                write!(f, "memory use {} of {}: {}", size(usage), size(limit), outlook.words(horizon))
            }
            Self::NoPressure => f.write_str("the kernel tells no memory pressure (PSI)"),
            Self::LowPressure { some, threshold } => {
                write!(f, "some task waited for memory in {some} of the last 10 s, not above {threshold}%")
            }
            Self::NoEvents => f.write_str("the kernel tells none of high, oom and oom_kill of the control group"),
            Self::NoneRose => f.write_str("none of high, oom and oom_kill was counted since the last snapshot"),
            Self::GaugeBelow { value, threshold } => write!(f, "{value} is not above {threshold}"),
            Self::GaugeOnce { value, threshold } => {
                write!(f, "{value} is above {threshold} on one reading, and it takes {CONFIRMATIONS} in a row")
            }
            Self::GaugeUnknown => f.write_str("it has no value now"),
            Self::GaugePanicked => f.write_str("its function panicked"),
        }
    }
}

/// What RSS has grown since.
struct Since(Option<u64>);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "snapshot {id}"),
            None => f.write_str("the first reading"),
        }
    }
}
