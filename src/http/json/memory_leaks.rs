//! `GET /api/monitoring/memory-leaks`: what each snapshot held, and what grows without bound.

use std::time::SystemTime;

use serde::Serialize;

use super::time;
use crate::analysis::{Amount, Held, HeldSite};
use crate::error::Result;
use crate::profiler::{KeptSites, LeakReport, Namer, Shared, Wanted};
use crate::snapshot::Snapshot;

/// As `schemas/memory-leaks.json` says.
#[derive(Serialize)]
pub(crate) struct MemoryLeaks {
    time: String,
    /// Oldest first.
    snapshots: Vec<SnapshotSites>,
    snapshots_left_out: usize,
    baseline: Option<u64>,
    peak: Option<u64>,
    comments: Vec<String>,
    /// As `GET /api/leaks` gives it.
    leaks: LeakReport,
}

/// One snapshot with its largest sites. Sizes and counts are estimated; between `_low` and `_high` the truth lies with 95%
/// confidence.
#[derive(Serialize)]
struct SnapshotSites {
    id: u64,
    time: String,
    reason: &'static str,
    rss_bytes: u64,
    size: u64,
    size_low: u64,
    size_high: u64,
    count: u64,
    count_low: u64,
    count_high: u64,
    partial: Option<String>,
    /// How many sites there are.
    sites: usize,
    /// The largest.
    top_allocations: Vec<Allocation>,
}

#[derive(Serialize)]
struct Allocation {
    function: String,
    file: String,
    line: u32,
    size: u64,
    size_low: u64,
    size_high: u64,
    count: u64,
    count_low: u64,
    count_high: u64,
    samples: u64,
}

impl MemoryLeaks {
    /// With the `count` largest sites of each snapshot.
    pub(crate) fn of(shared: &Shared, namer: &mut Namer<'_>, wanted: &Wanted, count: usize) -> Result<Self> {
        let KeptSites { snapshots, left_out, comments } = shared.kept_sites(count, namer, wanted)?;
        let (baseline, peak) = {
            let history = shared.history();
            (history.baseline_id(), history.peak_id())
        };
        Ok(Self {
            time: time(SystemTime::now()),
            snapshots: snapshots.into_iter().map(|(snapshot, held)| SnapshotSites::of(&snapshot, held)).collect(),
            snapshots_left_out: left_out,
            baseline,
            peak,
            comments,
            leaks: shared.leaks(namer, wanted)?,
        })
    }
}

impl SnapshotSites {
    fn of(snapshot: &Snapshot, held: Held) -> Self {
        let live = Amount::of(&snapshot.live);
        Self {
            id: snapshot.id,
            time: time(snapshot.time),
            reason: snapshot.reason.name(),
            rss_bytes: snapshot.reading.process.rss,
            size: whole(live.bytes.estimate),
            size_low: whole(live.bytes.low),
            size_high: whole(live.bytes.high),
            count: whole(live.objects.estimate),
            count_low: whole(live.objects.low),
            count_high: whole(live.objects.high),
            partial: snapshot.partial.map(|partial| partial.to_string()),
            sites: held.sites,
            top_allocations: held.largest.into_iter().map(Allocation::of).collect(),
        }
    }
}

impl Allocation {
    fn of(held: HeldSite) -> Self {
        let HeldSite { site, live } = held;
        Self {
            function: site.function,
            file: site.file,
            line: site.line,
            size: whole(live.bytes.estimate),
            size_low: whole(live.bytes.low),
            size_high: whole(live.bytes.high),
            count: whole(live.objects.estimate),
            count_low: whole(live.objects.low),
            count_high: whole(live.objects.high),
            samples: live.samples,
        }
    }
}

fn whole(estimate: f64) -> u64 {
    estimate.round() as u64
}
