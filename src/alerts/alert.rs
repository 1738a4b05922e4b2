//! All that is told of an alert, to people and to programs.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::message::message;
use super::{AlertLeaks, AlertSite, Findings, Labels};
use crate::policy::{Alarm, AlertChange, LimitOf, Severity};

/// An alert at one moment: what `GET /api/alerts` lists, and what a webhook is sent, as JSON with the same names.
///
/// Sizes are bytes, durations seconds, times UTC; percentages are of the limit. There is one alert for one episode above
/// the threshold: it is sent again under the same `id` when it changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// The same for as long as the alert goes on, and that of no other.
    pub id: String,
    /// Whether it is over.
    pub state: AlertState,
    /// Why it is told now.
    pub change: AlertChange,
    /// The highest that it ever was.
    pub severity: Severity,
    /// All of it in words.
    pub message: String,
    /// When memory use was above the threshold first.
    #[serde(serialize_with = "rfc3339")]
    pub started: SystemTime,
    /// When this was so; of an alert that is over, its end.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// Time between these, by a clock that never steps.
    pub seconds: f64,
    /// Resident set size.
    pub rss_bytes: u64,
    /// What the control group uses, where it has a limit.
    pub usage_bytes: Option<u64>,
    /// The higher one of these, which counts.
    pub used_bytes: u64,
    /// The limit; `None` where none is known.
    pub limit_bytes: Option<u64>,
    /// Whose limit it is: `cgroup`, or `machine` where no control group sets a smaller one than the machine has memory.
    pub limit_of: Option<&'static str>,
    /// `used_bytes` of the limit.
    pub percent: Option<f64>,
    /// The alert threshold.
    pub threshold_bytes: u64,
    /// The same of the limit.
    pub threshold_percent: Option<f64>,
    /// The most that was used since it began.
    pub peak_bytes: u64,
    /// The same of the limit as it was then.
    pub peak_percent: Option<f64>,
    /// Swap of the machine; `None` where there is none.
    pub swap_bytes: Option<u64>,
    /// What of it is in use.
    pub swap_used_bytes: Option<u64>,
    /// The same in percent.
    pub swap_percent: Option<f64>,
    /// The newest snapshot, if there is one.
    pub snapshot: Option<u64>,
    /// Where heapward serves it.
    pub snapshot_url: Option<String>,
    /// The three sites that hold the most; none before they are known: an alert waits for nothing.
    pub sites: Vec<AlertSite>,
    /// In which snapshot.
    pub sites_snapshot: Option<u64>,
    /// Why there are no sites, or no names.
    pub sites_remark: Option<String>,
    /// What the search for leaks says, where there was room and time for it.
    pub leaks: Option<AlertLeaks>,
    /// Which service it is about.
    pub labels: Labels,
    /// Where heapward tells of alerts.
    pub url: Option<String>,
    /// Its number in this run.
    #[serde(skip)]
    pub(crate) number: u64,
}

/// Whether an alert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// It is not.
    Firing,
    /// It is.
    Resolved,
}

impl Alert {
    /// What `alarm` tells. `run` is this run's and no other's; `server` is where heapward listens.
    pub(super) fn new(alarm: &Alarm, run: u64, labels: &Labels, server: Option<&str>) -> Self {
        let Alarm { memory, peak, swap, .. } = alarm;
        let (limit, of) = memory.limit.unzip();
        let started = alarm.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            // Not by the process's number: in containers all are 1, and those of one service cross the threshold together.
            id: format!("{started}-{run:016x}-{}", alarm.number),
            state: match alarm.change {
                AlertChange::Resolved => AlertState::Resolved,
                _ => AlertState::Firing,
            },
            change: alarm.change,
            severity: alarm.severity,
            message: message(alarm),
            started: alarm.started,
            time: alarm.time,
            seconds: alarm.lasted.as_secs_f64(),
            rss_bytes: memory.rss,
            usage_bytes: memory.usage,
            used_bytes: memory.used(),
            limit_bytes: limit,
            limit_of: of.map(|of| match of {
                LimitOf::Cgroup => "cgroup",
                LimitOf::Machine => "machine",
            }),
            percent: memory.percent(),
            threshold_bytes: memory.threshold,
            threshold_percent: memory.threshold_percent(),
            peak_bytes: peak.used(),
            peak_percent: peak.percent(),
            swap_bytes: swap.map(|swap| swap.total),
            swap_used_bytes: swap.map(|swap| swap.used),
            swap_percent: swap.map(|swap| swap.percent()),
            snapshot: alarm.snapshot,
            snapshot_url: alarm.snapshot.zip(server).map(|(id, server)| format!("{server}api/snapshots/{id}")),
            sites: Vec::new(),
            sites_snapshot: None,
            sites_remark: None,
            leaks: None,
            labels: labels.clone(),
            url: server.map(|server| format!("{server}api/alerts")),
            number: alarm.number,
        }
    }

    /// Takes in what was found out about a snapshot.
    pub(super) fn learn(&mut self, snapshot: u64, findings: &Findings) {
        self.sites = findings.sites.clone();
        self.sites_snapshot = Some(snapshot).filter(|_| !findings.sites.is_empty());
        self.sites_remark = findings.remark.clone();
        self.leaks = findings.leaks.clone();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == AlertState::Resolved
    }

    /// Whether it says where the memory is.
    pub(super) fn has_evidence(&self) -> bool {
        !self.sites.is_empty() || self.leaks.is_some()
    }

    /// The message with sites and verdict, in one line.
    pub(super) fn story(&self) -> String {
        let mut story = self.message.clone();
        if !self.sites.is_empty() {
            let sites: Vec<String> = self.sites.iter().map(ToString::to_string).collect();
            story.push_str(&format!("; most is held by {}", sites.join(", ")));
        }
        if let Some(leaks) = &self.leaks {
            story.push_str(&format!("; leaks: {leaks}"));
        }
        story
    }
}

/// As JSON has it everywhere.
pub(super) fn utc(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    utc(*time).serialize(serializer)
}
