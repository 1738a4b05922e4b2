//! `GET /api/monitoring/hotspots`: where memory and time go, and whether that rises.

use std::time::SystemTime;

use serde::Serialize;

use super::{TopEntry, time};
use crate::analysis::{Top, Trend};
use crate::error::Result;
use crate::profile::{INUSE_SPACE, Trim};
use crate::profiler::{Heap, Namer, ProcessReading, Shared, SlowOperation};

/// A change of RSS, from the first reading to the last, that does not matter: this share of it, or these bytes.
const NO_CHANGE_OF_RSS: (f64, f64) = (0.01, (1 << 20) as f64);

/// A change of CPU, in percent of one core, that does not matter.
const NO_CHANGE_OF_CPU: f64 = 5.0;

/// As `schemas/hotspots.json` says.
#[derive(Serialize)]
pub(crate) struct Hotspots {
    time: String,
    rss: RssTrend,
    cpu: CpuTrend,
    /// Oldest first.
    readings: Vec<ReadingEntry>,
    readings_limit: usize,
    top_sites: TopSites,
    slow_operations: SlowOperations,
}

#[derive(Serialize)]
struct RssTrend {
    #[serde(flatten)]
    trend: TrendEntry,
    bytes_per_hour: Option<f64>,
    bytes_per_hour_low: Option<f64>,
    bytes_per_hour_high: Option<f64>,
}

#[derive(Serialize)]
struct CpuTrend {
    #[serde(flatten)]
    trend: TrendEntry,
    percent_per_hour: Option<f64>,
    percent_per_hour_low: Option<f64>,
    percent_per_hour_high: Option<f64>,
}

#[derive(Serialize)]
struct TrendEntry {
    /// One of `rising`, `falling`, `steady`, `unclear`.
    trend: &'static str,
    why: String,
    p_value: Option<f64>,
    autocorrelation: Option<f64>,
    readings: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct ReadingEntry {
    time: String,
    uptime_seconds: f64,
    rss_bytes: u64,
    cpu_percent: Option<f64>,
}

/// Of the heap as it is.
#[derive(Serialize)]
struct TopSites {
    time: String,
    sites: usize,
    inuse_bytes: i64,
    inuse_objects: i64,
    top: Vec<TopEntry>,
    comments: Vec<String>,
}

#[derive(Serialize)]
struct SlowOperations {
    threshold_seconds: f64,
    count: u64,
    /// Oldest first.
    last: Vec<SlowOperationEntry>,
}

#[derive(Serialize)]
struct SlowOperationEntry {
    operation: &'static str,
    start: String,
    duration_seconds: f64,
}

impl Hotspots {
    /// With the `count` largest sites.
    pub(crate) fn of(shared: &Shared, namer: &mut Namer<'_>, count: usize) -> Result<Self> {
        let monitoring = shared.monitoring();
        let readings = monitoring.readings.all();
        let at = |reading: &ProcessReading| reading.uptime.as_secs_f64();
        let rss: Vec<(f64, f64)> = readings.iter().map(|reading| (at(reading), reading.rss as f64)).collect();
        let cpu: Vec<(f64, f64)> =
            readings.iter().filter_map(|reading| Some((at(reading), reading.cpu_percent?))).collect();
        let (share, least) = NO_CHANGE_OF_RSS;
        let no_change = rss.last().map_or(least, |last| (share * last.1).max(least));
        Ok(Self {
            time: time(SystemTime::now()),
            rss: RssTrend::of(Trend::of(&rss, no_change)),
            cpu: CpuTrend::of(Trend::of(&cpu, NO_CHANGE_OF_CPU)),
            readings: readings.iter().map(ReadingEntry::of).collect(),
            readings_limit: monitoring.readings.most(),
            top_sites: TopSites::of(shared, namer, count)?,
            slow_operations: SlowOperations::of(shared),
        })
    }
}

impl RssTrend {
    fn of(trend: Trend) -> Self {
        let rate = trend.per_hour;
        Self {
            bytes_per_hour: rate.map(|rate| rate.estimate),
            bytes_per_hour_low: rate.map(|rate| rate.low),
            bytes_per_hour_high: rate.map(|rate| rate.high),
            trend: TrendEntry::of(trend),
        }
    }
}

impl CpuTrend {
    fn of(trend: Trend) -> Self {
        let rate = trend.per_hour;
        Self {
            percent_per_hour: rate.map(|rate| rate.estimate),
            percent_per_hour_low: rate.map(|rate| rate.low),
            percent_per_hour_high: rate.map(|rate| rate.high),
            trend: TrendEntry::of(trend),
        }
    }
}

impl TrendEntry {
    fn of(trend: Trend) -> Self {
        Self {
            trend: trend.word.as_str(),
            why: trend.why,
            p_value: trend.p_value,
            autocorrelation: trend.autocorrelation,
            readings: trend.readings,
            seconds: trend.seconds,
        }
    }
}

impl ReadingEntry {
    fn of(reading: &ProcessReading) -> Self {
        Self {
            time: time(reading.time),
            uptime_seconds: reading.uptime.as_secs_f64(),
            rss_bytes: reading.rss,
            cpu_percent: reading.cpu_percent,
        }
    }
}

impl TopSites {
    fn of(shared: &Shared, namer: &mut Namer<'_>, count: usize) -> Result<Self> {
        let (profile, live) = shared.measured_profile(Heap::Live, namer)?;
        let top = Top::of(&profile, Some(&live), INUSE_SPACE, count, Trim::Std);
        let [_, _, inuse_objects, inuse_bytes] = top.totals;
        Ok(Self {
            time: time(profile.time),
            sites: top.sites,
            inuse_bytes,
            inuse_objects,
            top: top.rows.into_iter().map(TopEntry::of).collect(),
            comments: profile.comments,
        })
    }
}

impl SlowOperations {
    fn of(shared: &Shared) -> Self {
        let slow = &shared.monitoring().slow;
        let (last, count) = slow.last();
        let entry = |slow: SlowOperation| SlowOperationEntry {
            operation: slow.operation.name(),
            start: time(slow.start),
            duration_seconds: slow.duration.as_secs_f64(),
        };
        Self { threshold_seconds: slow.threshold().as_secs_f64(), count, last: last.into_iter().map(entry).collect() }
    }
}
