//! How much more there is than before, and how sure that is.

use super::{Interval, SampleInterval, Sums};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Usable bytes.
    Bytes,
    /// Objects.
    Objects,
}

/// Chance with which a side without samples holds more than is allowed for.
const UNSEEN_CHANCE: f64 = 0.025;
/// jemalloc's smallest usable size in bytes, for objects of which nothing at all is known.
const SMALLEST: f64 = 8.0;

impl Sums {
    fn interval(&self, measure: Measure) -> Interval {
        match measure {
            Measure::Bytes => self.bytes_interval(),
            Measure::Objects => self.objects_interval(),
        }
    }

    /// Without a sample: from nothing to what is missed altogether with 2.5%, in objects as large as those of `other`.
    /// Nothing, where that is less than one object.
    fn unseen(&self, other: &Self, interval: SampleInterval, measure: Measure) -> Interval {
        let bytes = interval.unseen_with_chance(UNSEEN_CHANCE);
        let size = if other.objects > 0 { other.estimated_bytes / other.estimated_objects } else { SMALLEST };
        let high = match measure {
            _ if bytes < size => 0.0,
            Measure::Bytes => bytes,
            Measure::Objects => bytes / size,
        };
        Interval { high, ..Interval::default() }
    }
}

impl Interval {
    /// The change between two moments: `born` since the first and alive at the second, less what was alive at the first
    /// and was `freed` since. What is alive at both was sampled once and cancels, so the two are independent.
    ///
    /// The sides' own intervals are put together by their squares, each estimate's distance to the bound that matters
    /// (MOVER): low = D̂ − √((a − low a)² + (high f − f)²), and high likewise. From many samples that is
    /// D̂ ± 1.96·√(V_a + V_f). Source: Zou, Donner: Construction of confidence limits about effect measures, Statistics
    /// in Medicine 27 (2008).
    ///
    /// A side without a sample is not known to be empty: up to ln 40 · R bytes are missed with a chance of 2.5% or more.
    /// With nothing allowed for that, changes of one to three expected samples on a side are held in 54 to 92% of heaps;
    /// with ln 20 · R still in 92% at worst, for objects of 2R. With ln 40 · R growth of which nothing was seen freed is
    /// above zero from five samples on, about where the exact test of no growth stands at 5%. Of 50 samples the interval
    /// is less than 2% wider for it.
    pub(crate) fn of_change(born: &Sums, freed: &Sums, interval: SampleInterval, measure: Measure) -> Self {
        let side = |sums: &Sums, other: &Sums| match sums.objects {
            0 => sums.unseen(other, interval, measure),
            _ => sums.interval(measure),
        };
        let (a, f) = (side(born, freed), side(freed, born));
        let estimate = a.estimate - f.estimate;
        Self {
            estimate,
            low: estimate - (a.estimate - a.low).hypot(f.high - f.estimate),
            high: estimate + (a.high - a.estimate).hypot(f.estimate - f.low),
        }
    }
}

#[cfg(test)]
mod tests;
