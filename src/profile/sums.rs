//! Sums over samples.

use std::ops::{Add, AddAssign, Sub};

/// Sums over samples: what was seen, what it stands for, and how sure that is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    /// Sampled objects.
    pub objects: u64,
    /// Their usable bytes.
    pub bytes: u64,
    /// Estimate of all objects.
    pub estimated_objects: f64,
    /// Estimate of all bytes.
    pub estimated_bytes: f64,
    /// Variance of `estimated_objects`.
    pub variance_objects: f64,
    /// Variance of `estimated_bytes`, in bytes².
    pub variance_bytes: f64,
}

impl Sums {
    /// `count` times the same.
    pub(crate) fn times(self, count: u32) -> Self {
        let factor = f64::from(count);
        Self {
            objects: self.objects.saturating_mul(count.into()),
            bytes: self.bytes.saturating_mul(count.into()),
            estimated_objects: self.estimated_objects * factor,
            estimated_bytes: self.estimated_bytes * factor,
            variance_objects: self.variance_objects * factor,
            variance_bytes: self.variance_bytes * factor,
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        // A file may say anything.
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.estimated_objects += other.estimated_objects;
        self.estimated_bytes += other.estimated_bytes;
        self.variance_objects += other.variance_objects;
        self.variance_bytes += other.variance_bytes;
    }
}

impl Add for Sums {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sub for Sums {
    type Output = Self;

    /// What is left of `self` without `part`, which must be a part of it. Nothing is left of a whole without all of
    /// its objects, whatever rounding says; and nothing is ever below zero.
    fn sub(self, part: Self) -> Self {
        let objects = self.objects.saturating_sub(part.objects);
        if objects == 0 {
            return Self::default();
        }
        Self {
            objects,
            bytes: self.bytes.saturating_sub(part.bytes),
            estimated_objects: (self.estimated_objects - part.estimated_objects).max(0.0),
            estimated_bytes: (self.estimated_bytes - part.estimated_bytes).max(0.0),
            variance_objects: (self.variance_objects - part.variance_objects).max(0.0),
            variance_bytes: (self.variance_bytes - part.variance_bytes).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SampleInterval;

    #[test]
    fn a_whole_without_its_parts_is_nothing() {
        let interval = SampleInterval::from_lg(19).unwrap();
        let (small, large) = (interval.weigh(48).times(7), interval.weigh(1 << 20).times(3));
        let whole = small + large;
        assert_eq!(whole - whole, Sums::default());
        assert_eq!((whole - small).objects, 3);
        assert!(((whole - small).estimated_bytes / large.estimated_bytes - 1.0).abs() < 1e-12);
        assert!(((whole - large).variance_bytes / small.variance_bytes - 1.0).abs() < 1e-12);
    }
}
