//! Configuration, the worker's threads and the handle.

mod builder;
mod config;
mod environment;
mod gauges;
mod handle;
mod listen;
mod render;
mod shared;
mod status;
mod threads;
mod watch;

pub use builder::Builder;
pub use config::{
    DEFAULT_HISTORY, DEFAULT_HISTORY_BYTES, DEFAULT_LISTEN, DEFAULT_MAX_LIVE_SAMPLES, DEFAULT_MAX_STACKS,
    DEFAULT_MIN_INTERVAL, DEFAULT_POLL_INTERVAL, DEFAULT_PROFILES_DIR, DEFAULT_RSS_THRESHOLD,
};
pub use handle::{LiveSample, Profiler, SnapshotInfo, TopSite, start};
pub use listen::Listen;

pub(crate) use config::Config;
pub(crate) use shared::{Heap, Shared, stopped};
pub(crate) use status::Status;
