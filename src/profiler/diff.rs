//! A diff of two moments with what its reader must know of them.

use std::time::{Duration, SystemTime};

use super::moment::{Moment, missed_between};
use super::{Comparison, Heap, Namer, Shared};
use crate::analysis::{Baseline, Diff, Grouping, Kept, Past, Question};
use crate::error::Result;
use crate::snapshot::RunId;

/// A diff of two moments with what its reader must know of them.
pub(crate) struct DiffReport {
    /// The moment that is compared with.
    pub(crate) base: When,
    /// The moment that is looked at, which may be the older one.
    pub(crate) later: When,
    /// Time between the two, by a clock that never steps.
    pub(crate) apart: Duration,
    /// R, in bytes.
    pub(crate) sample_interval: u64,
    /// What a row is.
    pub(crate) by: Grouping,
    pub(crate) diff: Diff,
    /// Whether samples are missing from in between: the remarks begin with which.
    pub(crate) is_lower_bound: bool,
    /// What keeps it from being the whole truth.
    pub(crate) remarks: Vec<String>,
}

/// A moment, for whoever reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct When {
    /// Its snapshot; `None` for the live heap.
    pub(crate) id: Option<u64>,
    /// Its run; `None` for this one.
    pub(crate) run: Option<RunId>,
    pub(crate) time: SystemTime,
}

impl Shared {
    /// What changed from the snapshot `base` to `later`, for the renderer's thread.
    pub(crate) fn diff(
        &self,
        base: impl Into<Heap>,
        later: Heap,
        question: &Question,
        namer: &mut Namer<'_>,
    ) -> Result<DiffReport> {
        let (base, later, stacks) = self.moments_and_stacks(base.into(), later)?;
        let is_of_this_run = base.run().is_none();
        let (kept, baseline) = if !is_of_this_run {
            // When objects of an earlier run were born is not told, nor beside which first snapshot.
            (Vec::new(), None)
        } else {
            let history = self.history();
            let kept = history.all();
            let baseline = history.baseline_id().and_then(|id| kept.iter().find(|kept| kept.id == id).cloned());
            (kept, baseline)
        };
        let has_birthdays = stacks.has_birthdays();
        let baseline = baseline.map(Moment::Kept).filter(|baseline| {
            has_birthdays
                && ![&base, &later].iter().any(|moment| moment.is_same(baseline))
                && !is_older(&later, baseline)
        });
        let kept: Vec<Kept> =
            kept.iter().map(|snapshot| Kept { id: snapshot.id, time: snapshot.time, epoch: snapshot.epoch }).collect();
        let comparison = Comparison::of(&base, &later, baseline.as_ref(), &stacks, namer);
        let side = later.side();
        let past = Past {
            epoch: side.epoch,
            cohorts: (has_birthdays && is_of_this_run).then_some(side.cohorts),
            mappings: later.mappings(),
            kept: &kept,
            baseline: baseline.as_ref().map(|baseline| {
                let side = baseline.side();
                Baseline { epoch: side.epoch, cohorts: side.cohorts, mappings: baseline.mappings() }
            }),
        };
        let mut diff = Diff::of(&comparison.profile, &comparison.changes, stacks.interval(), &past, question);
        if base.is_same(&later) {
            diff.all_survived(&later.live());
        } else if is_older(&later, &base) || !has_birthdays {
            // Nothing is allocated backwards, and jemalloc's dumps do not tell.
            diff.forget_allocated();
        }
        Ok(DiffReport {
            is_lower_bound: missed_between(&base, &later).is_some(),
            remarks: self.remarks_of(&base, &later, has_birthdays, comparison.profile.comments),
            apart: self.apart(&base, &later),
            base: When::of(&base),
            later: When::of(&later),
            sample_interval: stacks.interval().bytes(),
            by: question.by,
            diff,
        })
    }

    fn remarks_of(&self, base: &Moment, later: &Moment, has_birthdays: bool, of_names: Vec<String>) -> Vec<String> {
        let mut remarks: Vec<String> = missed_between(base, later).into_iter().collect();
        remarks.extend(later.remarks());
        if is_older(later, base) {
            remarks.push(
                "read backwards: the base is the younger of the two, so what is told as born was freed since, and the \
                 other way round"
                    .to_owned(),
            );
        }
        remarks.extend(base.remarks().into_iter().map(|remark| format!("of the base: {remark}")));
        if base.run() != later.run() {
            remarks.push(
                "of two runs: nothing is alive at both, so all of the base is told as freed and all of the later moment as born"
                    .to_owned(),
            );
        } else if base.run().is_some() && !has_birthdays {
            remarks.push(
                "survivors are unknown, and told as freed and born: the later snapshot does not tell apart what was born before \
                 and after the base. The intervals are wider for it"
                    .to_owned(),
            );
        } else if !has_birthdays {
            remarks.push(
                "survivors are unknown, and told as freed and born: this jemalloc has no hooks, and its dumps tell no \
                 birthdays. The intervals are wider for it, as of two heaps that have nothing in common"
                    .to_owned(),
            );
        }
        remarks.extend(of_names);
        remarks
    }
}

impl When {
    fn of(moment: &Moment) -> Self {
        Self { id: moment.id(), run: moment.run(), time: moment.time() }
    }
}

fn is_older(moment: &Moment, than: &Moment) -> bool {
    // The live heap is younger than every snapshot, and this run than every other.
    let order = |moment: &Moment| {
        let run = moment.run();
        (run.is_none(), run, moment.id().unwrap_or(u64::MAX))
    };
    order(moment) < order(than)
}
