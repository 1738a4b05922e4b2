//! How sure a change is.

use crate::analysis::{Change, detection_limit};
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

/// Growth of a pure leak that is hardly ever missed, in bytes. Where every allocation is sampled, nothing is.
pub(super) fn least_seen(interval: SampleInterval) -> f64 {
    if interval.bytes() > 1 { detection_limit(interval, 0.0) } else { 0.0 }
}
