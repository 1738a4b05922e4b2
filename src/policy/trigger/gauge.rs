//! A gauge of the host's stands above its threshold.

use std::time::Duration;

use super::{Confirmed, Hold, Verdict};
use crate::policy::Reason;

/// What came of asking a gauge of the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GaugeValue {
    Known(f64),
    /// It said that it has none, or something that is no number.
    Unknown,
    Panicked,
}

/// One gauge, as it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gauged {
    pub(crate) value: GaugeValue,
    /// How long its function took, where that was too long.
    pub(crate) slow: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct GaugeRule {
    pub(super) name: &'static str,
    threshold: f64,
    above: Confirmed,
}

impl GaugeRule {
    pub(super) fn new(name: &'static str, threshold: f64) -> Self {
        Self { name, threshold, above: Confirmed::default() }
    }

    pub(super) fn judge(&mut self, value: GaugeValue) -> Verdict {
        let (gauge, threshold) = (self.name, self.threshold);
        let is_above = matches!(value, GaugeValue::Known(value) if value > threshold);
        let is_confirmed = self.above.note(is_above);
        match value {
            GaugeValue::Known(value) if is_confirmed => {
                Verdict::Fires(Reason::GaugeAboveThreshold { gauge, value, threshold })
            }
            GaugeValue::Known(value) if is_above => Verdict::Holds(Hold::GaugeOnce { value, threshold }),
            GaugeValue::Known(value) => Verdict::Holds(Hold::GaugeBelow { value, threshold }),
            GaugeValue::Unknown => Verdict::Holds(Hold::GaugeUnknown),
            GaugeValue::Panicked => Verdict::Holds(Hold::GaugePanicked),
        }
    }
}
