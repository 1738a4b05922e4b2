//! The rule that says when people must be told that memory runs short, and can say why it says nothing.

mod memory_use;
mod severity;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Threshold;
use crate::profile::{ByteSize, MachineMemory, Reading, SwapUse};

pub(crate) use memory_use::{LimitOf, MemoryUse};
pub use severity::Severity;

/// A system that forgets alerts which nobody repeats is told again after so long.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(60);

/// The first snapshot of an alert is told at once; later ones, which are nobody's reason to be woken, after so long.
const UPDATE_INTERVAL: Duration = Duration::from_secs(600);

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertChange {
    /// It began.
    Opened,
    /// Its severity went up.
    Raised,
    /// There is a newer snapshot, or more is known of one.
    Updated,
    /// Nothing, for a minute: for systems that forget what nobody repeats.
    Unchanged,
    /// It is over.
    Resolved,
}

/// An alert at one moment, with all that a rule over readings can know of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alarm {
    /// Rises by one with every alert of this run, from 1.
    pub(crate) number: u64,
    /// Why it is told now.
    pub(crate) change: AlertChange,
    /// The highest that it ever was: it does not go down, so that there is one story and not several.
    pub(crate) severity: Severity,
    /// Time of the first reading above the threshold.
    pub(crate) started: SystemTime,
    /// Time of this reading: the last one that could be judged.
    pub(crate) time: SystemTime,
    /// Between these two, by a clock that never steps.
    pub(crate) lasted: Duration,
    /// How long ago this reading was when no later one could be judged; `None` where it was just made.
    pub(crate) unread: Option<Duration>,
    /// By this reading.
    pub(crate) memory: MemoryUse,
    /// By the reading with the highest use.
    pub(crate) peak: MemoryUse,
    /// Swap of the machine.
    pub(crate) swap: Option<SwapUse>,
    /// The newest snapshot there is.
    pub(crate) snapshot: Option<u64>,
}

/// What the rule makes of the last reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    /// There was no reading yet.
    NotYet,
    /// The threshold is a share of a limit that is unknown.
    UnknownLimit { threshold: Threshold },
    /// Not above the threshold.
    Below(MemoryUse),
    /// Above it, on too few readings in a row.
    Unconfirmed { memory: MemoryUse, in_a_row: u32, after: u32 },
    /// There is an alert.
    Firing { memory: MemoryUse, severity: Severity },
    /// There is one still, though memory use is down again, on too few readings in a row.
    Clearing { memory: MemoryUse, in_a_row: u32, after: u32 },
    /// There is one still, as far as anybody knows: nothing could be judged for so long.
    Unread { memory: MemoryUse, severity: Severity, since: Duration },
}

/// Tells an alert when memory use is above a threshold.
///
/// ```text
///            above, `after` times in a row            raised, a snapshot, a minute
///   calm ─────────────────────────────────► firing ──────────────────────────────┐
///    ▲ ▲                        │             │ ▲ ▲                              │
///    │ └──── once not above ────┘             │ │ └──────────────────────────────┘
///    │                                        │ └ once not clear
///    └── clear, `after` times in a row ───────┘
/// ```
///
/// A severity counts once as many readings in a row were that bad or worse. A reading that failed is no reading: it neither
/// counts nor ends a row. It does not silence an alert either: what nobody repeats reads as over.
#[derive(Debug)]
pub(crate) struct AlertRule {
    threshold: Threshold,
    after: u32,
    /// For each severity, how many readings in a row were that bad or worse.
    in_a_row: [u32; Severity::ALL.len()],
    /// The first of the readings in a row above the threshold.
    since: (SystemTime, Duration),
    /// Alerts so far.
    count: u64,
    firing: Option<Firing>,
    standing: Standing,
}

/// An alert that is not over.
#[derive(Clone, Copy, Debug)]
struct Firing {
    severity: Severity,
    since: (SystemTime, Duration),
    peak: MemoryUse,
    /// By the last reading that could be judged.
    last: Last,
    /// Readings in a row that were clear.
    clear: u32,
    /// The snapshot that was told last.
    snapshot: Option<u64>,
    /// Whether one was told that was not there when it began.
    has_own_snapshot: bool,
    /// Uptime when something was told that was more than a heartbeat …
    told: Duration,
    /// … or anything.
    beat: Duration,
}

/// What was known last.
#[derive(Clone, Copy, Debug)]
struct Last {
    time: SystemTime,
    uptime: Duration,
    memory: MemoryUse,
    swap: Option<SwapUse>,
}

impl AlertRule {
    /// A rule by which `after` readings in a row count, at least one.
    pub(crate) fn new(threshold: Threshold, after: u32) -> Self {
        Self {
            threshold,
            after: after.max(1),
            in_a_row: [0; Severity::ALL.len()],
            since: (SystemTime::UNIX_EPOCH, Duration::ZERO),
            count: 0,
            firing: None,
            standing: Standing::NotYet,
        }
    }

    /// What it makes of the last reading.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// What there is to be told about a reading. `snapshot` is the newest there is.
    pub(crate) fn observe(
        &mut self,
        reading: &Reading,
        machine: &MachineMemory,
        snapshot: Option<u64>,
    ) -> Option<Alarm> {
        let Some(memory) = MemoryUse::of(reading, machine, self.threshold) else {
            if self.firing.is_some() {
                return self.go_without(reading.uptime, snapshot);
            }
            self.standing = Standing::UnknownLimit { threshold: self.threshold };
            return None;
        };
        self.count_in(&memory, reading);
        let last = Last { time: reading.time, uptime: reading.uptime, memory, swap: machine.swap };
        let confirmed = self.confirmed();
        let (change, firing) = match (self.firing, confirmed) {
            (None, Some(severity)) => {
                self.count += 1;
                let told = reading.uptime;
                let (since, peak) = (self.since, memory);
                let firing = Firing {
                    severity,
                    since,
                    peak,
                    last,
                    clear: 0,
                    snapshot,
                    has_own_snapshot: false,
                    told,
                    beat: told,
                };
                (Some(AlertChange::Opened), firing)
            }
            (None, None) => {
                let in_a_row = self.in_a_row[0];
                self.standing = match in_a_row {
                    0 => Standing::Below(memory),
                    _ => Standing::Unconfirmed { memory, in_a_row, after: self.after },
                };
                return None;
            }
            (Some(mut firing), confirmed) => {
                firing.last = last;
                let change = firing.go_on(&memory, confirmed, reading.uptime, snapshot, self.after);
                (change, firing)
            }
        };
        self.standing = match firing.clear {
            0 => Standing::Firing { memory, severity: firing.severity },
            in_a_row => Standing::Clearing { memory, in_a_row, after: self.after },
        };
        self.firing = Some(firing).filter(|_| change != Some(AlertChange::Resolved));
        if self.firing.is_none() {
            self.standing = Standing::Below(memory);
        }
        Some(firing.alarm(self.count, change?, None, snapshot))
    }

    /// What there is to be told at `uptime`, when there is no reading that could be judged. `snapshot` is the newest there is.
    ///
    /// An alert goes on: nothing says that it is over.
    pub(crate) fn go_without(&mut self, uptime: Duration, snapshot: Option<u64>) -> Option<Alarm> {
        let firing = self.firing.as_mut()?;
        let Last { memory, uptime: read, .. } = firing.last;
        let since = uptime.saturating_sub(read);
        self.standing = Standing::Unread { memory, severity: firing.severity, since };
        if uptime.saturating_sub(firing.beat) < HEARTBEAT {
            return None;
        }
        firing.beat = uptime;
        Some(firing.alarm(self.count, AlertChange::Unchanged, Some(since), snapshot))
    }

    fn count_in(&mut self, memory: &MemoryUse, reading: &Reading) {
        let severity = memory.severity();
        if self.in_a_row[0] == 0 {
            self.since = (reading.time, reading.uptime);
        }
        for (in_a_row, least) in self.in_a_row.iter_mut().zip(Severity::ALL) {
            *in_a_row = if severity >= Some(least) { in_a_row.saturating_add(1) } else { 0 };
        }
    }

    /// The severity that enough readings in a row had at least.
    fn confirmed(&self) -> Option<Severity> {
        let counts = Severity::ALL.into_iter().zip(self.in_a_row);
        counts.filter(|(_, in_a_row)| *in_a_row >= self.after).map(|(severity, _)| severity).max()
    }
}

impl Firing {
    fn alarm(&self, number: u64, change: AlertChange, unread: Option<Duration>, snapshot: Option<u64>) -> Alarm {
        let Last { time, uptime, memory, swap } = self.last;
        Alarm {
            number,
            change,
            severity: self.severity,
            started: self.since.0,
            time,
            lasted: uptime.saturating_sub(self.since.1),
            unread,
            memory,
            peak: self.peak,
            swap,
            snapshot,
        }
    }

    /// Takes a reading in; says what there is to be told.
    fn go_on(
        &mut self,
        memory: &MemoryUse,
        confirmed: Option<Severity>,
        uptime: Duration,
        snapshot: Option<u64>,
        after: u32,
    ) -> Option<AlertChange> {
        if memory.used() > self.peak.used() {
            self.peak = *memory;
        }
        self.clear = if memory.is_clear() { self.clear.saturating_add(1) } else { 0 };
        let is_new = snapshot.is_some() && snapshot != self.snapshot;
        let change = if self.clear >= after {
            AlertChange::Resolved
        } else if confirmed > Some(self.severity) {
            AlertChange::Raised
        } else if is_new && (!self.has_own_snapshot || uptime.saturating_sub(self.told) >= UPDATE_INTERVAL) {
            AlertChange::Updated
        } else if uptime.saturating_sub(self.beat) >= HEARTBEAT {
            AlertChange::Unchanged
        } else {
            return None;
        };
        self.severity = self.severity.max(confirmed.unwrap_or(self.severity));
        self.beat = uptime;
        if change != AlertChange::Unchanged {
            self.has_own_snapshot |= is_new;
            (self.told, self.snapshot) = (uptime, snapshot);
        }
        Some(change)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threshold = |memory: &MemoryUse| ByteSize::bytes(memory.threshold);
        match self {
            Self::NotYet => f.write_str("no alert: nothing has been read yet"),
            Self::UnknownLimit { threshold } => {
                write!(f, "no alert: the threshold is {threshold}, and the limit is unknown")
            }
            Self::Below(memory) => {
                write!(f, "no alert: memory use is {memory}, not above the threshold of {}", threshold(memory))
            }
            Self::Unconfirmed { memory, in_a_row, after } => write!(
                f,
                "no alert: memory use is {memory}, above the threshold of {} on {in_a_row} readings in a row, and it takes \
                 {after}",
                threshold(memory)
            ),
            Self::Firing { memory, severity } => {
                write!(f, "an alert, {severity}: memory use is {memory}; the threshold is {}", threshold(memory))
            }
            Self::Unread { memory, severity, since } => write!(
                f,
                "an alert, {severity}, as nothing says that it is over: memory use was {memory} {} s ago, and could not be \
                 judged since; the threshold was {}",
                since.as_secs(),
                threshold(memory)
            ),
            Self::Clearing { memory, in_a_row, after } => write!(
                f,
                "an alert that will be over: memory use is {memory}, well below the threshold of {} on {in_a_row} readings in \
                 a row, and it takes {after}",
                threshold(memory)
            ),
        }
    }
}
