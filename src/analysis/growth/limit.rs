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
