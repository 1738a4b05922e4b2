//! How sure a change is.

use crate::analysis::Change;
use crate::profile::{Interval, Measure, SampleInterval};

/// Standard errors to both sides of an estimate that hold the truth with 95% confidence.
const NORMAL_DEVIATE: f64 = 1.96;

/// How far the interval of a change in bytes stays away from zero; zero when it does not.
pub(super) fn distance(change: &Change, interval: SampleInterval) -> f64 {
    let Interval { low, high, .. } = Interval::of_change(&change.born, &change.freed, interval, Measure::Bytes);
    low.max(-high).max(0.0)
}

/// The same, about, in nanoseconds instead of microseconds; may be negative. To choose among many.
pub(super) fn rough_distance(change: &Change, interval: SampleInterval) -> f64 {
    let Change { born, freed, .. } = change;
    let margin = NORMAL_DEVIATE * (born.variance_bytes + freed.variance_bytes).sqrt();
    let net = change.net_bytes();
    let other = if net > 0.0 { freed } else { born };
    // Without a sample it need not be empty.
    let unseen = if other.objects == 0 { interval.unseen_limit() } else { 0.0 };
    net.abs() - margin.hypot(unseen)
}

/// The two-sided p-value of "as much is born as is freed".
pub(super) fn p_value(change: &Change) -> f64 {
    let Change { born, freed, .. } = change;
    let net = born.estimated_bytes - freed.estimated_bytes;
    let variance = born.variance_bytes + freed.variance_bytes;
    if net == 0.0 { 1.0 } else { erfc(net.abs() / (2.0 * variance).sqrt()) }
}

/// 1 − erf(x) for x ≥ 0, within 1.5e-7. Source: Abramowitz and Stegun, 7.1.26.
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    terms.iter().fold(0.0, |sum, term| (sum + term) * t) * (-x * x).exp()
}

/// Benjamini and Hochberg's adjusted p-values.
pub(super) fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<u32> = (0..p_values.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| p_values[a as usize].total_cmp(&p_values[b as usize]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (rank, &at) in order.iter().enumerate().rev() {
        least = least.min(p_values[at as usize] * p_values.len() as f64 / (rank + 1) as f64);
        adjusted[at as usize] = least;
    }
    adjusted
}

pub(super) fn detection_limit(interval: SampleInterval) -> f64 {
    // Where every allocation is sampled, nothing is missed.
    if interval.bytes() > 1 { 9.0 * interval.bytes() as f64 } else { 0.0 }
}
