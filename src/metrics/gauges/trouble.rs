//! Memory pressure, what befell the control group, and when the limit would be reached.

use std::fmt;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Out;
use crate::profile::{CgroupEvent, CgroupEvents, Pressure};
use crate::profiler::Status;

impl Out<'_> {
    /// What is unknown is absent.
    pub(super) fn trouble(&mut self, status: &Status) -> fmt::Result {
        if let Some(pressure) = status.reading.and_then(|reading| reading.pressure) {
            self.pressure(&pressure)?;
        }
        if let Some(reading) = &status.reading {
            self.events(&reading.events)?;
        }
        if let Some(left) = status.predicted {
            self.seconds("predicted_limit", "Time until memory use reaches the limit, at the rate it rises", left)?;
        }
        Ok(())
    }

    fn pressure(&mut self, pressure: &Pressure) -> fmt::Result {
        let some = "Share of the last 10 s in which some task waited for memory (PSI), of 1";
        let full = "Share of the last 10 s in which all tasks with work waited for memory (PSI), of 1";
        let ratio = |value: f64| ConstGauge::new(value);
        self.any("memory_pressure_some_ratio", some, None, &ratio(pressure.some.avg10.ratio()))?;
        self.any("memory_pressure_full_ratio", full, None, &ratio(pressure.full.avg10.ratio()))?;
        let some = "Time in which some task waited for memory (PSI)";
        let full = "Time in which all tasks with work waited for memory (PSI)";
        let total = |seconds: f64| ConstCounter::new(seconds);
        let seconds = Some(&Unit::Seconds);
        self.any("memory_pressure_some", some, seconds, &total(pressure.some.total.as_secs_f64()))?;
        self.any("memory_pressure_full", full, seconds, &total(pressure.full.total.as_secs_f64()))
    }

    fn events(&mut self, events: &CgroupEvents) -> fmt::Result {
        let known = || CgroupEvent::ALL.into_iter().filter_map(|event| Some((event.name(), events.of(event)?)));
        if known().next().is_none() {
            return Ok(());
        }
        let help = "Events of the memory control group, as the kernel counts them";
        let kind = ConstCounter::new(0u64).metric_type();
        let mut metric = self.encoder.encode_descriptor("cgroup_events", help, None, kind)?;
        for (event, count) in known() {
            ConstCounter::new(count).encode(metric.encode_family(&[("event", event)])?)?;
        }
        Ok(())
    }
}
