//! What changed between two moments, as plain values.

use std::time::SystemTime;

use super::Estimate;
use crate::analysis::{self, Figures, Grouping, Site};
use crate::profiler::{DiffReport, When};

/// What changed between two moments of the heap, and how sure that is: what
/// [`Profiler::diff`](crate::Profiler::diff) gives.
///
/// An object that is alive at both moments was sampled once, so it is no part of the change and of its uncertainty.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diff {
    /// The moment that is compared with.
    pub base: Moment,
    /// The moment that is looked at; the older one of the two where a diff is read backwards.
    pub later: Moment,
    /// The mean number of bytes between two samples: R.
    pub sample_interval: u64,
    /// What a row is.
    pub by: Grouping,
    /// The rows that were asked for: those first whose change is surely far from zero.
    pub rows: Vec<DiffRow>,
    /// The whole heap.
    pub total: DiffAmounts,
    /// How many rows changed, among `rows` or not.
    pub changed: usize,
    /// How many of these may have changed by chance.
    pub not_significant: usize,
    /// How many of the changed rows have an estimate that is closer to zero than `detection_limit`.
    pub below_detection_limit: usize,
    /// Smaller growth of a row may be missed, in bytes: 9 R, where a pure leak is three standard errors from zero.
    pub detection_limit: u64,
    /// Growth up to which there is no sample at all in one of twenty cases, in bytes: R ln 20, as the chance to miss
    /// D bytes is e^(−D/R).
    pub no_trace: u64,
    /// Whether samples are missing from in between, so that what was born and is alive is more than told, and its bounds are
    /// none; the first of `remarks` says why.
    pub is_lower_bound: bool,
    /// What keeps this from being the whole truth, and how it is to be read.
    pub remarks: Vec<String>,
}

/// A moment of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// The id of the snapshot that it is; `None` for the live heap.
    pub snapshot: Option<u64>,
    /// When it was.
    pub time: SystemTime,
}

/// What changed at a site, in a function, or at one stack.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiffRow {
    /// The site, also of a stack; the function where those were asked for, with line 0.
    pub place: Site,
    /// The frames, leaf first, without the allocator's and the language's own; empty where rows are no stacks.
    pub stack: Vec<Site>,
    /// What happened.
    pub amounts: DiffAmounts,
    /// The chance of a difference this large when as much is born as is freed: two-sided.
    pub p_value: f64,
    /// The same, adjusted for the number of rows that changed (Benjamini and Hochberg, 1995).
    pub adjusted_p_value: f64,
    /// Whether that is at most 0.05: of the rows that are called significant, at most so many are by chance.
    pub significant: bool,
    /// What is alive at the later moment by birth, oldest first; empty where birthdays are not known.
    pub ages: Vec<Age>,
    /// Whether the oldest of these stands for several: eight are told apart at most.
    pub ages_folded: bool,
    /// What changed since the pinned first snapshot; `None` when that is one of the two moments.
    pub since_baseline: Option<Amount>,
}

/// What happened to the objects of some stacks between two moments.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct DiffAmounts {
    /// Born − freed.
    pub net: Amount,
    /// Born since the base and alive at the later moment.
    pub born: Amount,
    /// Alive at the base and freed since.
    pub freed: Amount,
    /// Alive at both.
    pub survived: Amount,
    /// Alive at the base.
    pub before: Amount,
    /// Alive at the later moment.
    pub after: Amount,
    /// Bytes allocated in between, freed already or not; estimated. `None` where a diff is read backwards, and where the
    /// source does not tell.
    pub allocated_bytes: Option<u64>,
    /// Objects allocated in between; `None` likewise.
    pub allocated_objects: Option<u64>,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Amount {
    /// Sampled objects that it rests on.
    pub samples: u64,
    /// Bytes.
    pub bytes: Estimate,
    /// Objects.
    pub objects: Estimate,
}

/// What was born before a snapshot, but not before an earlier one that is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Age {
    /// That snapshot with its time; `None` for what is younger than all.
    pub before_snapshot: Option<(u64, SystemTime)>,
    /// Bytes alive; estimated.
    pub bytes: f64,
}

impl Diff {
    pub(super) fn of(report: DiffReport) -> Self {
        let DiffReport { base, later, sample_interval, by, diff, is_lower_bound, remarks, .. } = report;
        Self {
            base: Moment::of(base),
            later: Moment::of(later),
            sample_interval,
            by,
            rows: diff.rows.into_iter().map(DiffRow::of).collect(),
            total: DiffAmounts::of(&diff.total),
            changed: diff.changed,
            not_significant: diff.not_significant,
            below_detection_limit: diff.below_limit,
            detection_limit: diff.detection_limit.round() as u64,
            no_trace: diff.traceless.round() as u64,
            is_lower_bound,
            remarks,
        }
    }
}

impl Moment {
    fn of(when: When) -> Self {
        Self { snapshot: when.id, time: when.time }
    }
}

impl DiffRow {
    fn of(row: analysis::DiffRow) -> Self {
        Self {
            place: row.site,
            stack: row.stack,
            amounts: DiffAmounts::of(&row.figures),
            p_value: row.p_value,
            adjusted_p_value: row.adjusted_p_value,
            significant: row.is_significant,
            ages: row.ages.iter().map(|age| Age { before_snapshot: age.before, bytes: age.bytes }).collect(),
            ages_folded: row.ages_folded,
            since_baseline: row.since_baseline.map(Amount::change),
        }
    }
}

impl DiffAmounts {
    fn of(figures: &Figures) -> Self {
        Self {
            net: Amount::change(figures.net),
            born: Amount::of(figures.born),
            freed: Amount::of(figures.freed),
            survived: Amount::of(figures.survived),
            before: Amount::of(figures.before),
            after: Amount::of(figures.after),
            allocated_bytes: figures.allocated.map(|allocated| allocated.bytes),
            allocated_objects: figures.allocated.map(|allocated| allocated.objects),
        }
    }
}

impl Amount {
    pub(super) fn of(amount: analysis::Amount) -> Self {
        Self {
            samples: amount.samples,
            bytes: Estimate::bytes(amount.bytes),
            objects: Estimate::objects(amount.objects),
        }
    }

    fn change(amount: analysis::Amount) -> Self {
        let Self { samples, bytes, objects } = Self::of(amount);
        Self { samples, bytes: bytes.change(), objects: objects.change() }
    }

    pub(super) fn about(amount: analysis::Amount) -> Self {
        let Self { samples, bytes, objects } = Self::of(amount);
        Self { samples, bytes: bytes.about(), objects: objects.about() }
    }
}
