//! The machine's memory, this process' CPU time, and heapward's own slowness.

use std::fmt;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::gauges::Out;
use crate::profile::SystemMemory;
use crate::profiler::{Shared, Status};

impl Out<'_> {
    pub(super) fn system(&mut self, shared: &Shared, status: &Status) -> fmt::Result {
        let cpu = ConstCounter::new(shared.cpu_time().as_secs_f64());
        self.any("process_cpu", "CPU time of this process", Some(&Unit::Seconds), &cpu)?;
        let slow = shared.monitoring().slow.count();
        self.counter("slow_operations", "Operations of heapward's own above HEAPWARD_SLOW_OPERATION_MS", slow)?;
        // Absent when unknown: a zero would be a lie.
        let Some(memory) = status.reading.and_then(|reading| reading.system) else { return Ok(()) };
        let (used, used_ratio) = (memory.used(), memory.used_ratio());
        let (swap_used, swap_used_ratio) = (memory.swap_used(), memory.swap_used_ratio());
        // By name, so that a figure that is new is not forgotten here.
        let SystemMemory {
            total,
            free,
            available,
            active,
            inactive,
            buffers,
            cached,
            shared,
            slab,
            swap_total,
            swap_free,
        } = memory;
        for (name, help, value) in [
            ("memory_total", "Memory of the machine", Some(total)),
            ("memory_used", "Memory of the machine that is not available", used),
            ("memory_available", "What can be had without swapping, by the kernel's estimate", available),
            ("memory_free", "Memory that is used for nothing", Some(free)),
            ("memory_active", "Memory used recently", active),
            ("memory_inactive", "Memory not used recently", inactive),
            ("memory_buffers", "Cached blocks of devices", buffers),
            ("memory_cached", "Cached files, with slab that can be taken back", cached),
            ("memory_shared", "Shared memory", shared),
            ("memory_slab", "The kernel's own objects", slab),
            ("swap_total", "Swap of the machine", swap_total),
            ("swap_used", "Swap in use", swap_used),
            ("swap_free", "Swap not in use", swap_free),
        ] {
            self.bytes(&format!("system_{name}"), help, value)?;
        }
        self.ratio("system_memory_used", "Share of the machine's memory that is not available", used_ratio)?;
        self.ratio("system_swap_used", "Share of the swap in use; 0 without swap", swap_used_ratio)
    }

    fn ratio(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        match value {
            Some(value) => self.any(name, help, Some(&Unit::Other("ratio".to_owned())), &ConstGauge::new(value)),
            None => Ok(()),
        }
    }
}
