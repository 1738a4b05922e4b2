//! A capture from jemalloc's own dump, for builds without the hooks.

use super::collector::Capture;
use super::stack_table::StackTable;
use crate::error::Result;
use crate::format::heap_v2;
use crate::profile::{Cohort, SampleInterval, Sums};
use crate::system::dump_heap_v2;

/// What is alive by jemalloc's own count. A dump knows no birthdays, so there is one epoch, and tells nothing of
/// what was freed (`prof_accum`, which would, never frees its contexts), so there are no totals.
pub(super) fn capture(stacks: &StackTable, interval: SampleInterval) -> Result<Capture> {
    let dump = heap_v2::parse(&dump_heap_v2()?)?;
    let mut rows: Vec<(u32, Sums)> = dump
        .stacks
        .iter()
        .filter(|stack| stack.inuse_objects > 0 || stack.inuse_bytes > 0)
        .map(|stack| {
            let frames: Vec<u64> = stack.addresses.iter().map(|address| address.0).collect();
            let id = stacks.intern(&frames);
            // jemalloc distorts its counts (prof_unbias) so that scaling their average gives the unbiased estimate.
            (id.0, interval.weigh_average(stack.inuse_objects, stack.inuse_bytes))
        })
        .collect();
    rows.sort_unstable_by_key(|row| row.0);
    let cohorts: Vec<Cohort> = rows
        .chunk_by(|a, b| a.0 == b.0)
        .map(|rows| {
            let mut live = Sums::default();
            rows.iter().for_each(|row| live += row.1);
            Cohort { stack: rows[0].0, epoch: 0, live }
        })
        .collect();
    Ok(Capture { live_objects: cohorts.iter().map(|cohort| cohort.live.objects).sum(), cohorts, ..Capture::default() })
}
