//! A part of a history, up to its end, with what a site did in it.

use super::age::{Age, OLD};
use super::{Aged, Fact, Flow, pause};
use crate::analysis::Series;
use crate::profile::{SampleInterval, Sums};

/// Growth is significant below this chance; the windows that are tried count against it.
pub(super) const SIGNIFICANT: f64 = 0.01;

// What follows was chosen on synthetic histories (`synthetic`, seeds 1 to 40, a thousand each); each figure below is of
// those, with that rule taken out or moved alone. With all: 0.4% of those that do not leak are accused, and 97.9% of the
// leaks above twice the detection limit are found.

/// The recent part of a window, in which growth must go on. A cache that is full for longer than this has stopped.
const RECENT: f64 = 1.0 / 3.0;

/// An age takes at most this share of the history away. With none taken, 86% of the large leaks are found: under churn
/// and on a sawtooth they are not.
const MOST_AGE: f64 = 1.0 / 3.0;

/// The least share of its mean rate at which what grows must have grown in the recent part. Without, 6.3% of the caches
/// that filled and stay are accused instead of 2.1%.
const LEAST_RECENT: f64 = 0.45;

/// As much of what was born in the recent part may have been freed of what was there before: a leak's cohorts do not
/// decay, a full cache's do. Without, 6.4% of the caches that replace are accused instead of 1.8%.
const MOST_DECAY: f64 = 0.4;

/// What grew without the best epoch must be significant at this: one that made it all is a step. Without, 0.8% of the
/// steps and of the warm-ups are accused instead of 0.2% and 0.3%.
const SIGNIFICANT_WITHOUT_BEST: f64 = 0.05;

/// And must have grown at this share of the mean rate, also without the best two epochs in a row.
const LEAST_WITHOUT_BEST: f64 = 0.3;

/// What should come to fewer samples may be none.
const LEAST_SAMPLES: f64 = 3.0;

/// Growth must exceed by this factor what the site has been seen to give back. Without, 1.0% of the batch jobs are
/// accused instead of 0.3%.
const LEAST_OVER_FALL: f64 = 1.5;

/// Where this share of all that was allocated is alive, everything alive is judged and not what has grown old alone: what
/// little is freed hides nothing. A batch job comes to one half. If nothing were, 91% instead of 98% of the leaks of which
/// a part is freed would be found; if all were, 1.9% of the batch jobs would be accused.
const LEAST_ALIVE: f64 = 0.6;

/// The snapshots from `start` to `last`.
pub(super) struct Window<'a> {
    /// How the heap was sampled.
    pub(super) interval: SampleInterval,
    pub(super) start: usize,
    pub(super) last: usize,
    /// Everything that is alive.
    pub(super) all: Aged<'a>,
    /// Its change over the window.
    pub(super) flow: Flow,
    /// What is older than the site's objects usually get.
    pub(super) old: Aged<'a>,
    /// The first snapshot at which the old is known.
    pub(super) first: usize,
    /// The usual lifetime, in seconds, if not even the whole history is as long as objects need here to get old.
    too_short_for: Option<f64>,
    /// Bytes that one sample stands for.
    weight: f64,
    /// Share of what was allocated since the first snapshot that is alive.
    alive_share: f64,
}

/// Why a window accuses nobody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The growth of what is judged is not significant.
    Insignificant,
    /// Objects here usually live so many seconds that nothing in the history can be told to stay.
    TooShort(f64),
    /// The site has been seen to give back as much.
    Fell,
    /// One epoch made it; the snapshot that ended that.
    OneEpoch(usize),
    /// It does not go on.
    Stopped,
}

impl<'a> Window<'a> {
    pub(super) fn new(series: &'a Series, interval: SampleInterval, base: usize, start: usize, last: usize) -> Self {
        let all = Aged::new(series, 0.0);
        let seconds = all.time(last) - all.time(base);
        let usual = Age::of(series, 0).usual_lifetime;
        let wanted = usual.map_or(0.0, |usual| OLD * usual);
        let most = MOST_AGE * seconds;
        let old = Aged::new(series, wanted.min(most));
        let first = old.first(start);
        let flow = all.flow(start, last);
        let allocated = |at: usize| series.points.get(at).map_or(0.0, |point| point.allocated_bytes);
        let alive_share = all.flow(0, last).born.estimated_bytes / (allocated(last) - allocated(0));
        Self {
            interval,
            start,
            last,
            all,
            flow,
            old,
            first,
            too_short_for: usual.filter(|_| wanted > seconds),
            weight: flow.weight(),
            alive_share,
        }
    }

    /// Seconds of the window.
    pub(super) fn seconds(&self) -> f64 {
        self.all.time(self.last) - self.all.time(self.start)
    }

    /// What the site is judged by, and the first snapshot at which that is known.
    pub(super) fn judged(&self) -> (&Aged<'a>, usize) {
        if self.alive_share >= LEAST_ALIVE { (&self.all, self.start) } else { (&self.old, self.first) }
    }

    /// The growth without bound that this window shows, with its p-value if this were the only window.
    pub(super) fn unbounded(&self, tries: f64) -> Result<(f64, Fact), Refusal> {
        let (aged, first) = self.judged();
        let flow = aged.flow(first, self.last);
        let growth = flow.growth();
        let p = flow.p_value();
        if growth <= 0.0 || p * tries > SIGNIFICANT {
            return Err(Refusal::Insignificant);
        }
        if let Some(usual) = self.too_short_for
            && self.alive_share < LEAST_ALIVE
        {
            return Err(Refusal::TooShort(usual));
        }
        let fall = self.fall(aged);
        if fall * LEAST_OVER_FALL > growth {
            return Err(Refusal::Fell);
        }
        let rate = growth / (aged.time(self.last) - aged.time(first));
        self.without_best_epoch(aged, first, rate)?;
        let from = self.recent_start(first);
        let recent = aged.flow(from, self.last);
        self.goes_on(aged, first, rate)?;
        Ok((
            p,
            Fact::StillGrowing {
                recent: recent.interval(self.interval),
                seconds: aged.time(self.last) - aged.time(from),
            },
        ))
    }

    /// No single epoch made the growth.
    fn without_best_epoch(&self, aged: &Aged<'_>, first: usize, rate: f64) -> Result<(), Refusal> {
        let (at, rest, expected) = self.without(aged, first, rate, 1);
        if rest.growth() < LEAST_WITHOUT_BEST * expected || rest.p_value() > SIGNIFICANT_WITHOUT_BEST {
            return Err(Refusal::OneEpoch(at));
        }
        // A snapshot can fall into a step. What came besides may be too young to be old.
        let (at, rest, expected) = self.without(aged, first, rate, 2);
        let step = aged.flow(first, self.last).growth() - rest.growth();
        let besides = rest.growth().max(self.flow.growth() - step);
        if besides < LEAST_WITHOUT_BEST * expected && expected > LEAST_SAMPLES * self.weight {
            return Err(Refusal::OneEpoch(at));
        }
        Ok(())
    }

    /// The end of the `length` epochs of which most is alive beyond `rate`, and without what was born in them the growth,
    /// and what it should have been.
    fn without(&self, aged: &Aged<'_>, first: usize, rate: f64, length: usize) -> (usize, Flow, f64) {
        let births = aged.births(first, self.last);
        let excess = |part: &[(usize, f64, Sums)]| -> f64 {
            part.iter().map(|(_, seconds, born)| born.estimated_bytes - rate * seconds).sum()
        };
        let best = births.windows(length.min(births.len()).max(1)).max_by(|a, b| excess(a).total_cmp(&excess(b)));
        let best = best.unwrap_or_default();
        let is_best = |at: usize| best.iter().any(|(best, ..)| *best == at);
        let mut rest = Flow { born: Sums::default(), freed: aged.flow(first, self.last).freed };
        let mut seconds = 0.0;
        for (_, length, born) in births.iter().filter(|(at, ..)| !is_best(*at)) {
            rest.born += *born;
            seconds += length;
        }
        (best.last().map_or(self.last, |(at, ..)| *at), rest, rate * seconds)
    }

    /// The growth goes on in the recent part, and what was there before stays.
    fn goes_on(&self, aged: &Aged<'_>, first: usize, rate: f64) -> Result<(), Refusal> {
        let from = self.recent_start(first);
        let recent = aged.flow(from, self.last);
        let expected = rate * (self.all.time(self.last) - self.all.time(from));
        let growth = recent.growth();
        if growth < LEAST_RECENT * expected {
            return Err(Refusal::Stopped);
        }
        if recent.freed.estimated_bytes > MOST_DECAY * recent.born.estimated_bytes {
            return Err(Refusal::Stopped);
        }
        if pause::ended(&aged.births(first, self.last), self.weight) {
            return Err(Refusal::Stopped);
        }
        Ok(())
    }

    /// Where the recent part begins, for what is known from the snapshot `first` on.
    pub(super) fn recent_start(&self, first: usize) -> usize {
        let (begin, end) = (self.all.time(first), self.all.time(self.last));
        let from = end - RECENT * (end - begin);
        // Regular snapshots fall on the third, give or take rounding.
        let reached = from + 1e-9 * (end - begin);
        (first..self.last).rev().find(|&at| self.all.time(at) <= reached).unwrap_or(first)
    }

    /// The most that the site has been seen to give back, beyond chance, in all the history.
    pub(super) fn fall(&self, aged: &Aged<'_>) -> f64 {
        let mut most = 0.0_f64;
        let mut highest = aged.first(0);
        for at in highest + 1..=self.last {
            if aged.level(at) >= aged.level(highest) {
                highest = at;
                continue;
            }
            let flow = aged.flow(highest, at);
            most = most.max(-flow.growth() - 2.0 * flow.variance().sqrt());
        }
        most
    }
}
