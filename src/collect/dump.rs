//! A capture from jemalloc's own dump, for builds without the hooks.

use super::collector::Capture;
use super::stack_table::StackTable;
use crate::error::Result;
use crate::format::heap_v2;
use crate::profile::{CohortRow, Cohorts, SampleInterval, Sums, Totals, Whole};
use crate::system::dump_heap_v2;

/// An epoch that never ends: younger than any snapshot, so that nothing counts as having survived one.
const NO_BIRTHDAY: u32 = u32::MAX;

/// What is alive by jemalloc's own count. A dump knows no birthdays, and tells nothing of what was freed (`prof_accum`,
/// which would, never frees its contexts), so there are no totals.
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
    // A dump tells only sums, so each stack has a weight of its own.
    let mut weights = Vec::with_capacity(rows.len());
    let cohorts: Vec<CohortRow> = rows
        .chunk_by(|a, b| a.0 == b.0)
        .map(|rows| {
            let weight = weights.len() as u32;
            weights.push(rows.iter().fold(Sums::default(), |live, row| live + row.1));
            CohortRow { stack: rows[0].0, epoch: NO_BIRTHDAY, weight, objects: 1 }
        })
        .collect();
    let cohorts = Cohorts::pack(cohorts.len(), cohorts.into_iter(), weights);
    Ok(Capture { whole: Whole::of(&cohorts, Totals::default()), cohorts, ..Capture::default() })
}
