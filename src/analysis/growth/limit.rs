//! The least growth that sampling shows.

use super::Flow;

/// How many standard deviations growth must stand out to be seen.
const SIGMAS: f64 = 3.0;

/// D = 3·√(V₀ + w·D), in bytes: what grows by less in this window is not told from chance.
///
/// `w` is the weight of one sample: the sample interval for small objects, their size for larger ones. V₀ is the variance
/// of churn: of what was freed, and of as much that was born in its place.
pub(crate) fn detection_limit(flow: &Flow, interval_bytes: f64) -> f64 {
    let all = flow.born.estimated_bytes + flow.freed.estimated_bytes;
    let weight = if all > 0.0 { (flow.variance() / all).max(interval_bytes) } else { interval_bytes };
    let churn = 2.0 * flow.born.estimated_bytes.min(flow.freed.estimated_bytes) * weight;
    // The positive root of D² = 9·(V₀ + w·D).
    let half = SIGMAS * SIGMAS * weight / 2.0;
    half + (half * half + SIGMAS * SIGMAS * churn).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{SampleInterval, Sums};

    fn sums(count: u64, bytes: u64) -> Sums {
        let interval = SampleInterval::from_lg(19).unwrap();
        (0..count).fold(Sums::default(), |mut sums, _| {
            sums += interval.weigh(bytes);
            sums
        })
    }

    #[test]
    fn a_pure_leak_shows_from_nine_samples_on() {
        let r = 524_288.0;
        assert_eq!(detection_limit(&Flow::default(), r), 9.0 * r);
        let leak = detection_limit(&Flow { born: sums(50, 64), freed: Sums::default() }, r);
        assert!((leak / (9.0 * r) - 1.0).abs() < 1e-3, "{leak}");
        // A sample of 4 MiB stands for itself.
        let large = detection_limit(&Flow { born: sums(3, 1 << 22), freed: Sums::default() }, r);
        assert!((large / (9.0 * f64::from(1 << 22)) - 1.0).abs() < 1e-3, "{large}");
        // D² = 9·(V₀ + R·D), with V₀ of 100 samples born and 100 freed.
        let churn = detection_limit(&Flow { born: sums(100, 64), freed: sums(100, 64) }, r);
        assert!((churn * churn / (9.0 * (200.0 * r * r + r * churn)) - 1.0).abs() < 1e-3, "{churn}");
    }
}
