//! Every gauge, with its name, unit and help.

mod memory;
mod trouble;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::alerts::{Desk, SINKS};
use crate::analysis::Breakdown;
use crate::collect::{CollectorStats, Source, Unwinder};
use crate::policy::{Reason, Severity};
use crate::profiler::{Shared, Status};

/// Reads everything when it is scraped.
pub(super) struct Gauges {
    shared: Arc<Shared>,
}

impl Gauges {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.shared.status().clone();
        let mut out = Out { encoder };
        out.memory(&status)?;
        out.rss(&self.shared, &status)?;
        out.trouble(&status)?;
        out.host(&self.shared, &status)?;
        out.collector(&self.shared)?;
        out.unwinder(&self.shared)?;
        out.snapshots(&self.shared, &status)?;
        out.episodes(&self.shared)?;
        out.disk(&self.shared)?;
        out.sidecar(&self.shared, &status)?;
        out.system(&self.shared, &status)?;
        out.alerts(&self.shared)
    }
}

pub(super) struct Out<'e> {
    encoder: DescriptorEncoder<'e>,
}

impl Out<'_> {
    /// The parts of RSS, which sum up to it.
    fn rss(&mut self, shared: &Shared, status: &Status) -> fmt::Result {
        let Some(reading) = &status.reading else { return Ok(()) };
        let (own, _) = shared.own_now(reading, shared.collector().tables_bytes());
        let parts = Breakdown::of(reading, None, own);
        let heap = parts.heap;
        self.bytes("rss_live_heap", "RSS: live heap, by jemalloc's count", heap.map(|heap| heap.live))?;
        self.bytes(
            "rss_allocator_slack",
            "RSS: free room on pages with live allocations",
            heap.map(|heap| heap.slack),
        )?;
        self.bytes(
            "rss_slack_maybe_live",
            "What of the slack may be live heap, because samples are missing",
            heap.map(|_| parts.maybe_live()),
        )?;
        self.bytes("rss_allocator_dirty", "RSS: unused pages that jemalloc keeps", heap.map(|heap| heap.dirty))?;
        self.bytes("rss_allocator_metadata", "RSS: jemalloc's own tables", heap.map(|heap| heap.metadata))?;
        self.bytes("rss_mapped_files", "RSS: pages of files", parts.mapped_files)?;
        self.bytes("rss_shared_memory", "RSS: shared memory", parts.shared_memory)?;
        self.bytes("rss_heapward", "RSS: heapward's tables, estimated", Some(parts.heapward))?;
        self.bytes("rss_other", "RSS: what is left: stacks and other anonymous memory", parts.other)?;
        self.bytes("rss_unaccounted", "RSS that cannot be told apart", Some(parts.unaccounted))?;
        self.bytes(
            "rss_counted_not_resident",
            "Counted by jemalloc or heapward, but not in RSS: untouched, swapped out or taken back",
            Some(parts.not_resident),
        )
    }

    fn collector(&mut self, shared: &Shared) -> fmt::Result {
        let stats = shared.collector().stats();
        // jemalloc's dumps tell none of the hooks' figures: absent when unknown.
        if shared.collector().source() == Source::Hooks {
            self.hooks(&stats)?;
        }
        self.gauge("stacks", "Distinct stacks seen", stats.stacks)?;
        self.gauge("stacks_limit", "Distinct stacks that are told apart", stats.stacks_limit)?;
        self.gauge("stack_frames", "Frames of the distinct stacks", stats.frames)?;
        self.gauge("stack_frames_limit", "Frames that there is room for", stats.frames_limit)?;
        self.counter("dropped_stacks", "Samples whose stack found no room", stats.dropped_stacks)?;
        self.bytes("sample_interval", "Mean bytes between two samples", Some(shared.collector().interval().bytes()))
    }

    fn hooks(&mut self, stats: &CollectorStats) -> fmt::Result {
        self.gauge("live_samples", "Sampled objects alive", stats.live_objects)?;
        self.gauge("live_samples_limit", "Sampled objects that can be alive at once, about", stats.live_objects_limit)?;
        self.counter("samples", "Allocations sampled", stats.samples)?;
        self.counter("dropped_samples", "Samples that found no room in the live set", stats.dropped_objects)?;
        self.counter("dropped_sample_bytes", "Usable bytes of the samples that found no room", stats.dropped_bytes)?;
        self.counter("unknown_frees", "Frees of objects that were not in the live set", stats.unknown_frees)
    }

    fn unwinder(&mut self, shared: &Shared) -> fmt::Result {
        let report = shared.collector().unwinder();
        let family = ConstGauge::new(0u64);
        let help = "What walks the stacks of samples: 1 for the one in use";
        let mut metric = self.encoder.encode_descriptor("unwinder", help, None, family.metric_type())?;
        for unwinder in Unwinder::IN_USE {
            let in_use = ConstGauge::new(u64::from(unwinder == report.in_use));
            in_use.encode(metric.encode_family(&[("name", unwinder.name())])?)?;
        }
        // jemalloc's does not tell: absent when unknown.
        let Some(figures) = report.figures else { return Ok(()) };
        self.counter("truncated_stacks", "Stacks whose walk ended before a root", figures.truncated)?;
        self.counter("borrowed_stacks", "Stacks whose walk was left to libgcc", figures.borrowed)?;
        self.counter("unwind_rule_lookups", "Return addresses looked up in unwind tables", figures.lookups)?;
        self.counter("module_refreshes", "Times that the list of loaded files was read again", figures.refreshes)
    }

    fn snapshots(&mut self, shared: &Shared, status: &Status) -> fmt::Result {
        let counts: Vec<(&str, u64)> = Reason::NAMES.into_iter().zip(status.snapshots).collect();
        let family = ConstCounter::new(0u64);
        let mut metric =
            self.encoder.encode_descriptor("snapshots", "Snapshots taken, by reason", None, family.metric_type())?;
        for (reason, count) in counts {
            ConstCounter::new(count).encode(metric.encode_family(&[("reason", reason)])?)?;
        }
        self.counter("snapshot_failures", "Snapshots that failed", status.snapshot_failures)?;
        let (kept, bytes, evicted) = {
            let history = shared.history();
            (history.len() as u64, history.size_bytes() as u64, history.evicted())
        };
        self.gauge("snapshots_kept", "Snapshots in the ring", kept)?;
        self.bytes("snapshots_kept", "Memory of the kept snapshots", Some(bytes))?;
        self.counter("snapshots_evicted", "Snapshots that the ring has given up", evicted)?;
        if let Some((time, duration)) = status.last_snapshot {
            let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.seconds("last_snapshot_timestamp", "When the last snapshot was taken, since 1970", time)?;
            self.seconds("last_snapshot_duration", "How long the last snapshot took", duration)?;
        }
        Ok(())
    }

    fn episodes(&mut self, shared: &Shared) -> fmt::Result {
        let (started, open) = {
            let episodes = shared.episodes();
            (episodes.started(), episodes.open().map(|episode| episode.id))
        };
        self.counter("episodes", "Rises of RSS with a snapshot that a rule asked for", started)?;
        self.gauge("episode", "Number of the rise that goes on; 0 while there is none", open.unwrap_or(0))
    }

    fn disk(&mut self, shared: &Shared) -> fmt::Result {
        // Absent where nothing is to be written.
        if shared.disk().folder().is_none() {
            return Ok(());
        }
        let disk = shared.disk().figures();
        self.counter("disk_writes", "Snapshots written to disk", disk.writes)?;
        self.counter("disk_write_failures", "Writes of snapshots that failed", disk.failures)?;
        self.counter("disk_skipped", "Snapshots that the ring gave up before they could be written", disk.skipped)?;
        self.gauge("disk_snapshots", "Snapshots on disk, of this run and of ended ones", disk.snapshots)?;
        self.bytes("disk", "Bytes of these", Some(disk.bytes))?;
        self.counter("disk_removed", "Snapshots removed from disk to keep within the bounds", disk.removed)?;
        self.counter("disk_set_aside", "Files set aside because they are damaged", disk.set_aside)?;
        let help = "Files removed of those set aside, to keep within the bounds for them";
        self.counter("disk_set_aside_removed", help, disk.set_aside_removed)?;
        if let Some(time) = disk.last_write {
            let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.seconds("disk_last_write_timestamp", "When a snapshot was last written, since 1970", time)?;
        }
        self.gauge("disk_failing", "Whether the last write failed", disk.is_failing.into())
    }

    fn sidecar(&mut self, shared: &Shared, status: &Status) -> fmt::Result {
        self.counter("polls", "Polls of the watcher: its heartbeat", status.polls)?;
        self.seconds("heartbeat_age", "Time since the watcher's last poll", shared.heartbeat().0)?;
        self.counter("read_failures", "Reads of memory figures that failed", status.read_failures)?;
        self.counter("panics", "Panics of heapward's own that it outlived", status.panics)?;
        self.gauge("waiting_requests", "Requests that wait for time to pass", shared.waiting() as u64)?;
        self.bytes("unread_answer", "Answers that clients have not read yet", Some(shared.unread_bytes() as u64))?;
        self.counter("refused_requests", "Requests refused because there was too much to do", shared.refused())?;
        self.gauge("cached_symbols", "Addresses whose names are remembered", shared.cached_symbols() as u64)?;
        let bytes = Some(shared.cached_symbol_bytes() as u64);
        self.bytes("cached_symbols", "About what the remembered names take", bytes)?;
        self.seconds("uptime", "Time since heapward started", shared.uptime())
    }

    /// All labels are always there, so that a first alert is a rise and not a new series.
    fn alerts(&mut self, shared: &Shared) -> fmt::Result {
        let Some(counts) = shared.alerts().map(Desk::counts) else { return Ok(()) };
        let (counter, gauge) = (ConstCounter::new(0u64), ConstGauge::new(0u64));
        let help = "Alerts that were opened with a severity, or raised to it";
        let mut metric = self.encoder.encode_descriptor("alerts", help, None, counter.metric_type())?;
        for (severity, count) in Severity::ALL.into_iter().zip(counts.severities) {
            ConstCounter::new(count).encode(metric.encode_family(&[("severity", severity.name())])?)?;
        }
        let help = "Whether there is an alert of a severity";
        let mut metric = self.encoder.encode_descriptor("alert_active", help, None, gauge.metric_type())?;
        for severity in Severity::ALL {
            let is_active = ConstGauge::new(u64::from(counts.active == Some(severity)));
            is_active.encode(metric.encode_family(&[("severity", severity.name())])?)?;
        }
        let help = "Messages about alerts, by receiver and what became of them";
        let mut metric = self.encoder.encode_descriptor("alert_deliveries", help, None, counter.metric_type())?;
        for (sink, results) in SINKS.into_iter().zip(counts.deliveries) {
            for (result, count) in ["sent", "failed", "dropped"].into_iter().zip(results) {
                let labels = [("sink", sink), ("result", result)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        match value {
            Some(value) => self.any(name, help, Some(&Unit::Bytes), &ConstGauge::new(value)),
            None => Ok(()),
        }
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        self.any(name, help, Some(&Unit::Seconds), &ConstGauge::new(value.as_secs_f64()))
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.any(name, help, None, &ConstGauge::new(value))
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.any(name, help, None, &ConstCounter::new(value))
    }

    pub(super) fn any(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, help, unit, metric.metric_type())?;
        metric.encode(encoder)
    }
}
