//! What a site holds that has reached an age.

use super::Flow;
use crate::analysis::Series;
use crate::profile::Sums;

/// A series seen through an age: at each snapshot only what was born at least `age` before it counts.
///
/// What comes and goes within that age is not in it at all, be it churn, a batch or the load of the day, with its noise;
/// a leak is, only `age` later. With an age of 0 it is all that is alive. The level of a site that holds as much as ever
/// stays the same at any age. The price is `age` of the observed time: what was born before the first snapshot has an
/// unknown age, so levels are known from the first snapshot on that is `age` after it.
pub(crate) struct Aged<'a> {
    series: &'a Series,
    age: f64,
}

impl<'a> Aged<'a> {
    pub(crate) fn new(series: &'a Series, age: f64) -> Self {
        Self { series, age: age.max(0.0) }
    }

    /// Seconds.
    pub(crate) fn age(&self) -> f64 {
        self.age
    }

    /// The first snapshot at which everything born before the snapshot `start` has reached the age.
    pub(crate) fn first(&self, start: usize) -> usize {
        let ripe = self.time(start) + self.age;
        (start..self.series.seconds.len()).find(|&at| self.time(at) >= ripe).unwrap_or(self.series.seconds.len())
    }

    /// Seconds of the snapshot `at`.
    pub(crate) fn time(&self, at: usize) -> f64 {
        self.series.seconds.get(at).copied().unwrap_or(f64::INFINITY)
    }

    /// Estimated bytes at the snapshot `at`.
    pub(crate) fn level(&self, at: usize) -> f64 {
        self.cohorts(at).iter().take(self.old(at)).map(|cohort| cohort.estimated_bytes).sum()
    }

    /// Sampled objects at the snapshot `at`.
    pub(crate) fn objects(&self, at: usize) -> u64 {
        self.cohorts(at).iter().take(self.old(at)).map(|cohort| cohort.objects).sum()
    }

    /// What became old and still is, and what was and is freed, from the snapshot `from` to `to`.
    pub(crate) fn flow(&self, from: usize, to: usize) -> Flow {
        Flow::between(self.cohorts(from), self.old(from), self.cohorts(to), self.old(to))
    }

    /// What became old from the snapshot `from` to `to` and still is, by the epoch of its birth: the snapshot that ended
    /// it, its seconds, and the cohort.
    pub(crate) fn births(&self, from: usize, to: usize) -> Vec<(usize, f64, Sums)> {
        let born = self.cohorts(to).iter().enumerate().take(self.old(to)).skip(self.old(from));
        born.map(|(epoch, cohort)| (epoch, self.time(epoch) - self.time(epoch.saturating_sub(1)), *cohort)).collect()
    }

    /// How many cohorts have reached the age at the snapshot `at`.
    fn old(&self, at: usize) -> usize {
        let oldest = self.time(at) - self.age;
        self.series.seconds.iter().take(at + 1).take_while(|&&time| time <= oldest).count()
    }

    fn cohorts(&self, at: usize) -> &'a [Sums] {
        self.series.points.get(at).map_or(&[], |point| &point.cohorts)
    }
}
