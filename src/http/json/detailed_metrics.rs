//! `GET /api/monitoring/detailed-metrics`: all that is measured, but for the heap's inside.

use std::time::SystemTime;

use serde::Serialize;

use super::system::{Swap, System, percent_of, system_and_swap};
use super::{Allocator, CollectorReport, EventsJson, HostGaugeJson, PressureJson, time};
use crate::profile::{CgroupMemory, ProcessMemory, Reading};
use crate::profiler::{LARGE_PERCENT, Shared, Status, Walk};

/// As `schemas/detailed-metrics.json` says.
#[derive(Serialize)]
pub(crate) struct DetailedMetrics {
    time: String,
    /// When memory was read; `null` before the first reading, as is all that was read.
    reading_time: Option<String>,
    system: Option<System>,
    swap: Option<Swap>,
    top_processes: Option<TopProcesses>,
    process: Option<Process>,
    allocator: Option<Allocator>,
    cgroup: Cgroup,
    /// `null` where the kernel does not tell.
    pressure: Option<PressureJson>,
    /// The host's own, in their order.
    host_gauges: Vec<HostGaugeJson>,
    collector: CollectorReport,
    sidecar: Sidecar,
}

/// The processes that have most of the machine's memory.
#[derive(Serialize)]
struct TopProcesses {
    above_percent: f64,
    processes: Vec<TopProcess>,
    walked: u64,
    vanished: u64,
    unreadable: u64,
    complete: bool,
    duration_seconds: f64,
    age_seconds: f64,
    /// Why there are none.
    error: Option<String>,
}

#[derive(Serialize)]
struct TopProcess {
    pid: u32,
    name: String,
    rss_bytes: u64,
    rss_percent: f64,
}

/// This process.
#[derive(Serialize)]
struct Process {
    pid: u32,
    rss_bytes: u64,
    rss_percent: Option<f64>,
    virtual_bytes: u64,
    swap_bytes: Option<u64>,
    anonymous_bytes: Option<u64>,
    files_bytes: Option<u64>,
    shared_memory_bytes: Option<u64>,
    threads: Option<u64>,
    cpu_seconds: f64,
    cpu_percent: Option<f64>,
}

#[derive(Serialize)]
struct Cgroup {
    /// Which one.
    group: String,
    limit_bytes: Option<u64>,
    usage_bytes: Option<u64>,
    usage_percent: Option<f64>,
    events: EventsJson,
}

/// heapward itself.
#[derive(Serialize)]
struct Sidecar {
    version: &'static str,
    uptime_seconds: f64,
    polls: u64,
    poll_interval_seconds: f64,
    heartbeat_age_seconds: f64,
    read_failures: u64,
    last_read_error: Option<String>,
    panics: u64,
    snapshots_kept: usize,
    snapshots_kept_bytes: usize,
    snapshot_failures: u64,
    waiting_requests: usize,
    refused_requests: u64,
    unread_answer_bytes: usize,
    slow_operations: u64,
}

impl DetailedMetrics {
    pub(crate) fn of(shared: &Shared) -> Self {
        let status = shared.status().clone();
        let reading = status.reading.as_ref();
        let system = reading.and_then(|reading| reading.system);
        let CgroupMemory { limit, usage } = reading.map(|reading| reading.cgroup).unwrap_or_default();
        let events = reading.map(|reading| reading.events).unwrap_or_default();
        let top_processes =
            system.map(|system| TopProcesses::of(&shared.largest_processes(system.total), system.total));
        let (system, swap) = system.as_ref().map(system_and_swap).unzip();
        Self {
            time: time(SystemTime::now()),
            reading_time: reading.map(|reading| time(reading.time)),
            system,
            swap,
            top_processes,
            process: reading.map(|reading| Process::of(reading, shared)),
            allocator: reading.and_then(|reading| reading.allocator).map(Allocator::of),
            cgroup: Cgroup {
                group: shared.cgroup().to_owned(),
                limit_bytes: limit,
                usage_bytes: usage,
                usage_percent: usage.zip(limit).map(|(usage, limit)| percent_of(usage, limit)),
                events: EventsJson::of(&events),
            },
            pressure: reading.and_then(|reading| reading.pressure).as_ref().map(PressureJson::of),
            host_gauges: HostGaugeJson::all(&status, shared),
            collector: CollectorReport::of(&shared.collector().stats(), shared),
            sidecar: Sidecar::of(shared, &status),
        }
    }
}

impl TopProcesses {
    fn of(walk: &Walk, total: u64) -> Self {
        let (found, error) = match &walk.found {
            Ok(found) => (found.clone(), None),
            Err(error) => (Default::default(), Some(error.to_string())),
        };
        let processes = found.processes.into_iter().map(|process| TopProcess {
            pid: process.pid,
            name: process.name,
            rss_bytes: process.rss,
            rss_percent: percent_of(process.rss, total),
        });
        Self {
            above_percent: LARGE_PERCENT,
            processes: processes.collect(),
            walked: found.walked,
            vanished: found.vanished,
            unreadable: found.unreadable,
            complete: found.is_complete,
            duration_seconds: walk.duration.as_secs_f64(),
            age_seconds: walk.begun.elapsed().as_secs_f64(),
            error,
        }
    }
}

impl Process {
    fn of(reading: &Reading, shared: &Shared) -> Self {
        let ProcessMemory { rss, virtual_size, swap, anonymous, files, shared_memory, threads } = reading.process;
        Self {
            pid: std::process::id(),
            rss_bytes: rss,
            rss_percent: reading.system.map(|system| percent_of(rss, system.total)),
            virtual_bytes: virtual_size,
            swap_bytes: swap,
            anonymous_bytes: anonymous,
            files_bytes: files,
            shared_memory_bytes: shared_memory,
            threads,
            cpu_seconds: shared.cpu_time().as_secs_f64(),
            cpu_percent: shared.monitoring().readings.last().and_then(|last| last.cpu_percent),
        }
    }
}

impl Sidecar {
    fn of(shared: &Shared, status: &Status) -> Self {
        let (snapshots_kept, snapshots_kept_bytes) = {
            let history = shared.history();
            (history.len(), history.size_bytes())
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: shared.uptime().as_secs_f64(),
            polls: status.polls,
            poll_interval_seconds: shared.config().poll_interval.as_secs_f64(),
            heartbeat_age_seconds: shared.heartbeat().0.as_secs_f64(),
            read_failures: status.read_failures,
            last_read_error: status.last_read_error.clone(),
            panics: status.panics,
            snapshots_kept,
            snapshots_kept_bytes,
            snapshot_failures: status.snapshot_failures,
            waiting_requests: shared.waiting(),
            refused_requests: shared.refused(),
            unread_answer_bytes: shared.unread_bytes(),
            slow_operations: shared.monitoring().slow.count(),
        }
    }
}
