//! When what a row holds was born, and what changed since the baseline.

use std::time::SystemTime;

use super::Amount;
use super::ages::Ages;
use super::groups::Groups;
use crate::analysis::{Change, Side, changes};
use crate::profile::{Address, Cohorts, Mapping, PackedTotals, Profile, SampleInterval, Sums};

/// What is known of the time before the later moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past<'a> {
    /// What is alive at the later moment, and the epoch then.
    pub epoch: u32,
    /// Of the later moment; `None` where birthdays are not known.
    pub cohorts: Option<&'a Cohorts>,
    /// The files that were loaded then.
    pub mappings: &'a [Mapping],
    /// The snapshots that are kept, oldest first.
    pub kept: &'a [Kept],
    /// The pinned first snapshot, when it is neither the base nor the later moment nor younger than that.
    pub baseline: Option<Baseline<'a>>,
}

/// A snapshot that is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    pub id: u64,
    pub time: SystemTime,
    /// The epoch that it ended.
    pub epoch: u32,
}

/// The pinned first snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline<'a> {
    pub epoch: u32,
    pub cohorts: &'a Cohorts,
    pub mappings: &'a [Mapping],
}

/// What of a row was born before a snapshot and not before an earlier one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Age {
    /// The first kept snapshot after these objects' birth, with its time; `None` when they are younger than all.
    pub before: Option<(u64, SystemTime)>,
    /// Estimated bytes alive.
    pub bytes: f64,
}

/// What the past tells about one row.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) ages: Vec<Age>,
    /// Whether the oldest of them has others in it.
    pub(super) ages_folded: bool,
    pub(super) since_baseline: Option<Amount>,
}

/// One for each group of `shown`, in their order. One pass over the cohorts of each moment: what is held is that of the
/// rows.
pub(super) fn of(
    groups: &Groups<'_>,
    found: &[Change],
    shown: &[usize],
    past: &Past<'_>,
    interval: SampleInterval,
) -> impl Iterator<Item = History> + use<> {
    let rows = Rows::of(groups, shown);
    let ages = past.cohorts.map(|cohorts| ages(groups, found, &rows, cohorts, past.kept));
    let since = past.baseline.map(|baseline| since(groups, found, &rows, past, &baseline));
    let mut histories = vec![History::default(); shown.len()];
    for (history, ages) in histories.iter_mut().zip(ages.into_iter().flatten()) {
        let before = |at: usize| past.kept.get(at).map(|kept| (kept.id, kept.time));
        history.ages = ages.iter().map(|(at, bytes)| Age { before: before(at), bytes }).collect();
        history.ages_folded = ages.are_folded();
    }
    for (history, change) in histories.iter_mut().zip(since.into_iter().flatten()) {
        history.since_baseline = Some(Amount::net(&change, interval));
    }
    histories.into_iter()
}

/// Which row each group is shown in.
struct Rows {
    /// `u32::MAX` for a group that is not shown.
    of_group: Vec<u32>,
    count: usize,
}

impl Rows {
    fn of(groups: &Groups<'_>, shown: &[usize]) -> Self {
        let mut of_group = vec![u32::MAX; groups.len()];
        for (row, &group) in shown.iter().enumerate() {
            of_group[group] = row as u32;
        }
        Self { of_group, count: shown.len() }
    }
}

/// Estimated bytes of each row by the snapshot that they were born before; those younger than all after the last.
fn ages(groups: &Groups<'_>, found: &[Change], rows: &Rows, later: &Cohorts, kept: &[Kept]) -> Vec<Ages> {
    let mut ages = vec![Ages::default(); rows.count];
    let mut seen = groups.none_seen();
    let mut cohorts = later.iter().peekable();
    let mut mine = Vec::new();
    // An address that belonged to other code at one moment has two changes, of which one holds nothing later.
    for (sample, change) in found.iter().enumerate().filter(|(_, change)| change.after().estimated_bytes > 0.0) {
        while cohorts.next_if(|cohort| cohort.stack < change.stack).is_some() {}
        mine.clear();
        while let Some(cohort) = cohorts.next_if(|cohort| cohort.stack == change.stack) {
            let born_before = kept.partition_point(|kept| kept.epoch < cohort.epoch);
            mine.push((born_before, cohort.live.estimated_bytes));
        }
        groups.each(sample, &mut seen, |group| {
            if let Some(row) = ages.get_mut(rows.of_group[group] as usize) {
                mine.iter().for_each(|&(born_before, bytes)| row.add(born_before, bytes));
            }
        });
    }
    ages
}

/// What changed in each row since the baseline.
fn since(groups: &Groups<'_>, found: &[Change], rows: &Rows, past: &Past<'_>, baseline: &Baseline<'_>) -> Vec<Change> {
    let mut since = vec![Change::default(); rows.count];
    let Some(cohorts) = past.cohorts else { return since };
    // Not asked what was allocated in between.
    let totals = PackedTotals::default();
    let base = Side { epoch: baseline.epoch, cohorts: baseline.cohorts, totals: &totals };
    let later = Side { epoch: past.epoch, cohorts, totals: &totals };
    let gone: Vec<&Mapping> =
        baseline.mappings.iter().filter(|then| !past.mappings.iter().any(|now| now.is_same(then))).collect();
    let mut all = changes(base, later).peekable();
    let mut seen = groups.none_seen();
    let mut found = found.iter().enumerate().peekable();
    while let Some((sample, change)) = found.next() {
        // An address that belonged to other code at one moment has two changes: which one is of the later moment?
        let is_of_base = change.after() == Sums::default();
        if is_of_base && found.peek().is_some_and(|(_, next)| next.stack == change.stack) {
            continue;
        }
        while all.next_if(|since| since.stack < change.stack).is_some() {}
        let Some(mut since_baseline) = all.next_if(|since| since.stack == change.stack) else { continue };
        if was_other_code(groups.profile(), sample, &gone) {
            since_baseline = Change { born: since_baseline.after(), ..Change::default() };
        }
        groups.each(sample, &mut seen, |group| {
            if let Some(row) = since.get_mut(rows.of_group[group] as usize) {
                *row += since_baseline;
            }
        });
    }
    since
}

/// Whether the stack of a sample passes through addresses where one of the files `gone` was.
fn was_other_code(profile: &Profile, sample: usize, gone: &[&Mapping]) -> bool {
    let is_gone = |address: Address| gone.iter().any(|mapping| mapping.contains(address));
    let Some(sample) = profile.samples.get(sample).filter(|_| !gone.is_empty()) else { return false };
    let mut locations = profile.stack(sample).iter().filter_map(|&index| profile.locations.get(index as usize));
    locations.any(|location| is_gone(location.address))
}
