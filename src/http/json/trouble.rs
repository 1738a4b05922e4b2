//! Pressure, events of the control group, the host's own gauges, and what the trigger's rules say.

use serde::Serialize;

use crate::policy::Said;
use crate::profile::{CgroupEvents, Pressure, Stall};
use crate::profiler::{Shared, Status};

/// Memory pressure (PSI).
#[derive(Serialize)]
pub(super) struct PressureJson {
    /// `cgroup`, or `machine` where the control group's is not told.
    of: &'static str,
    some: StallJson,
    full: StallJson,
}

/// Shares are of 1.
#[derive(Serialize)]
struct StallJson {
    avg10_ratio: f64,
    avg60_ratio: f64,
    avg300_ratio: f64,
    total_seconds: f64,
}

impl PressureJson {
    pub(super) fn of(pressure: &Pressure) -> Self {
        let Pressure { some, full, of_group } = *pressure;
        let of = if of_group { "cgroup" } else { "machine" };
        Self { of, some: StallJson::of(some), full: StallJson::of(full) }
    }
}

impl StallJson {
    fn of(stall: Stall) -> Self {
        let Stall { avg10, avg60, avg300, total } = stall;
        Self {
            avg10_ratio: avg10.ratio(),
            avg60_ratio: avg60.ratio(),
            avg300_ratio: avg300.ratio(),
            total_seconds: total.as_secs_f64(),
        }
    }
}

/// How often the control group got into trouble; `null` where the kernel does not tell.
#[derive(Serialize)]
pub(super) struct EventsJson {
    low: Option<u64>,
    high: Option<u64>,
    max: Option<u64>,
    oom: Option<u64>,
    oom_kill: Option<u64>,
}

impl EventsJson {
    pub(super) fn of(events: &CgroupEvents) -> Self {
        let CgroupEvents { low, high, max, oom, oom_kill } = *events;
        Self { low, high, max, oom, oom_kill }
    }
}

/// One of the host's own gauges.
#[derive(Serialize)]
pub(super) struct HostGaugeJson {
    name: &'static str,
    /// `null` where its function has none, panicked, or gave what is infinite.
    value: Option<f64>,
    /// A snapshot is taken where it is above this.
    above: f64,
}

impl HostGaugeJson {
    pub(super) fn all(status: &Status, shared: &Shared) -> Vec<Self> {
        let gauges = shared.host_gauges(status);
        gauges
            .map(|(name, above, value)| Self { name, value: value.filter(|value| value.is_finite()), above })
            .collect()
    }
}

/// What one of the trigger's rules said of the last reading.
#[derive(Serialize)]
pub(super) struct RuleJson {
    rule: &'static str,
    /// Which of the host's gauges; `null` for the other rules.
    gauge: Option<&'static str>,
    /// `fires`, `holds`, `off` or `unknown`.
    says: &'static str,
    /// A sentence.
    why: String,
}

impl RuleJson {
    pub(super) fn all(status: &Status) -> Vec<Self> {
        let rule = |said: &Said| Self { rule: said.rule, gauge: said.gauge, says: said.word(), why: said.to_string() };
        status.said.iter().map(rule).collect()
    }
}

/// The same for people, with what came of all of them.
pub(in crate::http) fn rules_text(status: &Status) -> String {
    let mut text = format!("snapshot {}\n", status.decision);
    for said in &status.said {
        let gauge = said.gauge.map(|name| format!(" {name}")).unwrap_or_default();
        text.push_str(&format!("{}{gauge} {}: {said}\n", said.rule, said.word()));
    }
    text
}
