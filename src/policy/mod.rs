//! Pure decisions from readings handed in. Time is an argument, never asked for.

mod alert;
mod alert_room;
#[cfg(feature = "cpu")]
mod cpu_room;
mod disk_retention;
mod earlier_room;
mod end_of_run;
mod episode;
mod growth;
mod naming;
mod rate_limit;
mod reason;
mod retention;
mod threshold;
mod trigger;

pub use alert::{AlertChange, Severity};
pub use growth::Growth;
pub use naming::Symbolize;
pub use reason::Reason;
pub use threshold::Threshold;

#[cfg(test)]
pub(crate) use alert::MemoryUse;
pub(crate) use alert::{Alarm, AlertRule, HEARTBEAT, LimitOf, Standing};
pub(crate) use alert_room::{AlertRoom, alert_is_short_of_names};
#[cfg(feature = "cpu")]
pub(crate) use cpu_room::check_cpu_room;
pub(crate) use disk_retention::{DiskRetention, OnDisk, Owner};
pub(crate) use earlier_room::earlier_room;
pub(crate) use end_of_run::{Certainty, EndOfRun, How, KernelWord, Lived, Traces};
pub(crate) use episode::{Ending, Episode, EpisodePoint, Episodes, MOST as MOST_EPISODES};
pub(crate) use naming::Naming;
pub(crate) use rate_limit::RateLimit;
pub(crate) use retention::Retention;
pub(crate) use trigger::{Decision, GaugeValue, Gauged, Hold, Rules, Said, Trigger, Verdict};
