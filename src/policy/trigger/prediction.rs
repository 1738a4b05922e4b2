//! Memory use is predicted to reach the limit soon.

use std::time::Duration;

use super::trend::{Outlook, Trend};
use super::{Confirmed, Hold, Verdict};
use crate::policy::Reason;
use crate::profile::Reading;

/// How far ahead is looked where the rule is off, and the gauge of the prediction is still shown.
const HORIZON: Duration = Duration::from_secs(600);

/// Follows what the limit's control group uses, without page cache that can be dropped.
#[derive(Debug)]
pub(super) struct PredictionRule {
    horizon: Option<Duration>,
    trend: Trend,
    soon: Confirmed,
    predicted: Option<Duration>,
}

impl PredictionRule {
    pub(super) fn new(horizon: Option<Duration>, poll_interval: Duration) -> Self {
        let trend = Trend::new(horizon.unwrap_or(HORIZON), poll_interval);
        Self { horizon, trend, soon: Confirmed::default(), predicted: None }
    }

    pub(super) fn judge(&mut self, reading: &Reading) -> Verdict {
        let (Some(limit), Some(usage)) = (reading.cgroup.limit, reading.cgroup.usage) else {
            self.predicted = None;
            self.soon.note(false);
            return Verdict::Holds(match self.horizon {
                Some(_) => Hold::NoLimit,
                None => Hold::Off { setting: "HEAPWARD_TRIGGER_PREDICTION" },
            });
        };
        self.trend.note(reading.uptime, usage as f64);
        let outlook = self.trend.outlook(limit as f64);
        self.predicted = outlook.time_left();
        let Some(horizon) = self.horizon else {
            return Verdict::Holds(Hold::Off { setting: "HEAPWARD_TRIGGER_PREDICTION" });
        };
        match outlook {
            Outlook::Reaches { within } if self.soon.note(within <= horizon) => {
                Verdict::Fires(Reason::LimitPredicted { usage, limit, within })
            }
            Outlook::Reaches { .. } => Verdict::Holds(Hold::Prediction { outlook, usage, limit, horizon }),
            _ => {
                self.soon.note(false);
                Verdict::Holds(Hold::Prediction { outlook, usage, limit, horizon })
            }
        }
    }

    /// When the limit would be reached by the last reading; `None` when use does not rise towards it.
    pub(super) fn predicted(&self) -> Option<Duration> {
        self.predicted
    }
}
