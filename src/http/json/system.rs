//! The machine's memory and swap, as JSON.

use serde::Serialize;

use crate::profile::SystemMemory;

/// The machine's memory.
#[derive(Serialize)]
pub(super) struct System {
    total_bytes: u64,
    available_bytes: Option<u64>,
    used_bytes: Option<u64>,
    used_percent: Option<f64>,
    free_bytes: u64,
    active_bytes: Option<u64>,
    inactive_bytes: Option<u64>,
    buffers_bytes: Option<u64>,
    cached_bytes: Option<u64>,
    shared_bytes: Option<u64>,
    slab_bytes: Option<u64>,
}

/// Its swap.
#[derive(Serialize)]
pub(super) struct Swap {
    total_bytes: Option<u64>,
    used_bytes: Option<u64>,
    free_bytes: Option<u64>,
    used_percent: Option<f64>,
}

/// Both. Taken apart by name, so that a figure that is new is not forgotten here.
pub(super) fn system_and_swap(memory: &SystemMemory) -> (System, Swap) {
    let (used, used_percent) = (memory.used(), memory.used_ratio().map(percent));
    let (swap_used, swap_used_percent) = (memory.swap_used(), memory.swap_used_ratio().map(percent));
    let SystemMemory { total, free, available, active, inactive, buffers, cached, shared, slab, swap_total, swap_free } =
        *memory;
    let system = System {
        total_bytes: total,
        available_bytes: available,
        used_bytes: used,
        used_percent,
        free_bytes: free,
        active_bytes: active,
        inactive_bytes: inactive,
        buffers_bytes: buffers,
        cached_bytes: cached,
        shared_bytes: shared,
        slab_bytes: slab,
    };
    let swap =
        Swap { total_bytes: swap_total, used_bytes: swap_used, free_bytes: swap_free, used_percent: swap_used_percent };
    (system, swap)
}

/// A share, 0 to 1, in percent with one digit, as psutil gives it.
fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

pub(super) fn percent_of(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { percent(part as f64 / whole as f64) }
}
