//! Where RSS goes, as JSON.

use serde::Serialize;

use crate::analysis::{Breakdown, HeapGrowth, Own, Verdict};
use crate::collect::CollectorStats;
use crate::profile::{Interval, Reading};
use crate::profiler::Shared;
use crate::snapshot::{Selector, Snapshot};

/// Where RSS goes. `live_heap_bytes`, `allocator_slack_bytes`, `allocator_dirty_bytes`, `allocator_metadata_bytes`, those of
/// `not_heap` and `unaccounted_bytes` sum up to `rss_bytes`; the others stand beside them.
#[derive(Serialize)]
pub(super) struct Rss {
    rss_bytes: u64,
    limit_bytes: Option<u64>,
    /// One of `leak`, `fragmentation`, `not heap`, `unclear`.
    verdict: &'static str,
    /// Sentences.
    why: String,
    /// By jemalloc's count and the sampled objects that it misses, as far as they are in memory.
    live_heap_bytes: Option<u64>,
    /// The same, in memory or not.
    live_heap_allocated_bytes: Option<u64>,
    /// By the samples.
    live_heap_estimate: Option<Estimate>,
    allocator_slack_bytes: Option<u64>,
    /// What of that may be live heap, because samples are missing.
    slack_maybe_live_bytes: u64,
    allocator_dirty_bytes: Option<u64>,
    allocator_metadata_bytes: Option<u64>,
    /// Not in memory.
    allocator_retained_address_space_bytes: Option<u64>,
    not_heap: NotHeap,
    /// RSS that cannot be told apart.
    unaccounted_bytes: u64,
    /// What the sources count beyond RSS, and is cut from the parts.
    counted_not_resident_bytes: u64,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct NotHeap {
    mapped_files_bytes: Option<u64>,
    shared_memory_bytes: Option<u64>,
    /// Estimated.
    heapward_bytes: u64,
    other_bytes: Option<u64>,
}

/// With 95% confidence.
#[derive(Serialize)]
struct Estimate {
    bytes: u64,
    bytes_low: u64,
    bytes_high: u64,
}

impl Rss {
    /// At `reading`, beside the first snapshot.
    pub(super) fn now(reading: &Reading, stats: &CollectorStats, shared: &Shared) -> Self {
        let baseline = shared.history().find(Selector::Baseline).ok();
        let (own, live) = shared.own_now(reading, stats.tables_bytes);
        let (own, live) = (with_heap(own, shared), live.map(|live| live.bytes_interval()));
        let heap = shared.heap_growth_now();
        Self::of(Breakdown::of(reading, live, own), baseline.as_deref(), heap, shared)
    }

    /// When `snapshot` was taken, beside the first one.
    pub(super) fn of_snapshot(snapshot: &Snapshot, baseline: Option<&Snapshot>, shared: &Shared) -> Self {
        let earlier = baseline.filter(|baseline| baseline.id != snapshot.id);
        Self::of(
            parts(snapshot, Some(snapshot.live.bytes_interval()), shared),
            earlier,
            shared.heap_growth(snapshot.id),
            shared,
        )
    }

    fn of(parts: Breakdown, baseline: Option<&Snapshot>, heap: HeapGrowth, shared: &Shared) -> Self {
        let baseline = baseline.map(|baseline| self::parts(baseline, None, shared));
        let verdict = Verdict::of(&parts, baseline.as_ref(), heap);
        let (heap, slack_maybe_live_bytes) = (parts.heap, parts.maybe_live());
        Self {
            rss_bytes: parts.rss,
            limit_bytes: parts.limit,
            verdict: verdict.word.as_str(),
            why: verdict.why,
            live_heap_bytes: heap.map(|heap| heap.live),
            live_heap_allocated_bytes: heap.map(|heap| heap.allocated),
            live_heap_estimate: parts.live_estimate.map(Estimate::of),
            allocator_slack_bytes: heap.map(|heap| heap.slack),
            slack_maybe_live_bytes,
            allocator_dirty_bytes: heap.map(|heap| heap.dirty),
            allocator_metadata_bytes: heap.map(|heap| heap.metadata),
            allocator_retained_address_space_bytes: heap.map(|heap| heap.retained),
            not_heap: NotHeap {
                mapped_files_bytes: parts.mapped_files,
                shared_memory_bytes: parts.shared_memory,
                heapward_bytes: parts.heapward,
                other_bytes: parts.other,
            },
            unaccounted_bytes: parts.unaccounted,
            counted_not_resident_bytes: parts.not_resident,
            notes: parts.notes,
        }
    }
}

impl Estimate {
    fn of(interval: Interval) -> Self {
        let bytes = |value: f64| value.round() as u64;
        Self { bytes: bytes(interval.estimate), bytes_low: bytes(interval.low), bytes_high: bytes(interval.high) }
    }
}

fn parts(snapshot: &Snapshot, live: Option<Interval>, shared: &Shared) -> Breakdown {
    Breakdown::of(&snapshot.reading, live, with_heap(shared.own_at(snapshot), shared))
}

/// With heapward's own part of the heap, which is that of now: what it was at an earlier snapshot is not kept.
fn with_heap(own: Own, shared: &Shared) -> Own {
    Own { heap: (shared.history().size_bytes() + shared.cached_symbol_bytes()) as u64, ..own }
}
