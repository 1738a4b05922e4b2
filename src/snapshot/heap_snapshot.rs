//! The live heap at one moment. Immutable.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::policy::Reason;
use crate::profile::{Cohorts, Gaps, Mapping, PackedTotals, Partial, Reading, Sums, Whole};

/// The live heap at one moment: raw addresses, no names.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Rises by one with every snapshot of this run, from 1.
    pub(crate) id: u64,
    /// Wall-clock time.
    pub(crate) time: SystemTime,
    /// Why it was taken.
    pub(crate) reason: Reason,
    /// The gauges at that moment.
    pub(crate) reading: Reading,
    /// The epoch that it ended.
    pub(crate) epoch: u32,
    /// The epochs before it that its cohorts tell apart, rising.
    pub(crate) told_apart: Vec<u32>,
    /// What was alive.
    pub(crate) cohorts: Cohorts,
    /// What was ever allocated until then; empty when the source does not tell.
    pub(crate) totals: PackedTotals,
    /// All stacks together.
    pub(crate) whole: Whole,
    /// The sum of the cohorts.
    pub(crate) live: Sums,
    /// Estimate of the resident bytes of the collector's tables.
    pub(crate) tables_bytes: u64,
    /// What samples had missed until then.
    pub(crate) gaps: Gaps,
    /// Samples whose stack had found no room until then.
    pub(crate) dropped_stacks: u64,
    /// Files loaded then; snapshots with the same files share the list.
    pub(crate) mappings: Arc<[Mapping]>,
    /// How long it took.
    pub(crate) duration: Duration,
    /// Why it does not show everything.
    pub(crate) partial: Option<Partial>,
    /// The episode that it belongs to: a rise of which there are other snapshots.
    pub(crate) episode: Option<u64>,
}

impl Snapshot {
    /// Memory that it takes, without the shared list of files: some five bytes for each live sample, 48 for each size of
    /// these, and usually 10 to 20 for each stack that ever allocated.
    pub(crate) fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + self.cohorts.size_bytes()
            + self.totals.size_bytes()
            + self.told_apart.capacity() * size_of::<u32>()
            + self.whole.births.capacity() * size_of::<(u32, Sums)>()
    }
}
