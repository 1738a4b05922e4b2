//! RSS stands above a threshold.

use super::{Confirmed, Hold, Verdict};
use crate::policy::{Reason, Threshold};
use crate::profile::Reading;

/// ```text
///            above             above
///   below ──────────► once ─────────────► fires ─┐
///     ▲                 │ not above         ▲    │
///     └─────────────────┴──── not above ────┼────┤
///                                           └────┘ above
/// ```
#[derive(Debug)]
pub(super) struct RssRule {
    threshold: Threshold,
    above: Confirmed,
}

impl RssRule {
    pub(super) fn new(threshold: Threshold) -> Self {
        Self { threshold, above: Confirmed::default() }
    }

    pub(super) fn judge(&mut self, reading: &Reading) -> Verdict {
        let rss = reading.process.rss;
        let Some(threshold) = self.threshold.bytes(reading.cgroup.limit) else {
            self.above.note(false);
            return Verdict::Holds(Hold::UnknownLimit { threshold: self.threshold });
        };
        let is_above = rss > threshold;
        if self.above.note(is_above) {
            Verdict::Fires(Reason::RssAboveThreshold { rss, threshold })
        } else if is_above {
            Verdict::Holds(Hold::Unconfirmed { rss, threshold })
        } else {
            Verdict::Holds(Hold::Below { rss, threshold })
        }
    }
}
