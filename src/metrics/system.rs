//! The machine's memory, this process' CPU time, and heapward's own slowness.

use std::fmt;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::gauges::Out;
use crate::profiler::{Shared, Status};

impl Out<'_> {
    pub(super) fn system(&mut self, shared: &Shared, status: &Status) -> fmt::Result {
        let cpu = ConstCounter::new(shared.cpu_time().as_secs_f64());
        self.any("process_cpu", "CPU time of this process", Some(&Unit::Seconds), &cpu)?;
        let slow = shared.monitoring().slow.count();
        self.counter("slow_operations", "Operations of heapward's own above HEAPWARD_SLOW_OPERATION_MS", slow)?;
        // Absent when unknown: a zero would be a lie.
        let Some(memory) = status.reading.and_then(|reading| reading.system) else { return Ok(()) };
        for (name, help, value) in [
            ("total", "Memory of the machine", Some(memory.total)),
            ("used", "Memory of the machine that is not available", memory.used()),
            ("available", "What can be had without swapping, by the kernel's estimate", memory.available),
            ("free", "Memory that is used for nothing", Some(memory.free)),
            ("active", "Memory used recently", memory.active),
            ("inactive", "Memory not used recently", memory.inactive),
            ("buffers", "Cached blocks of devices", memory.buffers),
            ("cached", "Cached files, with slab that can be taken back", memory.cached),
            ("shared", "Shared memory", memory.shared),
            ("slab", "The kernel's own objects", memory.slab),
        ] {
            self.bytes(&format!("system_memory_{name}"), help, value)?;
        }
        self.ratio("system_memory_used", "Share of the machine's memory that is not available", memory.used_ratio())?;
        self.bytes("system_swap_total", "Swap of the machine", memory.swap_total)?;
        self.bytes("system_swap_used", "Swap in use", memory.swap_used())?;
        self.bytes("system_swap_free", "Swap not in use", memory.swap_free)?;
        self.ratio("system_swap_used", "Share of the swap in use; 0 without swap", memory.swap_used_ratio())
    }

    fn ratio(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        match value {
            Some(value) => self.any(name, help, Some(&Unit::Other("ratio".to_owned())), &ConstGauge::new(value)),
            None => Ok(()),
        }
    }
}
