//! What a reading tells of the process, the allocator and the control group.
//!
//! Readings are taken apart by name, so that a figure that is new is not forgotten here.

use std::fmt;

use super::Out;
use crate::profile::{AllocatorMemory, CgroupMemory, ProcessMemory, Reading};
use crate::profiler::Status;

impl Out<'_> {
    pub(super) fn memory(&mut self, status: &Status) -> fmt::Result {
        // Absent when unknown: a zero would be a lie.
        let Some(reading) = status.reading else { return Ok(()) };
        // Times are the scraper's own; the machine, pressure and events have files of their own.
        let Reading { time: _, uptime: _, process, allocator, cgroup, system: _, pressure: _, events: _ } = reading;
        self.process(&process)?;
        if let Some(allocator) = allocator {
            self.allocator(&allocator)?;
        }
        let CgroupMemory { limit, usage } = cgroup;
        self.bytes("cgroup_limit", "Smallest memory limit of the control groups above", limit)?;
        self.bytes(
            "cgroup_usage",
            "Use of the control group (the one with the limit, if any), without droppable page cache",
            usage,
        )
    }

    fn process(&mut self, process: &ProcessMemory) -> fmt::Result {
        let ProcessMemory { rss, virtual_size, swap, anonymous, files, shared_memory, threads } = *process;
        self.bytes("process_rss", "Resident set size of this process", Some(rss))?;
        self.bytes("process_virtual", "Address space of this process", Some(virtual_size))?;
        self.bytes("process_swap", "Memory of this process that is swapped out", swap)?;
        self.bytes("process_anonymous", "RSS that no file is behind", anonymous)?;
        self.bytes("process_files", "RSS that is pages of files", files)?;
        self.bytes("process_shared_memory", "RSS that is shared memory", shared_memory)?;
        match threads {
            Some(threads) => self.gauge("process_threads", "Threads of this process", threads),
            None => Ok(()),
        }
    }

    fn allocator(&mut self, allocator: &AllocatorMemory) -> fmt::Result {
        let AllocatorMemory {
            allocated,
            active,
            resident,
            mapped,
            retained,
            metadata,
            metadata_index,
            dirty,
            muzzy,
            thread_caches,
        } = *allocator;
        for (name, help, value) in [
            ("allocated", "In use by the service, by jemalloc's count", Some(allocated)),
            ("active", "Pages with live allocations", Some(active)),
            ("resident", "Pages that jemalloc has in memory", Some(resident)),
            ("mapped", "Address space in jemalloc's active extents", Some(mapped)),
            ("retained", "Address space that jemalloc keeps, given back as pages", Some(retained)),
            ("metadata", "jemalloc's own tables", Some(metadata)),
            ("metadata_index", "Of jemalloc's own tables, the index from address to extent", metadata_index),
            ("dirty", "Unused pages that jemalloc has not given back yet", dirty),
            ("muzzy", "Pages that the kernel may take back from jemalloc", muzzy),
            ("thread_caches", "Freed, and kept by threads for their next allocations", thread_caches),
        ] {
            self.bytes(&format!("allocator_{name}"), help, value)?;
        }
        Ok(())
    }
}
