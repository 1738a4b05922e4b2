//! A diff as JSON. Sizes are bytes, times UTC in RFC 3339; what is unknown is `null`.

use serde::Serialize;

use super::json::time;
use crate::analysis::{Age, Amount, DiffRow, Figures, Site};
use crate::profiler::{DiffReport, When};

/// `GET /api/diff/{base}/{id}`. All amounts are estimates, with the bounds between which the truth lies with 95%
/// confidence.
#[derive(Serialize)]
pub(super) struct DiffJson {
    base: WhenJson,
    later: WhenJson,
    /// Time between the two, by a clock that never steps.
    seconds: f64,
    sample_interval_bytes: u64,
    /// What a row is: `stack`, `site` or `function`.
    by: &'static str,
    /// The whole heap.
    total: FiguresJson,
    /// Smaller growth at one row may be missed.
    detection_limit_bytes: u64,
    /// Growth of which there is no sample at all in one of twenty cases.
    no_trace_bytes: u64,
    /// Rows that changed, listed or not.
    changed: usize,
    /// Of these, those whose change cannot be told from sampling noise.
    not_significant: usize,
    /// Of the changed ones, those whose estimated change is below the detection limit.
    below_detection_limit: usize,
    /// Whether samples are missing from in between, so that what was born and is alive is more than told, and its bounds are
    /// none; the first remark says why.
    is_lower_bound: bool,
    remarks: Vec<String>,
    rows: Vec<RowJson>,
}

#[derive(Serialize)]
struct WhenJson {
    /// `null` for the live heap.
    id: Option<u64>,
    /// Its run, where that is an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    time: String,
}

#[derive(Serialize)]
struct RowJson {
    /// The site, or the function with line 0.
    #[serde(flatten)]
    site: Site,
    /// Leaf first; empty where rows are no stacks.
    stack: Vec<Site>,
    #[serde(flatten)]
    figures: FiguresJson,
    /// The chance of a difference this large when as much is born as is freed.
    p_value: f64,
    /// Adjusted for the number of rows that changed (Benjamini and Hochberg).
    adjusted_p_value: f64,
    /// Whether that is at most 0.05.
    significant: bool,
    /// What is alive at the later moment by birth, oldest first.
    ages: Vec<AgeJson>,
    /// Whether the oldest of these stands for several: eight are told apart at most.
    ages_folded: bool,
    /// Net change since the pinned first snapshot; `null` when that is one of the two.
    since_baseline: Option<AmountJson>,
}

#[derive(Serialize)]
struct FiguresJson {
    /// Born − freed.
    net: AmountJson,
    /// Born since the base and alive later.
    born: AmountJson,
    /// Alive at the base and freed since.
    freed: AmountJson,
    /// Alive at both.
    survived: AmountJson,
    before: AmountJson,
    after: AmountJson,
    /// Allocated in between, freed already or not; `null` where that is not known, and where a diff is read backwards.
    allocated_bytes: Option<u64>,
    allocated_objects: Option<u64>,
}

#[derive(Serialize)]
struct AmountJson {
    /// Samples that it rests on.
    samples: u64,
    bytes: i64,
    bytes_low: i64,
    bytes_high: i64,
    objects: i64,
    objects_low: i64,
    objects_high: i64,
}

#[derive(Serialize)]
struct AgeJson {
    /// The first kept snapshot after these objects' birth; `null` for those younger than all.
    before_snapshot: Option<u64>,
    /// When that was taken.
    time: Option<String>,
    bytes: i64,
}

impl DiffJson {
    pub(super) fn of(report: DiffReport) -> Self {
        let DiffReport { base, later, apart, sample_interval, by, diff, is_lower_bound, remarks } = report;
        Self {
            base: WhenJson::of(base),
            later: WhenJson::of(later),
            seconds: apart.as_secs_f64(),
            sample_interval_bytes: sample_interval,
            by: by.name(),
            total: FiguresJson::of(&diff.total),
            detection_limit_bytes: diff.detection_limit.round() as u64,
            no_trace_bytes: diff.traceless.round() as u64,
            changed: diff.changed,
            not_significant: diff.not_significant,
            below_detection_limit: diff.below_limit,
            is_lower_bound,
            remarks,
            rows: diff.rows.into_iter().map(RowJson::of).collect(),
        }
    }
}

impl WhenJson {
    fn of(when: When) -> Self {
        Self { id: when.id, run: when.run.map(|run| run.to_string()), time: time(when.time) }
    }
}

impl RowJson {
    fn of(row: DiffRow) -> Self {
        Self {
            site: row.site,
            stack: row.stack,
            figures: FiguresJson::of(&row.figures),
            p_value: row.p_value,
            adjusted_p_value: row.adjusted_p_value,
            significant: row.is_significant,
            ages: row.ages.into_iter().map(AgeJson::of).collect(),
            ages_folded: row.ages_folded,
            since_baseline: row.since_baseline.map(AmountJson::of),
        }
    }
}

impl FiguresJson {
    fn of(figures: &Figures) -> Self {
        Self {
            net: AmountJson::of(figures.net),
            born: AmountJson::of(figures.born),
            freed: AmountJson::of(figures.freed),
            survived: AmountJson::of(figures.survived),
            before: AmountJson::of(figures.before),
            after: AmountJson::of(figures.after),
            allocated_bytes: figures.allocated.map(|allocated| allocated.bytes),
            allocated_objects: figures.allocated.map(|allocated| allocated.objects),
        }
    }
}

impl AmountJson {
    fn of(amount: Amount) -> Self {
        let Amount { samples, bytes, objects } = amount;
        Self {
            samples,
            bytes: bytes.estimate.round() as i64,
            bytes_low: bytes.low.round() as i64,
            bytes_high: bytes.high.round() as i64,
            objects: objects.estimate.round() as i64,
            objects_low: objects.low.round() as i64,
            objects_high: objects.high.round() as i64,
        }
    }
}

impl AgeJson {
    fn of(age: Age) -> Self {
        let (id, taken) = age.before.unzip();
        Self { before_snapshot: id, time: taken.map(time), bytes: age.bytes.round() as i64 }
    }
}
