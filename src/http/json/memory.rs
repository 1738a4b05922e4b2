//! One reading, as JSON: of a snapshot, of an earlier run, and the last one.
//!
//! Readings are taken apart by name, so that a figure that is new is not forgotten here.

use serde::Serialize;

use super::system::{Swap, System, system_and_swap};
use super::{EventsJson, PressureJson, time};
use crate::profile::{AllocatorMemory, CgroupMemory, ProcessMemory, Reading};

/// The memory gauges of one reading.
#[derive(Serialize)]
pub(super) struct Memory {
    time: String,
    /// Since heapward started.
    uptime_seconds: f64,
    rss_bytes: u64,
    virtual_bytes: u64,
    swap_bytes: Option<u64>,
    anonymous_bytes: Option<u64>,
    files_bytes: Option<u64>,
    shared_memory_bytes: Option<u64>,
    threads: Option<u64>,
    allocator: Option<Allocator>,
    cgroup_limit_bytes: Option<u64>,
    cgroup_usage_bytes: Option<u64>,
    /// `null` where the kernel does not tell.
    pressure: Option<PressureJson>,
    cgroup_events: EventsJson,
    /// The machine's; `null` when the kernel could not be asked, as is its swap.
    system: Option<System>,
    swap: Option<Swap>,
}

#[derive(Serialize)]
pub(super) struct Allocator {
    allocated_bytes: u64,
    active_bytes: u64,
    resident_bytes: u64,
    mapped_bytes: u64,
    retained_bytes: u64,
    metadata_bytes: u64,
    metadata_index_bytes: Option<u64>,
    dirty_bytes: Option<u64>,
    muzzy_bytes: Option<u64>,
    thread_caches_bytes: Option<u64>,
}

impl Memory {
    pub(super) fn of(reading: &Reading) -> Self {
        let Reading { time: at, uptime, process, allocator, cgroup, system, pressure, events } = reading;
        let ProcessMemory { rss, virtual_size, swap: swapped, anonymous, files, shared_memory, threads } = *process;
        let CgroupMemory { limit, usage } = *cgroup;
        let (system, swap) = system.as_ref().map(system_and_swap).unzip();
        Self {
            time: time(*at),
            uptime_seconds: uptime.as_secs_f64(),
            rss_bytes: rss,
            virtual_bytes: virtual_size,
            swap_bytes: swapped,
            anonymous_bytes: anonymous,
            files_bytes: files,
            shared_memory_bytes: shared_memory,
            threads,
            allocator: allocator.map(Allocator::of),
            cgroup_limit_bytes: limit,
            cgroup_usage_bytes: usage,
            pressure: pressure.as_ref().map(PressureJson::of),
            cgroup_events: EventsJson::of(events),
            system,
            swap,
        }
    }
}

impl Allocator {
    pub(super) fn of(memory: AllocatorMemory) -> Self {
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
        } = memory;
        Self {
            allocated_bytes: allocated,
            active_bytes: active,
            resident_bytes: resident,
            mapped_bytes: mapped,
            retained_bytes: retained,
            metadata_bytes: metadata,
            metadata_index_bytes: metadata_index,
            dirty_bytes: dirty,
            muzzy_bytes: muzzy,
            thread_caches_bytes: thread_caches,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::{Value, json};

    use super::*;
    use crate::profile::{CgroupEvents, Pressure, Share, Stall, SystemMemory};

    /// Every figure of a reading has its own number here, and its own place there.
    #[test]
    fn all_that_was_read_is_told() {
        let stall = |from: u32| Stall {
            avg10: Share(from),
            avg60: Share(from + 100),
            avg300: Share(from + 200),
            total: Duration::from_millis(u64::from(from)),
        };
        let reading = Reading {
            time: SystemTime::UNIX_EPOCH,
            uptime: Duration::from_millis(1500),
            process: ProcessMemory {
                rss: 1,
                virtual_size: 2,
                swap: Some(3),
                anonymous: Some(4),
                files: Some(5),
                shared_memory: Some(6),
                threads: Some(7),
            },
            allocator: Some(AllocatorMemory {
                allocated: 8,
                active: 9,
                resident: 10,
                mapped: 11,
                retained: 12,
                metadata: 13,
                metadata_index: Some(14),
                dirty: Some(15),
                muzzy: Some(16),
                thread_caches: Some(17),
            }),
            cgroup: CgroupMemory { limit: Some(18), usage: Some(19) },
            system: Some(SystemMemory {
                total: 1000,
                free: 20,
                available: Some(700),
                active: Some(21),
                inactive: Some(22),
                buffers: Some(23),
                cached: Some(24),
                shared: Some(25),
                slab: Some(26),
                swap_total: Some(200),
                swap_free: Some(150),
            }),
            pressure: Some(Pressure { some: stall(1000), full: stall(2000), of_group: true }),
            events: CgroupEvents { low: Some(27), high: Some(28), max: Some(29), oom: Some(30), oom_kill: Some(31) },
        };
        let expect = json!({
            "time": "1970-01-01T00:00:00.000Z",
            "uptime_seconds": 1.5,
            "rss_bytes": 1,
            "virtual_bytes": 2,
            "swap_bytes": 3,
            "anonymous_bytes": 4,
            "files_bytes": 5,
            "shared_memory_bytes": 6,
            "threads": 7,
            "allocator": {
                "allocated_bytes": 8,
                "active_bytes": 9,
                "resident_bytes": 10,
                "mapped_bytes": 11,
                "retained_bytes": 12,
                "metadata_bytes": 13,
                "metadata_index_bytes": 14,
                "dirty_bytes": 15,
                "muzzy_bytes": 16,
                "thread_caches_bytes": 17,
            },
            "cgroup_limit_bytes": 18,
            "cgroup_usage_bytes": 19,
            "pressure": {
                "of": "cgroup",
                "some": { "avg10_ratio": 0.1, "avg60_ratio": 0.11, "avg300_ratio": 0.12, "total_seconds": 1.0 },
                "full": { "avg10_ratio": 0.2, "avg60_ratio": 0.21, "avg300_ratio": 0.22, "total_seconds": 2.0 },
            },
            "cgroup_events": { "low": 27, "high": 28, "max": 29, "oom": 30, "oom_kill": 31 },
            "system": {
                "total_bytes": 1000,
                "available_bytes": 700,
                "used_bytes": 300,
                "used_percent": 30.0,
                "free_bytes": 20,
                "active_bytes": 21,
                "inactive_bytes": 22,
                "buffers_bytes": 23,
                "cached_bytes": 24,
                "shared_bytes": 25,
                "slab_bytes": 26,
            },
            "swap": { "total_bytes": 200, "used_bytes": 50, "free_bytes": 150, "used_percent": 25.0 },
        });
        assert_eq!(serde_json::to_value(Memory::of(&reading)).unwrap(), expect);
    }

    #[test]
    fn what_is_unknown_is_null_and_never_zero() {
        let memory = serde_json::to_value(Memory::of(&Reading::of_rss(0, 5))).unwrap();
        let told: Vec<&String> =
            memory.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
        let known = ["cgroup_events", "rss_bytes", "time", "uptime_seconds", "virtual_bytes"];
        assert_eq!(told.len(), known.len(), "{told:?}");
        assert!(known.iter().all(|name| !memory[name].is_null()), "{told:?}");
        assert!(memory["cgroup_events"].as_object().unwrap().values().all(Value::is_null));
    }
}
