//! One look at the memory gauges, as a plain value.

use std::time::{Duration, SystemTime};

use super::{CgroupEvents, Pressure};

/// Memory of this process as the kernel counts it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    /// Resident set size: pages in memory, whoever asked for them.
    pub rss: u64,
    /// Size of the address space.
    pub virtual_size: u64,
    /// What was swapped out; `None` where the kernel does not say.
    pub swap: Option<u64>,
    /// The part of RSS that no file is behind: heaps, stacks; `None` where the kernel does not say (before 4.5).
    pub anonymous: Option<u64>,
    /// The part of RSS that is pages of files: programs, libraries, mapped data; `None` as above.
    pub files: Option<u64>,
    /// The part of RSS that is shared memory (shmem, tmpfs); `None` as above.
    pub shared_memory: Option<u64>,
    /// Threads; a number, not bytes.
    pub threads: Option<u64>,
}

/// jemalloc's own figures, in bytes: allocated ≤ active ≤ resident; the others stand beside these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllocatorMemory {
    /// In use by the service, rounded up to size classes; without sampled objects of less than 16 KiB, which jemalloc 5.3.1
    /// leaves out.
    pub allocated: u64,
    /// Pages with at least one live allocation.
    pub active: u64,
    /// Pages in memory: active, dirty and metadata.
    pub resident: u64,
    /// Address space in active extents.
    pub mapped: u64,
    /// Address space kept for later, given back to the kernel as pages.
    pub retained: u64,
    /// jemalloc's own tables. Some of them (of its profiler, of thread caches) are allocations too, and so in `allocated`
    /// and `active` as well.
    pub metadata: u64,
    /// Of the tables, the index from address to extent: large, and mostly never touched. `None` where jemalloc does not say.
    pub metadata_index: Option<u64>,
    /// Pages with no live allocation that jemalloc has not given back yet; `None` where it does not say.
    pub dirty: Option<u64>,
    /// Pages that the kernel may take back when it wants them (MADV_FREE), and that count as RSS until then; not in
    /// `resident`. `None` as above.
    pub muzzy: Option<u64>,
    /// Freed, and kept by threads for their next allocations: in `allocated`, though nothing of the service's is in it.
    /// `None` as above.
    pub thread_caches: Option<u64>,
}

/// The memory control group that this process is in, in bytes. An unknown limit is `None`: neither zero nor infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupMemory {
    /// The smallest limit of the group and those above it; `None` when none is set or none can be read.
    pub limit: Option<u64>,
    /// What the group with that limit uses, without the page cache that can be dropped.
    pub usage: Option<u64>,
}

/// Memory of the whole machine, in bytes, with the meanings of `virtual_memory` and `swap_memory` of psutil 7.1 and later on
/// Linux. What the kernel does not tell is `None`, where psutil has 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SystemMemory {
    /// Memory that the kernel can use.
    pub total: u64,
    /// Not used for anything.
    pub free: u64,
    /// What can be had without swapping, by the kernel's estimate.
    pub available: Option<u64>,
    /// Used recently, and not taken back unless there is need.
    pub active: Option<u64>,
    /// Not used recently: the first to be taken back.
    pub inactive: Option<u64>,
    /// Cached blocks of devices.
    pub buffers: Option<u64>,
    /// Cached files, with the part of `slab` that can be taken back.
    pub cached: Option<u64>,
    /// Shared memory (shmem, tmpfs); a part of `cached`.
    pub shared: Option<u64>,
    /// The kernel's own objects.
    pub slab: Option<u64>,
    /// Swap; 0 where there is none.
    pub swap_total: Option<u64>,
    /// What of it is free.
    pub swap_free: Option<u64>,
}

impl SystemMemory {
    /// What is not available: since psutil 7.1.0 and procps 4.0, not `total - free - cached - buffers` any more.
    pub(crate) fn used(&self) -> Option<u64> {
        Some(self.total.saturating_sub(self.available?))
    }

    /// The share of memory that is used, 0 to 1.
    pub(crate) fn used_ratio(&self) -> Option<f64> {
        Some(share(self.used()?, self.total))
    }

    /// What of the swap is used.
    pub(crate) fn swap_used(&self) -> Option<u64> {
        Some(self.swap_total?.saturating_sub(self.swap_free?))
    }

    /// The share of the swap that is used, 0 to 1; 0 where there is no swap.
    pub(crate) fn swap_used_ratio(&self) -> Option<f64> {
        Some(share(self.swap_used()?, self.swap_total?))
    }
}

/// `part` of `whole`, 0 to 1; 0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One look at the gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Wall-clock time, for people.
    pub time: SystemTime,
    /// Time since the profiler started, for decisions: never steps.
    pub uptime: Duration,
    /// The process.
    pub process: ProcessMemory,
    /// The allocator; `None` when it could not be asked.
    pub allocator: Option<AllocatorMemory>,
    /// The control group.
    pub cgroup: CgroupMemory,
    /// The whole machine; `None` when the kernel could not be asked.
    pub system: Option<SystemMemory>,
    /// Memory pressure; `None` where the kernel does not tell.
    pub pressure: Option<Pressure>,
    /// What befell the control group.
    pub events: CgroupEvents,
}

#[cfg(test)]
impl Reading {
    /// Of a process with that RSS in bytes at that uptime in seconds; nothing else is known.
    pub(crate) fn of_rss(seconds: u64, rss: u64) -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            uptime: Duration::from_secs(seconds),
            process: ProcessMemory { rss, ..Default::default() },
            allocator: None,
            cgroup: CgroupMemory::default(),
            pressure: None,
            events: CgroupEvents::default(),
            system: None,
        }
    }
}
