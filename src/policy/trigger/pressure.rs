//! Tasks wait for memory.

use super::{Hold, Verdict};
use crate::policy::Reason;
use crate::profile::Reading;

/// Compares with `some avg10`. It is the kernel's own average over time, so that one reading is enough.
#[derive(Debug)]
pub(super) struct PressureRule {
    /// In percent.
    threshold: Option<f64>,
}

impl PressureRule {
    pub(super) fn new(threshold: Option<f64>) -> Self {
        Self { threshold }
    }

    pub(super) fn judge(&mut self, reading: &Reading) -> Verdict {
        let Some(threshold) = self.threshold else {
            return Verdict::Holds(Hold::Off { setting: "HEAPWARD_TRIGGER_PRESSURE" });
        };
        let Some(pressure) = reading.pressure else { return Verdict::Holds(Hold::NoPressure) };
        let some = pressure.some.avg10;
        if some.percent() > threshold {
            Verdict::Fires(Reason::MemoryPressure { percent: some.percent(), threshold })
        } else {
            Verdict::Holds(Hold::LowPressure { some, threshold })
        }
    }
}
