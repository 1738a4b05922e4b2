#![doc = include_str!("../README.md")]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![deny(unsafe_op_in_unsafe_fn)]

mod alerts;
mod analysis;
mod collect;
mod error;
mod format;
#[cfg(test)]
mod golden;
mod handle;
mod http;
mod install;
mod metrics;
mod policy;
mod profile;
mod profiler;
mod snapshot;
mod symbolize;
mod system;
pub mod testing;

pub use alerts::{Alert, AlertDeliveries, AlertLeaks, AlertReport, AlertSite, AlertState, AlertSuspect};
pub use analysis::{Grouping, Site};
pub use collect::Unwinder;
pub use error::{Error, ErrorKind, Result};
pub use handle::{
    Age, Amount, Builder, Diff, DiffAmounts, DiffRow, Episode, EpisodePoint, EpisodeSnapshot, Estimate, HeapProfile,
    HeapTotals, Moment, Profiler, SnapshotInfo, TopSite, start,
};
pub use http::{RouteService, Routes};
pub use policy::{AlertChange, Growth, Reason, Severity, Symbolize, Threshold};
pub use profile::ByteSize;
pub use profiler::{
    DEFAULT_ALERT_AFTER, DEFAULT_ALERT_THRESHOLD, DEFAULT_DEBUG_DIRS, DEFAULT_HISTORY, DEFAULT_HISTORY_BYTES,
    DEFAULT_LISTEN, DEFAULT_MAX_LIVE_SAMPLES, DEFAULT_MAX_STACKS, DEFAULT_MIN_INTERVAL, DEFAULT_POLL_INTERVAL,
    DEFAULT_PROFILES_BYTES, DEFAULT_PROFILES_COUNT, DEFAULT_PROFILES_DIR, DEFAULT_READINGS, DEFAULT_RSS_THRESHOLD,
    DEFAULT_SLOW_OPERATION, DEFAULT_SYMBOLIZE_HEADROOM, DEFAULT_TRIGGER_EVENTS, DEFAULT_TRIGGER_GROWTH,
    DEFAULT_TRIGGER_PREDICTION, DEFAULT_TRIGGER_PRESSURE, Evidence, LeakReport, LeakSuspect, LetGo, Listen,
};
pub use snapshot::Selector;

#[doc(hidden)]
pub use handle::{ComparedUnwinders, LiveSample};
#[doc(hidden)]
pub use install::__private;
