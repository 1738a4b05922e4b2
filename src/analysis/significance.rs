//! Whether a site grew, or sampling only happened to choose more of what was born than of what was freed.

use std::collections::HashMap;

use statrs::function::erf::erfc;

use crate::profile::Sums;

/// From so many effective samples on the normal law is used.
const MANY: f64 = 200.0;
/// Chances q of not being sampled are rounded up to a power of e^(−1/this), which makes p-values larger, never smaller.
const STEPS: f64 = 64.0;
/// Shares of unseen bytes below this one are what rounding leaves of nothing.
const NEGLIGIBLE: f64 = 1e-9;

/// Tests for growth, which remember what they computed: of 131,072 rows most repeat a few small counts.
#[derive(Debug, Default)]
pub(crate) struct Significance {
    known: HashMap<Race, f64>,
}

/// What decides a p-value of few samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Race {
    born: u16,
    freed: u16,
    /// −ln q, in 1/[`STEPS`].
    unseen: u16,
}

impl Significance {
    /// One-sided p-value of growth in bytes: the chance, where as much was freed as was born, to see as much more born
    /// than freed as was seen, or more. 0 for a growth that was seen whole; 1 without a sample of what was born.
    ///
    /// Objects of one size that are sampled with chance p, n of those born and m of those freed: two streams of objects
    /// race, and the p-value is the chance that the first has its n-th sample strictly before the second has its
    /// (m + 1)-th. For p → 0 that is the binomial test, P[X ≥ n] with X ~ Binomial(n + m, ½); p = 1 leaves no doubt.
    /// Several sizes count as samples of one, θ = V/M bytes each, with V the variance of both sides and M their bytes that
    /// were not seen; rounded against growth.
    pub(crate) fn growth(&mut self, born: &Sums, freed: &Sums) -> f64 {
        let both = born.estimated_bytes + freed.estimated_bytes;
        let unseen = both - (born.bytes as f64 + freed.bytes as f64);
        let variance = born.variance_bytes + freed.variance_bytes;
        let difference = born.estimated_bytes - freed.estimated_bytes;
        let is_uncertain = unseen > NEGLIGIBLE * both && variance > 0.0 && variance.is_finite();
        if !is_uncertain {
            return if difference > NEGLIGIBLE * both { 0.0 } else { 1.0 };
        }
        let (q, sample) = (unseen / both, variance / unseen);
        if both >= MANY * sample {
            // Half a step of the difference, which is one sample wide where a step has one and two where it has both.
            let step = 0.5 * (1.0 + q) * sample;
            return 0.5 * erfc((difference - step) / (2.0 * variance).sqrt());
        }
        // Sums of a few hundred terms are not whole to the last digit.
        const ROUNDING: f64 = 1e-5;
        let race = Race {
            born: (born.estimated_bytes / sample + ROUNDING) as u16,
            freed: (freed.estimated_bytes / sample - ROUNDING).ceil() as u16,
            unseen: (-q.ln() * STEPS) as u16,
        };
        *self.known.entry(race).or_insert_with(|| race.chance())
    }

    /// Two-sided p-value: of a change in either direction.
    pub(crate) fn change(&mut self, born: &Sums, freed: &Sums) -> f64 {
        (2.0 * self.growth(born, freed).min(self.growth(freed, born))).min(1.0)
    }
}

impl Race {
    /// That `born` samples of one stream are there strictly before `freed` + 1 of the other.
    fn chance(self) -> f64 {
        let q = (-f64::from(self.unseen) / STEPS).exp();
        // Steps in which neither is sampled do not matter.
        let (one, both) = (q / (1.0 + q), (1.0 - q) / (1.0 + q));
        // By what the second stream still needs, 0 to freed + 1; row by row of what the first one needs.
        let mut chances = vec![1.0; usize::from(self.freed) + 2];
        chances[0] = 0.0;
        for _ in 0..self.born {
            let (mut before, mut left) = (chances[0], 0.0);
            for chance in &mut chances[1..] {
                let here = one * *chance + one * left + both * before;
                before = std::mem::replace(chance, here);
                left = here;
            }
        }
        chances.last().copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests;
