//! How sure a change is.

use crate::analysis::Change;
use crate::profile::{Interval, SampleInterval, Sums};

/// Standard errors to both sides of an estimate that hold the truth with 95% confidence.
const Z_95: f64 = 1.96;

pub(super) fn sum_bytes_interval(sums: &Sums) -> Interval {
    normal(sums.estimated_bytes, sums.variance_bytes).at_least(0.0)
}

pub(super) fn sum_objects_interval(sums: &Sums) -> Interval {
    normal(sums.estimated_objects, sums.variance_objects).at_least(0.0)
}

pub(super) fn net_bytes_interval(change: &Change, _: Option<SampleInterval>) -> Interval {
    let Change { born, freed, .. } = change;
    normal(born.estimated_bytes - freed.estimated_bytes, born.variance_bytes + freed.variance_bytes)
}

pub(super) fn net_objects_interval(change: &Change, _: Option<SampleInterval>) -> Interval {
    let Change { born, freed, .. } = change;
    normal(born.estimated_objects - freed.estimated_objects, born.variance_objects + freed.variance_objects)
}

fn normal(estimate: f64, variance: f64) -> Interval {
    let margin = Z_95 * variance.sqrt();
    Interval { estimate, low: estimate - margin, high: estimate + margin }
}

impl Interval {
    fn at_least(self, least: f64) -> Self {
        Self { low: self.low.max(least), ..self }
    }
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

pub(super) fn detection_limit(interval: Option<SampleInterval>) -> f64 {
    9.0 * spacing(interval)
}

pub(super) fn traceless(interval: Option<SampleInterval>) -> f64 {
    20f64.ln() * spacing(interval)
}

/// R, and nothing where every allocation is sampled.
fn spacing(interval: Option<SampleInterval>) -> f64 {
    interval.map(SampleInterval::bytes).filter(|&bytes| bytes > 1).unwrap_or(0) as f64
}
