//! Memory pressure, what befell the control group, when the limit would be reached, and the host's own gauges.

use std::fmt;

use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Out;
use crate::profile::{CgroupEvent, CgroupEvents, Pressure, Stall};
use crate::profiler::{Shared, Status};

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
        let Pressure { some, full, of_group } = *pressure;
        self.stall("some", "some task waited for memory (PSI)", some)?;
        self.stall("full", "all tasks with work waited for memory (PSI)", full)?;
        let help = "1 where memory pressure is the control group's, 0 where it is the whole machine's";
        self.gauge("memory_pressure_of_cgroup", help, of_group.into())
    }

    fn stall(&mut self, name: &str, who: &str, stall: Stall) -> fmt::Result {
        let Stall { avg10, avg60, avg300, total } = stall;
        for (window, seconds, share) in [("", 10, avg10), ("_avg60", 60, avg60), ("_avg300", 300, avg300)] {
            let help = format!("Share of the last {seconds} s in which {who}, of 1");
            let share = ConstGauge::new(share.ratio());
            self.any(&format!("memory_pressure_{name}{window}_ratio"), &help, None, &share)?;
        }
        let total = ConstCounter::new(total.as_secs_f64());
        self.any(&format!("memory_pressure_{name}"), &format!("Time in which {who}"), Some(&Unit::Seconds), &total)
    }

    /// The host's own gauges, whose names are set when heapward starts: sixteen at most. One whose value is unknown is absent.
    pub(super) fn host(&mut self, shared: &Shared, status: &Status) -> fmt::Result {
        let known = || shared.host_gauges(status).filter_map(|(name, _, value)| Some((name, value?)));
        if known().next().is_none() {
            return Ok(());
        }
        // Not `host_gauge`: promtool refuses a name that has its type in it.
        let kind = ConstGauge::new(0.0).metric_type();
        let mut metric =
            self.encoder.encode_descriptor("host_value", "The service's own gauges, by name", None, kind)?;
        for (name, value) in known() {
            ConstGauge::new(value).encode(metric.encode_family(&[("name", name)])?)?;
        }
        Ok(())
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
