//! The JSON that is served. Sizes are bytes, durations seconds, times UTC in RFC 3339; what is unknown is `null`.

mod detailed_metrics;
mod episodes;
mod hotspots;
mod memory;
mod memory_leaks;
mod noted;
mod rss;
mod runs;
mod system;
mod trouble;

use std::collections::BTreeMap;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

pub(super) use self::episodes::EpisodeList;
use self::memory::{Allocator, Memory};
use self::rss::Rss;
use self::runs::DiskReport;
pub(super) use self::runs::{EarlierEntry, EarlierList, RunList};
pub(super) use self::trouble::rules_text;
use self::trouble::{EventsJson, HostGaugeJson, PressureJson, RuleJson};
pub(super) use self::{detailed_metrics::DetailedMetrics, hotspots::Hotspots, memory_leaks::MemoryLeaks};
use crate::analysis::{Amount, Top, TopRow};
use crate::collect::{CollectorStats, Source, UnwindReport};
use crate::policy::Reason;
use crate::profiler::Shared;
use crate::snapshot::Snapshot;

pub(super) fn time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `GET /api/snapshots`
#[derive(Serialize)]
pub(super) struct SnapshotList {
    snapshots: Vec<SnapshotEntry>,
    /// Pinned: the first one.
    baseline: Option<u64>,
    /// Pinned: the one with the highest RSS.
    peak: Option<u64>,
    /// What the trigger made of the last reading.
    trigger: String,
}

impl SnapshotList {
    pub(super) fn of(shared: &Shared) -> Self {
        let trigger = shared.status().decision.to_string();
        // Summing up a large heap takes a while, and must not keep the watcher from adding a snapshot.
        let (snapshots, baseline, peak) = {
            let history = shared.history();
            (history.all(), history.baseline_id(), history.peak_id())
        };
        let first = snapshots.iter().find(|snapshot| Some(snapshot.id) == baseline).map(|first| &**first);
        Self {
            snapshots: snapshots.iter().map(|snapshot| SnapshotEntry::of(snapshot, first, shared)).collect(),
            baseline,
            peak,
            trigger,
        }
    }
}

/// One snapshot: an element of `GET /api/snapshots`, and `GET /api/snapshots/{id}`.
#[derive(Serialize)]
pub(super) struct SnapshotEntry {
    id: u64,
    time: String,
    /// One word.
    reason: &'static str,
    /// A sentence.
    why: String,
    rss_bytes: u64,
    /// Estimated.
    live_bytes: u64,
    /// Between these the truth lies with 95% confidence.
    live_bytes_low: u64,
    live_bytes_high: u64,
    /// Estimated.
    live_objects: u64,
    live_objects_low: u64,
    live_objects_high: u64,
    sampled_objects: u64,
    stacks: usize,
    epoch: u32,
    /// The rise that it belongs to: `/api/episodes`.
    episode: Option<u64>,
    duration_seconds: f64,
    /// Why it does not show everything, all reasons.
    partial: Option<String>,
    dropped_samples: u64,
    memory: Memory,
    /// Where RSS goes, and what to call it beside the baseline.
    rss: Rss,
}

impl SnapshotEntry {
    /// `baseline` is the first snapshot, where there is one.
    pub(super) fn of(snapshot: &Snapshot, baseline: Option<&Snapshot>, shared: &Shared) -> Self {
        let live = Amount::of(&snapshot.live);
        Self {
            id: snapshot.id,
            time: time(snapshot.time),
            reason: snapshot.reason.name(),
            why: snapshot.reason.to_string(),
            rss_bytes: snapshot.reading.process.rss,
            live_bytes: snapshot.live.estimated_bytes.round() as u64,
            live_bytes_low: live.bytes.low.round() as u64,
            live_bytes_high: live.bytes.high.round() as u64,
            live_objects: snapshot.live.estimated_objects.round() as u64,
            live_objects_low: live.objects.low.round() as u64,
            live_objects_high: live.objects.high.round() as u64,
            sampled_objects: snapshot.live.objects,
            stacks: snapshot.whole.stacks,
            epoch: snapshot.epoch,
            episode: snapshot.episode,
            duration_seconds: snapshot.duration.as_secs_f64(),
            partial: snapshot.partial.map(|partial| partial.to_string()),
            dropped_samples: snapshot.gaps.dropped_objects,
            memory: Memory::of(&snapshot.reading),
            rss: Rss::of_snapshot(snapshot, baseline, shared),
        }
    }
}

/// `GET /api/memory`
#[derive(Serialize)]
pub(super) struct MemoryReport {
    /// The watcher's last reading; `null` before the first.
    memory: Option<Memory>,
    /// Where RSS went then, and what to call it beside the first snapshot; `null` as above.
    rss: Option<Rss>,
    /// Which control group the limit is taken from.
    cgroup: String,
    /// When memory use would reach the limit; `null` when it does not rise towards it.
    predicted_limit_seconds: Option<f64>,
    /// What each of the trigger's rules said of the last reading; empty when nothing could be read.
    triggers: Vec<RuleJson>,
    /// The host's own gauges at the last poll, in their order.
    host_gauges: Vec<HostGaugeJson>,
    collector: CollectorReport,
    unwinder: UnwinderReport,
    snapshots: SnapshotReport,
    /// `null` where nothing is to be written.
    disk: Option<DiskReport>,
    watcher: WatcherReport,
}

#[derive(Serialize)]
struct CollectorReport {
    source: &'static str,
    sample_interval_bytes: u64,
    /// These are the hooks' figures: `null` where jemalloc's dumps are read, which do not tell.
    samples: Option<u64>,
    live_samples: Option<u64>,
    live_samples_limit: Option<u64>,
    dropped_samples: Option<u64>,
    dropped_sample_bytes: Option<u64>,
    unknown_frees: Option<u64>,
    stacks: u64,
    stacks_limit: u64,
    stack_frames: u64,
    stack_frames_limit: u64,
    /// Estimate of what the tables have in memory.
    tables_bytes: u64,
    dropped_stacks: u64,
    cached_symbols: usize,
    /// About what the remembered names take.
    cached_symbols_bytes: usize,
}

/// What walks the stacks of samples.
#[derive(Serialize)]
struct UnwinderReport {
    name: &'static str,
    /// As set.
    asked: &'static str,
    /// Those that would be better, and why they are not used.
    rejected: Vec<RejectedUnwinder>,
    /// These are of heapward's own unwinders: `null` for jemalloc's, which does not tell.
    truncated_stacks: Option<u64>,
    borrowed_stacks: Option<u64>,
    rule_lookups: Option<u64>,
    module_refreshes: Option<u64>,
}

#[derive(Serialize)]
struct RejectedUnwinder {
    name: &'static str,
    reason: String,
}

impl UnwinderReport {
    fn of(report: UnwindReport) -> Self {
        let figures = report.figures;
        let rejected = report.rejected.into_iter();
        Self {
            name: report.in_use.name(),
            asked: report.asked.name(),
            rejected: rejected.map(|one| RejectedUnwinder { name: one.unwinder.name(), reason: one.reason }).collect(),
            truncated_stacks: figures.map(|figures| figures.truncated),
            borrowed_stacks: figures.map(|figures| figures.borrowed),
            rule_lookups: figures.map(|figures| figures.lookups),
            module_refreshes: figures.map(|figures| figures.refreshes),
        }
    }
}

#[derive(Serialize)]
struct SnapshotReport {
    kept: usize,
    kept_bytes: usize,
    evicted: u64,
    /// By the name of the reason.
    #[serde(flatten)]
    taken: BTreeMap<&'static str, u64>,
    failures: u64,
    last_time: Option<String>,
    last_duration_seconds: Option<f64>,
}

#[derive(Serialize)]
struct WatcherReport {
    rss_threshold: String,
    trigger: String,
    polls: u64,
    heartbeat_age_seconds: f64,
    read_failures: u64,
    last_read_error: Option<String>,
    panics: u64,
    /// Differences over time and CPU profiles, which have begun.
    waiting_requests: usize,
    /// In answers that their clients have not read yet.
    unread_answer_bytes: usize,
    /// Because there was too much to do.
    refused_requests: u64,
    uptime_seconds: f64,
}

impl CollectorReport {
    fn of(stats: &CollectorStats, shared: &Shared) -> Self {
        let source = shared.collector().source();
        let of_hooks = |figure: u64| (source == Source::Hooks).then_some(figure);
        Self {
            source: match source {
                Source::Hooks => "hooks",
                Source::Dump => "dump",
            },
            sample_interval_bytes: shared.collector().interval().bytes(),
            samples: of_hooks(stats.samples),
            live_samples: of_hooks(stats.live_objects),
            live_samples_limit: of_hooks(stats.live_objects_limit),
            dropped_samples: of_hooks(stats.dropped_objects),
            dropped_sample_bytes: of_hooks(stats.dropped_bytes),
            unknown_frees: of_hooks(stats.unknown_frees),
            stacks: stats.stacks,
            stacks_limit: stats.stacks_limit,
            stack_frames: stats.frames,
            stack_frames_limit: stats.frames_limit,
            tables_bytes: stats.tables_bytes,
            dropped_stacks: stats.dropped_stacks,
            cached_symbols: shared.cached_symbols(),
            cached_symbols_bytes: shared.cached_symbol_bytes(),
        }
    }
}

impl MemoryReport {
    pub(super) fn of(shared: &Shared) -> Self {
        let status = shared.status().clone();
        let stats: CollectorStats = shared.collector().stats();
        let snapshots = {
            let history = shared.history();
            SnapshotReport {
                kept: history.len(),
                kept_bytes: history.size_bytes(),
                evicted: history.evicted(),
                taken: Reason::NAMES.into_iter().zip(status.snapshots).collect(),
                failures: status.snapshot_failures,
                last_time: status.last_snapshot.map(|(taken, _)| time(taken)),
                last_duration_seconds: status.last_snapshot.map(|(_, duration)| duration.as_secs_f64()),
            }
        };
        Self {
            memory: status.reading.as_ref().map(Memory::of),
            rss: status.reading.as_ref().map(|reading| Rss::now(reading, &stats, shared)),
            cgroup: shared.cgroup().to_owned(),
            predicted_limit_seconds: status.predicted.map(|left| left.as_secs_f64()),
            triggers: RuleJson::all(&status),
            host_gauges: HostGaugeJson::all(&status, shared),
            collector: CollectorReport::of(&stats, shared),
            unwinder: UnwinderReport::of(shared.collector().unwinder()),
            snapshots,
            disk: DiskReport::of(shared),
            watcher: WatcherReport {
                rss_threshold: shared.config().rss_threshold.to_string(),
                trigger: status.decision.to_string(),
                polls: status.polls,
                heartbeat_age_seconds: shared.heartbeat().0.as_secs_f64(),
                read_failures: status.read_failures,
                last_read_error: status.last_read_error,
                panics: status.panics,
                waiting_requests: shared.waiting(),
                unread_answer_bytes: shared.unread_bytes(),
                refused_requests: shared.refused(),
                uptime_seconds: shared.uptime().as_secs_f64(),
            },
        }
    }
}

/// `GET /api/snapshots/{id}/top`. All values are estimates.
#[derive(Serialize)]
pub(super) struct TopReport {
    time: String,
    sites: usize,
    alloc_objects: i64,
    alloc_bytes: i64,
    inuse_objects: i64,
    inuse_bytes: i64,
    #[serde(flatten)]
    inuse: InuseBounds,
    comments: Vec<String>,
    top: Vec<TopEntry>,
}

#[derive(Serialize)]
struct TopEntry {
    function: String,
    file: String,
    line: u32,
    alloc_objects: i64,
    alloc_bytes: i64,
    inuse_objects: i64,
    inuse_bytes: i64,
    #[serde(flatten)]
    inuse: InuseBounds,
}

/// How sure what is in use is; `null` where nothing says how it was sampled.
#[derive(Serialize)]
struct InuseBounds {
    /// Samples in use that `inuse_bytes` and `inuse_objects` rest on.
    samples: Option<u64>,
    /// Between these `inuse_bytes` lies in truth, with 95% confidence.
    inuse_bytes_low: Option<i64>,
    inuse_bytes_high: Option<i64>,
    inuse_objects_low: Option<i64>,
    inuse_objects_high: Option<i64>,
}

impl InuseBounds {
    fn of(inuse: Option<Amount>) -> Self {
        let bound = |bound: fn(&Amount) -> f64| inuse.as_ref().map(|inuse| bound(inuse).round() as i64);
        Self {
            samples: inuse.map(|inuse| inuse.samples),
            inuse_bytes_low: bound(|inuse| inuse.bytes.low),
            inuse_bytes_high: bound(|inuse| inuse.bytes.high),
            inuse_objects_low: bound(|inuse| inuse.objects.low),
            inuse_objects_high: bound(|inuse| inuse.objects.high),
        }
    }
}

impl TopReport {
    pub(super) fn of(top: Top, taken: SystemTime, comments: Vec<String>) -> Self {
        let [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes] = top.totals;
        Self {
            time: time(taken),
            sites: top.sites,
            alloc_objects,
            alloc_bytes,
            inuse_objects,
            inuse_bytes,
            inuse: InuseBounds::of(top.inuse),
            comments,
            top: top.rows.into_iter().map(TopEntry::of).collect(),
        }
    }
}

impl TopEntry {
    fn of(row: TopRow) -> Self {
        let [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes] = row.values;
        let site = row.site;
        Self {
            function: site.function,
            file: site.file,
            line: site.line,
            alloc_objects,
            alloc_bytes,
            inuse_objects,
            inuse_bytes,
            inuse: InuseBounds::of(row.inuse),
        }
    }
}
