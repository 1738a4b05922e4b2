//! The arithmetic of a sampled heap.
//!
//! jemalloc samples each byte with chance 1/R, independently, and takes the allocation that the byte lies in. An
//! allocation of Z usable bytes is therefore sampled with chance p = 1 − (1 − 1/R)^Z, which is 1 − e^(−Z/R) for
//! every interval that is used in earnest and exactly 1 at R = 1. Each sample stands for 1/p allocations and Z/p
//! bytes (Horvitz–Thompson); samples are scaled one by one before they are summed, because scaling an average is biased.

use super::Sums;

/// The mean number of bytes between two samples, a power of two: jemalloc's `lg_prof_sample`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SampleInterval {
    lg: u8,
    /// ln(1 − 1/R), negative; −∞ at R = 1.
    ln_missed_per_byte: f64,
}

impl SampleInterval {
    /// 2^`lg` bytes; `None` above 2^62, which jemalloc refuses as well.
    pub(crate) fn from_lg(lg: u64) -> Option<Self> {
        (lg <= 62).then(|| Self { lg: lg as u8, ln_missed_per_byte: (-1.0 / (1u64 << lg) as f64).ln_1p() })
    }

    /// R, in bytes.
    pub(crate) fn bytes(self) -> u64 {
        1 << self.lg
    }

    /// p: the chance that an allocation of `usable` bytes is sampled, in (0, 1].
    pub(crate) fn probability(self, usable: u64) -> f64 {
        // jemalloc has no allocation of zero bytes; the floor keeps a weight finite whatever is handed in.
        -(self.ln_missed_per_byte * usable.max(1) as f64).exp_m1()
    }

    /// What one sample of `usable` bytes contributes to every sum.
    pub(crate) fn weigh(self, usable: u64) -> Sums {
        self.weigh_many(1, usable, usable as f64)
    }

    /// What `objects` samples of `average` bytes each, `bytes` in all, contribute.
    ///
    /// For a dump that tells only sums per stack. Scaling an average is exact when all objects there are of one size.
    /// jemalloc rounds objects and bytes one by one, so there can be bytes of no object: they count as of one.
    pub(crate) fn weigh_average(self, objects: u64, bytes: u64) -> Sums {
        self.weigh_many(objects, bytes, bytes as f64 / objects.max(1) as f64)
    }

    fn weigh_many(self, objects: u64, bytes: u64, average: f64) -> Sums {
        let n = objects as f64;
        let p = self.probability(average.round() as u64);
        let weight = 1.0 / p;
        // Variance of one Horvitz–Thompson term, estimated from the sample itself: (1−p)/p² of its squared value.
        let variance = (1.0 - p) * weight * weight;
        Sums {
            objects,
            bytes,
            estimated_objects: n * weight,
            estimated_bytes: bytes as f64 * weight,
            variance_objects: n * variance,
            variance_bytes: n * average * average * variance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_one_byte_is_exact() {
        let interval = SampleInterval::from_lg(0).unwrap();
        let sums = interval.weigh(24);
        assert_eq!((sums.estimated_objects, sums.estimated_bytes), (1.0, 24.0));
        assert_eq!((sums.variance_objects, sums.variance_bytes), (0.0, 0.0));
    }

    #[test]
    fn weights_follow_the_exponential_formula() {
        let interval = SampleInterval::from_lg(19).unwrap();
        for usable in [16, 1024, 65_536, 1 << 19, 1 << 24] {
            let p = 1.0 - (-(usable as f64) / 524_288.0).exp();
            let sums = interval.weigh(usable);
            assert!((sums.estimated_bytes / (usable as f64 / p) - 1.0).abs() < 1e-5, "{usable}");
            let variance = (usable as f64).powi(2) * (1.0 - p) / (p * p);
            assert!((sums.variance_bytes - variance).abs() <= 1e-5 * variance.max(1.0), "{usable}");
        }
    }

    /// Variance of small objects is about R·Z each, and never above it: the rule of thumb of the field.
    #[test]
    fn variance_is_bounded_by_interval_times_bytes() {
        let interval = SampleInterval::from_lg(19).unwrap();
        for usable in [16u64, 4096, 1 << 18, 1 << 21] {
            let sums = interval.weigh(usable);
            assert!(sums.variance_bytes <= 524_288.0 * sums.estimated_bytes * (1.0 + 1e-9), "{usable}");
        }
    }

    #[test]
    fn bytes_of_no_object_are_not_lost() {
        let interval = SampleInterval::from_lg(12).unwrap();
        assert_eq!(interval.weigh_average(0, 0), Sums::default());
        let sums = interval.weigh_average(0, 300);
        assert_eq!((sums.objects, sums.bytes), (0, 300));
        assert!(sums.estimated_bytes > 300.0);
    }

    #[test]
    fn averages_of_one_size_weigh_as_single_samples() {
        let interval = SampleInterval::from_lg(12).unwrap();
        let mut single = Sums::default();
        for _ in 0..7 {
            single += interval.weigh(640);
        }
        let average = interval.weigh_average(7, 7 * 640);
        assert_eq!(single.objects, average.objects);
        assert!((single.estimated_bytes - average.estimated_bytes).abs() < 1e-6);
        assert!((single.variance_bytes - average.variance_bytes).abs() < 1e-3);
    }
}
