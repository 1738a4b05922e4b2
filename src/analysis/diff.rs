//! What changed between two moments, and how sure that is.

mod ages;
mod certainty;
mod figures;
mod grouping;
mod groups;
mod past;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{Change, Significance, Site, Tested, benjamini_hochberg};
use crate::profile::{Profile, SampleInterval, Sums, Trim};

pub(crate) use figures::{Allocated, Amount, Figures};
pub use grouping::Grouping;
pub(crate) use grouping::Sort;
pub(crate) use past::{Age, Baseline, Kept, Past};

use certainty::{distance, least_seen};
use groups::Groups;

/// Of all rows that are called significant, the share that may be so by chance alone.
pub(crate) const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// Bounds of intervals take microseconds each, so they are computed only for so many rows more than twice those that
/// are shown: the first ones by bounds that are about right.
const SPARE: usize = 256;

/// What is asked of a diff.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// What a row is.
    pub by: Grouping,
    /// What is plumbing.
    pub trim: Trim,
    /// Which rows come first.
    pub sort: Sort,
    /// How many rows are wanted.
    pub count: usize,
    /// Whether rows are left out whose change may be chance.
    pub only_significant: bool,
}

/// What changed between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Diff {
    /// The rows that were asked for, in their order.
    pub rows: Vec<DiffRow>,
    /// The whole heap.
    pub total: Figures,
    /// Rows at which something was born or freed, shown or not.
    pub changed: usize,
    /// Of these, those whose change may be chance.
    pub not_significant: usize,
    /// Of the changed ones, those whose estimate is closer to zero than `detection_limit`.
    pub below_limit: usize,
    /// Growth in bytes that is hardly ever missed: smaller growth at one row may be.
    pub detection_limit: f64,
    /// Growth in bytes up to which there is not one sample of it in one of twenty cases.
    pub traceless: f64,
}

/// What changed at a site, a function or a stack.
#[derive(Clone, Debug)]
pub(crate) struct DiffRow {
    /// The site, of a stack as well; the function, with line 0, where functions were asked for.
    pub site: Site,
    /// The frames, leaf first, where stacks were asked for; empty elsewhere.
    pub stack: Vec<Site>,
    /// What changed.
    pub figures: Figures,
    /// The chance of a difference this large when as much is born as is freed.
    pub p_value: f64,
    /// The same, adjusted by Benjamini and Hochberg for the number of rows that changed.
    pub adjusted_p_value: f64,
    /// Whether that is at most [`FALSE_DISCOVERY_RATE`].
    pub is_significant: bool,
    /// What was alive at the later moment by birth, the oldest first; empty where birthdays are not known.
    pub ages: Vec<Age>,
    /// Whether the oldest of these stands for several, as there are too many to tell apart.
    pub ages_folded: bool,
    /// Net change since the baseline, unless that is one of the two moments.
    pub since_baseline: Option<Amount>,
}

/// Before all p-values are known.
const NOT_TESTED: Tested = Tested { adjusted: 1.0, is_discovery: false };

/// A group that changed, while the rows are chosen.
struct Candidate {
    group: usize,
    p_value: f64,
    tested: Tested,
    /// Largest first.
    order: [f64; 2],
}

impl Diff {
    /// Of `changes`, each of the stack of the sample of `profile` with the same index.
    pub(crate) fn of(
        profile: &Profile,
        changes: &[Change],
        interval: SampleInterval,
        past: &Past<'_>,
        question: &Question,
    ) -> Self {
        let groups = Groups::of(profile, question.by, question.trim);
        let sums = sums(&groups, changes);
        let limit = least_seen(interval);
        let mut below_limit = 0;
        let mut significance = Significance::default();
        // Counted first: growing would copy, and leave the copies behind.
        let changed = sums.iter().filter(|change| change.is_change()).count();
        let mut candidates: Vec<Candidate> = Vec::with_capacity(changed);
        for (group, change) in sums.iter().enumerate().filter(|(_, change)| change.is_change()) {
            let order = question.sort.order(change, interval);
            below_limit += usize::from(change.net_bytes().abs() < limit);
            let p_value = significance.change(&change.born, &change.freed);
            candidates.push(Candidate { group, p_value, tested: NOT_TESTED, order });
        }
        let p_values: Vec<f64> = candidates.iter().map(|candidate| candidate.p_value).collect();
        for (candidate, tested) in candidates.iter_mut().zip(benjamini_hochberg(&p_values, FALSE_DISCOVERY_RATE)) {
            candidate.tested = tested;
        }
        let not_significant = candidates.iter().filter(|candidate| !candidate.tested.is_discovery).count();
        if question.only_significant {
            candidates.retain(|candidate| candidate.tested.is_discovery);
        }
        if question.sort == Sort::Certain {
            truncate_sorted(&mut candidates, question.count.saturating_mul(2).saturating_add(SPARE));
            for candidate in &mut candidates {
                candidate.order[0] = distance(&sums[candidate.group], interval);
            }
        }
        truncate_sorted(&mut candidates, question.count);

        let shown: Vec<usize> = candidates.iter().map(|candidate| candidate.group).collect();
        let mut histories = past::of(&groups, changes, &shown, past, interval);
        let row = |candidate: &Candidate| {
            let group = candidate.group;
            let history = histories.next().unwrap_or_default();
            DiffRow {
                site: groups.site(group),
                stack: groups.stack(group),
                figures: Figures::of(&sums[group], interval),
                p_value: candidate.p_value,
                adjusted_p_value: candidate.tested.adjusted,
                is_significant: candidate.tested.is_discovery,
                ages: history.ages,
                ages_folded: history.ages_folded,
                since_baseline: history.since_baseline,
            }
        };
        let rows = candidates.iter().map(row).collect();
        let mut total = Change::default();
        changes.iter().for_each(|change| total += *change);
        Self {
            rows,
            total: Figures::of(&total, interval),
            changed,
            not_significant,
            below_limit,
            detection_limit: limit,
            traceless: interval.unseen_limit(),
        }
    }

    /// Says of a heap that was compared with itself that `all` of it is still there.
    pub(crate) fn all_survived(&mut self, all: &Sums) {
        let survived = Amount::of(all);
        let allocated = Some(Allocated::default());
        self.total = Figures { survived, before: survived, after: survived, allocated, ..Figures::default() };
    }

    /// Says nothing of what was allocated in between.
    pub(crate) fn forget_allocated(&mut self) {
        self.total.allocated = None;
        self.rows.iter_mut().for_each(|row| row.figures.allocated = None);
    }
}

/// What changed in each group.
fn sums<'c>(groups: &Groups<'_>, changes: &'c [Change]) -> Cow<'c, [Change]> {
    if groups.are_samples() {
        return Cow::Borrowed(changes);
    }
    let mut sums = vec![Change::default(); groups.len()];
    let mut seen = groups.none_seen();
    for (sample, change) in changes.iter().enumerate() {
        groups.each(sample, &mut seen, |group| sums[group] += *change);
    }
    Cow::Owned(sums)
}

/// The `count` first in their order.
fn truncate_sorted(candidates: &mut Vec<Candidate>, count: usize) {
    let order = |a: &Candidate, b: &Candidate| {
        let [a_first, a_second] = a.order;
        let [b_first, b_second] = b.order;
        b_first.total_cmp(&a_first).then(b_second.total_cmp(&a_second)).then(a.group.cmp(&b.group))
    };
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, order);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(order);
}
