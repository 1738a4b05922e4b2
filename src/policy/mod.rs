//! Pure decisions from readings handed in. Time is an argument, never asked for.

#[cfg(feature = "cpu")]
mod cpu_room;
mod episode;
mod growth;
mod naming;
mod rate_limit;
mod reason;
mod retention;
mod threshold;
mod trigger;

pub use growth::Growth;
pub use naming::Symbolize;
pub use reason::Reason;
pub use threshold::Threshold;

#[cfg(feature = "cpu")]
pub(crate) use cpu_room::check_cpu_room;
pub(crate) use episode::{Episode, EpisodePoint, Episodes, MOST as MOST_EPISODES};
pub(crate) use naming::Naming;
pub(crate) use rate_limit::RateLimit;
pub(crate) use retention::Retention;
pub(crate) use trigger::{Decision, GaugeValue, Gauged, Hold, Rules, Said, Trigger, Verdict};
