//! How small a growth sampling can see.

use crate::profile::SampleInterval;

/// From so many standard errors on, growth counts as seen.
const DEVIATE: f64 = 3.0;

/// The growth in bytes that reaches three standard errors: D = 3·√(V₀ + R·D), with `churn_variance` V₀ in bytes² of
/// what is born and freed at the site beside it. A pure leak reaches it at 9R. Every byte of D adds R to the variance,
/// which is so for small objects and too much for large ones.
pub(crate) fn detection_limit(interval: SampleInterval, churn_variance: f64) -> f64 {
    let half = 0.5 * DEVIATE * DEVIATE * interval.bytes() as f64;
    half + half.hypot(DEVIATE * churn_variance.max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_leak_is_seen_at_nine_intervals() {
        let interval = SampleInterval::from_lg(19).unwrap();
        assert_eq!(detection_limit(interval, 0.0), 4.5 * 1_048_576.0);
        assert_eq!(detection_limit(interval, f64::NAN), 4.5 * 1_048_576.0);
    }

    #[test]
    fn churn_hides_growth() {
        let interval = SampleInterval::from_lg(19).unwrap();
        for churn in [1e6f64, 1e12, 1e14, 1e18] {
            let limit = detection_limit(interval, churn);
            let error = 3.0 * (churn + 524_288.0 * limit).sqrt();
            assert!((limit / error - 1.0).abs() < 1e-9, "{churn}: {limit} is not {error}");
        }
    }

    #[test]
    fn what_is_small_is_missed_altogether() {
        let interval = SampleInterval::from_lg(19).unwrap();
        for (bytes, chance) in [(-5.0, 1.0), (0.0, 1.0), (524_288.0, 0.367_88), (9.0 * 524_288.0, 0.000_123_4)] {
            assert!((interval.chance_of_missing(bytes) / chance - 1.0).abs() < 1e-3, "{bytes}");
        }
        let every_byte = SampleInterval::from_lg(0).unwrap();
        assert_eq!((every_byte.chance_of_missing(0.0), every_byte.chance_of_missing(1.0)), (1.0, 0.0));
    }
}
