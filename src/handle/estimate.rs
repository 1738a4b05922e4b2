//! An estimate and how sure it is, for whoever holds the handle.

use std::fmt;

use crate::profile::Interval;

/// An estimate with the bounds between which the truth lies with 95% confidence. Prints as `12.4 MiB ± 1.9`, as
/// `12.4 MiB (9.1 to 17.2)` where the bounds are not as far from it, and as `340 ± 51` when it counts objects; a change
/// has a sign.
///
/// Samples are drawn at random, so their sums have a variance that follows from the samples themselves:
/// Σ Z²(1−p)/p² bytes² for samples of Z bytes, each drawn with chance p (Horvitz and Thompson, 1952).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The estimate. A change is negative where more was freed than born.
    pub value: f64,
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
    unit: Unit,
    is_about: bool,
    is_change: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Bytes,
    Objects,
}

impl Estimate {
    pub(super) fn bytes(interval: Interval) -> Self {
        Self::of(interval, Unit::Bytes)
    }

    pub(super) fn objects(interval: Interval) -> Self {
        Self::of(interval, Unit::Objects)
    }

    fn of(Interval { estimate, low, high }: Interval, unit: Unit) -> Self {
        Self { value: estimate, low, high, unit, is_about: false, is_change: false }
    }

    pub(super) fn change(self) -> Self {
        Self { is_change: true, ..self }
    }

    pub(super) fn about(self) -> Self {
        Self { is_about: true, ..self }
    }

    /// Whether the bounds rest on what was about sampled: a file tells only what its samples stand for. Such an
    /// estimate prints as `about 12.4 MiB ± 1.9`.
    pub fn is_about(&self) -> bool {
        self.is_about
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_about {
            f.write_str("about ")?;
        }
        let interval = Interval { estimate: self.value, low: self.low, high: self.high };
        match (self.unit, self.is_change) {
            (Unit::Bytes, false) => interval.bytes().fmt(f),
            (Unit::Bytes, true) => interval.signed_bytes().fmt(f),
            (Unit::Objects, false) => interval.count().fmt(f),
            (Unit::Objects, true) => interval.signed_count().fmt(f),
        }
    }
}
