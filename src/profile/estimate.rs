//! The arithmetic of a sampled heap.
//!
//! jemalloc samples each byte with chance 1/R, independently, and takes the allocation that the byte lies in. An
//! allocation of Z usable bytes is therefore sampled with chance p = 1 − (1 − 1/R)^Z, which is 1 − e^(−Z/R) for
//! every interval that is used in earnest and exactly 1 at R = 1. Each sample stands for 1/p allocations and Z/p
//! bytes (Horvitz–Thompson); samples are scaled one by one before they are summed, because scaling an average is biased.

use super::Sums;

/// The mean number of bytes between two samples. jemalloc's, `lg_prof_sample`, is a power of two; a file's need not be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SampleInterval {
    /// R, at least 1.
    bytes: u64,
    /// ln(1 − 1/R), negative; −∞ at R = 1.
    ln_missed_per_byte: f64,
}

impl SampleInterval {
    /// 2^`lg` bytes; `None` above 2^62, which jemalloc refuses as well.
    pub(crate) fn from_lg(lg: u64) -> Option<Self> {
        if lg <= 62 { Self::from_bytes(1 << lg) } else { None }
    }

    /// `bytes`, as a file says; `None` for 0.
    pub(crate) fn from_bytes(bytes: u64) -> Option<Self> {
        (bytes > 0).then(|| Self { bytes, ln_missed_per_byte: (-1.0 / bytes as f64).ln_1p() })
    }

    /// R, in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.bytes
    }

    /// p: the chance that an allocation of `usable` bytes is sampled, in (0, 1].
    pub(crate) fn probability(self, usable: u64) -> f64 {
        // jemalloc has no allocation of zero bytes; the floor keeps a weight finite whatever is handed in.
        -(self.ln_missed_per_byte * usable.max(1) as f64).exp_m1()
    }

    /// The most bytes that there can be without a sample, with 95% confidence: ln 20 · R.
    pub(crate) fn unseen_limit(self) -> f64 {
        self.unseen_with_chance(0.05)
    }

    /// So many bytes are missed altogether with `chance`: −ln chance · R, whatever the sizes of the objects.
    pub(super) fn unseen_with_chance(self, chance: f64) -> f64 {
        chance.ln() / self.ln_missed_per_byte
    }

    /// What one sample of `usable` bytes contributes to every sum.
    pub(crate) fn weigh(self, usable: u64) -> Sums {
        weigh_many(1, usable, usable as f64, self.probability(usable))
    }

    /// What `objects` samples of `average` bytes each, `bytes` in all, contribute.
    ///
    /// For text that tells only sums per stack. Scaling an average is exact when all objects there are of one size, and
    /// where jemalloc distorted the sums so that just this undoes it: 1 − e^(−average/R), with the average as it is
    /// (`prof_do_unbias` in its `src/prof_data.c`; `AdjustSamples` in jeprof; `scaleHeapSample` in google/pprof's
    /// `profile/legacy_profile.go`, which scales nothing at R = 1).
    /// jemalloc rounds objects and bytes one by one, so there can be bytes of no object: they count as of one.
    pub(crate) fn weigh_average(self, objects: u64, bytes: u64) -> Sums {
        let average = bytes as f64 / objects.max(1) as f64;
        // The floor keeps a weight finite whatever the text says.
        let p = if self.bytes == 1 { 1.0 } else { -(-average.max(1.0) / self.bytes as f64).exp_m1() };
        weigh_many(objects, bytes, average, p)
    }

    /// What about was sampled of estimated `objects` of estimated `bytes`, for a file that does not tell: n ≈ objects·p
    /// at their average size. `None` when there are none, or less than none.
    pub(crate) fn about(self, objects: i64, bytes: i64) -> Option<Sums> {
        let (objects, bytes) = (u64::try_from(objects).ok()?, u64::try_from(bytes).ok()?);
        let count = objects.max(1) as f64;
        let average = bytes as f64 / count;
        let p = self.probability(average.round() as u64);
        let samples = (count * p).round();
        let variance = count * (1.0 - p) / p;
        (bytes > 0).then_some(Sums {
            objects: samples as u64,
            bytes: (samples * average) as u64,
            estimated_objects: objects as f64,
            estimated_bytes: bytes as f64,
            variance_objects: variance,
            variance_bytes: average * average * variance,
        })
    }
}

fn weigh_many(objects: u64, bytes: u64, average: f64, p: f64) -> Sums {
    let n = objects as f64;
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

    /// The chance to see none of so many bytes is 5%, in small objects as in large ones.
    #[test]
    fn what_can_hide_does_not_depend_on_sizes() {
        let interval = SampleInterval::from_lg(19).unwrap();
        for usable in [256u64, 65_536, 1 << 20] {
            let objects = interval.unseen_limit() / usable as f64;
            let missed = (1.0 - interval.probability(usable)).powf(objects);
            assert!((missed - 0.05).abs() < 1e-6, "{usable}: {missed}");
        }
        assert_eq!(SampleInterval::from_lg(0).unwrap().unseen_limit(), 0.0);
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
        let interval = SampleInterval::from_lg(19).unwrap();
        let mut single = Sums::default();
        for _ in 0..7 {
            single += interval.weigh(640);
        }
        let average = interval.weigh_average(7, 7 * 640);
        assert_eq!(single.objects, average.objects);
        // One draws bytes, the other is the limit of that for a large R: they differ by 1/2R.
        assert!((single.estimated_bytes / average.estimated_bytes - 1.0).abs() < 2e-6);
        assert!((single.variance_bytes / average.variance_bytes - 1.0).abs() < 4e-6);
    }

    #[test]
    fn what_was_sampled_is_told_from_what_it_stands_for() {
        for (lg, usable, count) in [(19, 256, 400), (19, 1 << 20, 900), (12, 4096, 70), (0, 24, 5)] {
            let interval = SampleInterval::from_lg(lg).unwrap();
            let known = interval.weigh(usable).times(count);
            let about = interval.about(known.estimated_objects.round() as i64, known.estimated_bytes.round() as i64);
            let about = about.unwrap();
            assert_eq!(about.objects, known.objects, "{lg} {usable}");
            for (about, known) in
                [(about.variance_bytes, known.variance_bytes), (about.variance_objects, known.variance_objects)]
            {
                assert!((about - known).abs() <= 0.02 * known, "{lg} {usable}: {about} {known}");
            }
        }
        let interval = SampleInterval::from_lg(19).unwrap();
        assert_eq!([interval.about(0, 0), interval.about(-1, -512), interval.about(4, -1)], [None; 3]);
    }

    #[test]
    fn an_average_is_scaled_as_jeprof_does_also_where_it_is_no_whole_number() {
        let check = |r: u64, objects: u64, bytes: u64| {
            let factor = 1.0 / (1.0 - (-(bytes as f64 / objects as f64) / r as f64).exp());
            let sums = SampleInterval::from_bytes(r).unwrap().weigh_average(objects, bytes);
            assert!((sums.estimated_bytes / (bytes as f64 * factor) - 1.0).abs() < 1e-9, "{r} {objects} {bytes}");
            assert!((sums.estimated_objects / (objects as f64 * factor) - 1.0).abs() < 1e-9, "{r} {objects} {bytes}");
        };
        check(524_288, 3, 50);
        check(4096, 7, 12_345);
        check(1_000_000, 2, 3_000_001);
        let exact = SampleInterval::from_bytes(1).unwrap().weigh_average(3, 50);
        assert_eq!((exact.estimated_objects, exact.estimated_bytes), (3.0, 50.0));
        assert_eq!(SampleInterval::from_bytes(0), None);
    }
}
