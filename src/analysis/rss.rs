//! Where the resident set goes.
//!
//! ```text
//! RSS = mapped files + shared memory           the kernel's count
//!     + live heap + slack + dirty + metadata   jemalloc's count
//!     + heapward's tables                      an estimate
//!     + other                                  what is left: stacks of threads, other anonymous memory
//! ```
//!
//! The parts always sum up to RSS, though the sources do not agree: they are read one after the other, the kernel's count
//! is off by up to about nr_cpus² pages from 6.2 on, and jemalloc counts pages that it has handed out, touched or not.
//! Where they claim more than there is, parts are cut, and `not_resident` says by how much.

use crate::profile::{AllocatorMemory, ByteSize, Interval, Reading, SMALL_BYTES};

/// A sampled small object has one page more than it needs, for its random offset (`cache_oblivious`). It may be untouched.
const PAD_BYTES: u64 = 4096;

/// How far one entry of jemalloc's index reaches, over the size of that entry: 4 KiB and 8 bytes.
const BYTES_PER_INDEX_BYTE: u64 = 512;

/// A difference between count and samples below this is not worth a word: what a program allocates before it starts
/// heapward, and what heapward's threads work with, is not sampled.
const NEVER_SAMPLED_BYTES: u64 = 8 << 20;

/// What is claimed beyond RSS is worth a word above this part of it: a hundredth. Some always is, as pages of tables.
const NOTED: u64 = 100;

/// What heapward itself takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Estimate of the resident bytes of its tables, which are in mapped memory.
    pub tables: u64,
    /// What it holds in jemalloc's heap, where nothing of it is sampled: kept snapshots and names.
    pub heap: u64,
    /// Sampled objects alive of less than [`SMALL_BYTES`].
    pub sampled_objects: u64,
    /// Their bytes.
    pub sampled_bytes: u64,
    /// Samples that found no room in the live set, alive or not, of any size.
    pub dropped_objects: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Where sampled objects are known of an earlier moment only: bytes that may have come since.
    pub undumped_bytes: u64,
}

/// The parts of RSS, in bytes. What is unknown is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Breakdown {
    /// All of it.
    pub rss: u64,
    /// The smallest memory limit of the control groups.
    pub limit: Option<u64>,
    /// jemalloc's part.
    pub heap: Option<HeapParts>,
    /// Pages of files.
    pub mapped_files: Option<u64>,
    /// Shared memory.
    pub shared_memory: Option<u64>,
    /// heapward's tables, estimated.
    pub heapward: u64,
    /// What none of the others claims: stacks of threads, other anonymous memory (also that of another allocator, and what
    /// huge pages take beyond what was asked for), and files and shared memory where the kernel does not tell them.
    pub other: Option<u64>,
    /// RSS that cannot be told apart because jemalloc's figures are missing; else 0.
    pub unaccounted: u64,
    /// What was claimed beyond RSS, and cut from the parts.
    pub not_resident: u64,
    /// What of `slack` may be live heap: the bytes of samples of which nobody knows whether they are alive.
    pub dropped: u64,
    /// What such samples take beside their bytes: rests of their pages, and the page more that each has.
    pub dropped_rests: u64,
    /// What was swapped out.
    pub swap: Option<u64>,
    /// Threads, whose stacks are in `other`.
    pub threads: Option<u64>,
    /// The live heap by the samples: beside the parts, not one of them.
    pub live_estimate: Option<Interval>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// jemalloc's part of RSS, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeapParts {
    /// What the service holds, as far as it is in memory.
    pub live: u64,
    /// Rests of pages with at least one live allocation: active − live.
    pub slack: u64,
    /// Pages without a live allocation that jemalloc has not given back: dirty, and muzzy ones, which the kernel may take.
    pub dirty: u64,
    /// jemalloc's own tables.
    pub metadata: u64,
    /// What the service holds, in memory or not: jemalloc's exact count, and the sampled objects that it misses.
    pub allocated: u64,
    /// Address space that is kept for later. Its pages are given back: it is no part of RSS.
    pub retained: u64,
}

impl Breakdown {
    /// The parts of RSS at `reading`; `live` is what the samples say of the live heap.
    pub(crate) fn of(reading: &Reading, live: Option<Interval>, own: Own) -> Self {
        let process = &reading.process;
        let mut left = process.rss;
        // The kernel's own split first: it is exact but for the moment between two reads.
        let mapped_files = process.files.map(|bytes| take(bytes, &mut left));
        let shared_memory = process.shared_memory.map(|bytes| take(bytes, &mut left));
        let heapward = take(own.tables, &mut left);
        let claimed = reading.allocator.as_ref().map(|memory| HeapParts::of(memory, own));
        let muzzy = reading.allocator.and_then(|memory| memory.muzzy).unwrap_or(0);
        let pads = own.sampled_objects.saturating_add(own.dropped_objects).saturating_mul(PAD_BYTES);
        let heap = claimed.map(|claimed| claimed.granted(muzzy, pads, &mut left));
        let not_resident = (own.tables - heapward)
            .saturating_add(claimed.map_or(0, |claimed| claimed.sum()) - heap.map_or(0, |heap| heap.sum()));
        let mut parts = Self {
            rss: process.rss,
            limit: reading.cgroup.limit,
            heap,
            mapped_files,
            shared_memory,
            heapward,
            other: heap.map(|_| left),
            unaccounted: if heap.is_some() { 0 } else { left },
            not_resident,
            dropped: own.dropped_bytes.saturating_add(own.undumped_bytes),
            dropped_rests: own.dropped_objects.saturating_mul(2 * PAD_BYTES),
            swap: process.swap,
            threads: process.threads,
            live_estimate: live,
            notes: Vec::new(),
        };
        parts.notes = parts.notes(reading.allocator.as_ref(), own);
        parts
    }

    /// Everything that is no heap, as far as it can be told from it.
    pub(crate) fn not_heap(&self) -> Option<u64> {
        let known = [self.mapped_files, self.shared_memory].into_iter().flatten().sum::<u64>();
        Some(known + self.heapward + self.other?)
    }

    /// As much of the slack as may be live heap.
    pub(crate) fn maybe_live(&self) -> u64 {
        self.heap.map_or(0, |heap| heap.slack.min(self.dropped))
    }

    /// As much of the slack as comes of such samples if they are alive.
    pub(crate) fn in_doubt(&self) -> u64 {
        self.heap.map_or(0, |heap| heap.slack.min(self.dropped.saturating_add(self.dropped_rests)))
    }

    fn notes(&self, allocator: Option<&AllocatorMemory>, own: Own) -> Vec<String> {
        let mut notes = Vec::new();
        if self.mapped_files.is_none() || self.shared_memory.is_none() {
            notes.push("the kernel does not tell mapped files and shared memory: they are in what is left".to_owned());
        }
        let Some(memory) = allocator else {
            notes.push("jemalloc's figures could not be read: heap and other memory cannot be told apart".to_owned());
            return notes;
        };
        if self.not_resident > self.rss / NOTED {
            let swapped = self.swap.filter(|&swap| swap > 0);
            let swapped = swapped.map_or(String::new(), |swap| format!(" ({} are in swap)", ByteSize::bytes(swap)));
            notes.push(format!(
                "{} that jemalloc or heapward count are not in memory: never touched, swapped out{swapped}, or taken back by \
                 the kernel; they are cut from the parts",
                ByteSize::bytes(self.not_resident)
            ));
        }
        if own.dropped_objects > 0 {
            notes.push(format!(
                "{} samples of {} in all found no room in the live set so far (HEAPWARD_MAX_LIVE_SAMPLES): those of less than \
                 {} that are still alive are missing from the live heap and pass for slack",
                own.dropped_objects,
                ByteSize::bytes(own.dropped_bytes),
                ByteSize::bytes(SMALL_BYTES)
            ));
        }
        if own.undumped_bytes > 0 {
            notes.push(format!(
                "jemalloc's dumps are read only when a snapshot is taken: of {} that its pages grew by since, sampled objects \
                 of less than {} are missing from the live heap and pass for slack",
                ByteSize::bytes(own.undumped_bytes),
                ByteSize::bytes(SMALL_BYTES)
            ));
        }
        notes.extend(self.live_estimate.and_then(|estimate| disagreement(memory, estimate, own)));
        notes
    }
}

impl HeapParts {
    fn of(memory: &AllocatorMemory, own: Own) -> Self {
        let allocated = memory.allocated.saturating_add(own.sampled_bytes);
        // What jemalloc calls resident is active + dirty + pages of metadata (`pa_shard_stats_merge` in its pa_extra.c), so
        // the difference is the metadata that is in memory. `metadata` itself is not: parts of it are allocations, and in
        // `active` already. The index is large and in memory only for the addresses that are in use, one entry for a page.
        // Assumed is `metadata_thp:disabled`, the default: else whole huge pages may be in memory beyond this, in `other`.
        let beyond_active = memory.resident.saturating_sub(memory.active);
        let (dirty, metadata) = match memory.dirty {
            Some(dirty) => (dirty, beyond_active.saturating_sub(dirty)),
            None => (beyond_active.saturating_sub(memory.metadata), memory.metadata.min(beyond_active)),
        };
        let indexed = memory.mapped.saturating_add(memory.retained) / BYTES_PER_INDEX_BYTE;
        let metadata = metadata.saturating_sub(memory.metadata_index.unwrap_or(0).saturating_sub(indexed));
        Self {
            live: allocated,
            slack: memory.active.saturating_sub(allocated),
            dirty: dirty.saturating_add(memory.muzzy.unwrap_or(0)),
            metadata,
            allocated,
            retained: memory.retained,
        }
    }

    /// Pages that jemalloc keeps and the service does not use: slack and dirty.
    pub(crate) fn kept(&self) -> u64 {
        self.slack.saturating_add(self.dirty)
    }

    fn sum(&self) -> u64 {
        self.live.saturating_add(self.kept()).saturating_add(self.metadata)
    }

    /// The same with as much of each as there is in `left`, those first that are the most likely to be in memory: dirty pages
    /// and rests of pages mostly were in use once, but what a service has allocated it need not have touched. The `muzzy`
    /// part of `dirty` comes last, as the kernel may have taken it back, and before it the `pads` in `slack`.
    fn granted(self, muzzy: u64, pads: u64, left: &mut u64) -> Self {
        let (muzzy, pads) = (muzzy.min(self.dirty), pads.min(self.slack));
        let metadata = take(self.metadata, left);
        let dirty = take(self.dirty - muzzy, left);
        let slack = take(self.slack - pads, left);
        let live = take(self.live, left);
        let slack = slack + take(pads, left);
        Self { live, slack, dirty: dirty + take(muzzy, left), metadata, ..self }
    }
}

/// As much of `bytes` as there is in `left`, which it is taken from.
fn take(bytes: u64, left: &mut u64) -> u64 {
    let taken = bytes.min(*left);
    *left -= taken;
    taken
}

/// How jemalloc's count and the samples disagree, beyond what is never sampled.
fn disagreement(memory: &AllocatorMemory, estimate: Interval, own: Own) -> Option<String> {
    let allocated = memory.allocated.saturating_add(own.sampled_bytes);
    let base = memory.resident.saturating_sub(memory.active).saturating_sub(memory.dirty.unwrap_or(0));
    // jemalloc counts these and no sample shows them: its own allocations, what threads keep for later, heapward's own.
    let never_sampled = memory
        .metadata
        .saturating_sub(base)
        .saturating_add(memory.thread_caches.unwrap_or(0))
        .saturating_add(own.heap)
        .saturating_add(NEVER_SAMPLED_BYTES);
    let bytes = |value: f64| ByteSize::bytes(value.round().max(0.0) as u64);
    let range = format!("{} to {}", bytes(estimate.low), bytes(estimate.high));
    if allocated.saturating_sub(never_sampled) as f64 > estimate.high {
        return Some(format!(
            "jemalloc counts {} allocated, the samples say {range}: what was allocated before heapward started, or while \
             sampling was off, is in the first alone; one in twenty such intervals misses by chance",
            ByteSize::bytes(allocated)
        ));
    }
    (estimate.low > allocated as f64).then(|| {
        format!(
            "jemalloc counts {} allocated, the samples say {range}: one in twenty such intervals misses by chance",
            ByteSize::bytes(allocated)
        )
    })
}

#[cfg(test)]
mod tests;
