//! What was born and what was freed between two snapshots.

use std::ops::AddAssign;

use super::probability::beta_cdf;
use crate::profile::{Interval, Measure, SampleInterval, Sums};

/// What was born between two snapshots and is alive, and what was alive and has been freed. An object that is alive in
/// both is in neither: it was sampled once, and cancels exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Flow {
    /// Born and alive: A.
    pub born: Sums,
    /// Alive then, freed since: F.
    pub freed: Sums,
}

impl Flow {
    /// What became of the cohorts of `earlier` (the first `old`) and `later` (the first `new`, at least as many).
    pub(crate) fn between(earlier: &[Sums], old: usize, later: &[Sums], new: usize) -> Self {
        let mut flow = Self::default();
        for (before, after) in earlier.iter().zip(later).take(old) {
            flow.freed += *before - *after;
        }
        for born in later.iter().take(new).skip(old) {
            flow.born += *born;
        }
        flow
    }

    /// D̂ = Â − F̂, in bytes.
    pub(crate) fn growth(&self) -> f64 {
        self.born.estimated_bytes - self.freed.estimated_bytes
    }

    /// D̂ with the bounds that sampling leaves: 95%.
    pub(crate) fn interval(&self, interval: SampleInterval) -> Interval {
        Interval::of_change(&self.born, &self.freed, interval, Measure::Bytes)
    }

    /// Variance of D̂ in bytes² if births and deaths come by chance: that of sampling, and that of the objects' own coming
    /// and going, which for objects larger than the sample interval is all there is.
    pub(crate) fn variance(&self) -> f64 {
        squared_weights(&self.born) + squared_weights(&self.freed)
    }

    /// The chance of at least so much growth where none is: P[Binomial(n_A + n_F, ½) ≥ n_A], where the n are Â and F̂
    /// counted in the mean weight of a sample. For objects of one size those are the numbers of samples, and the test
    /// is exact.
    pub(crate) fn p_value(&self) -> f64 {
        let (born, freed) = self.counts();
        if born > 0.0 { beta_cdf(0.5, born, freed + 1.0) } else { 1.0 }
    }

    /// The same by sampling alone: the chance that what was counted hides that there was no growth. Where objects are
    /// large enough to be sampled for certain it is 0.
    pub(crate) fn p_value_of_sampling(&self) -> f64 {
        let all = self.born.estimated_bytes + self.freed.estimated_bytes;
        let weight = (self.born.variance_bytes + self.freed.variance_bytes) / all;
        let (born, freed) = (self.born.estimated_bytes / weight, self.freed.estimated_bytes / weight);
        match born.is_finite() && freed.is_finite() && born + freed < MOST_COUNTS {
            true if born > 0.0 => beta_cdf(0.5, born, freed + 1.0),
            true => 1.0,
            false => f64::from(u8::from(self.growth() <= 0.0)),
        }
    }

    /// The same for shrinking.
    pub(crate) fn p_value_of_shrinking(&self) -> f64 {
        Self { born: self.freed, freed: self.born }.p_value()
    }

    /// Bytes that one sample stands for, in the mean; 0 when there is none.
    pub(crate) fn weight(&self) -> f64 {
        let weight = self.variance() / (self.born.estimated_bytes + self.freed.estimated_bytes);
        if weight.is_finite() { weight } else { 0.0 }
    }

    fn counts(&self) -> (f64, f64) {
        match self.weight() {
            0.0 => (0.0, 0.0),
            weight => (self.born.estimated_bytes / weight, self.freed.estimated_bytes / weight),
        }
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.born += other.born;
        self.freed += other.freed;
    }
}

/// Above this many samples an estimate is as good as exact.
const MOST_COUNTS: f64 = 1e7;

/// Two-sided 95% of a normal distribution.
pub(crate) const Z_95: f64 = 1.959_964;

/// Σ (Z/p)² of samples of which only sums are known: V̂ + Σ Z²/p, the second with their mean size.
fn squared_weights(sums: &Sums) -> f64 {
    let mean = sums.bytes as f64 / sums.objects.max(1) as f64;
    sums.variance_bytes.max(0.0) + sums.estimated_bytes.max(0.0) * mean
}
