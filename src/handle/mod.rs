//! What a service holds: the builder and the handle.

mod builder;
mod folder;
mod info;
mod profiler;
mod slot;

pub use builder::Builder;
pub use info::{LiveSample, SnapshotInfo, TopSite};
pub use profiler::{Profiler, start};
