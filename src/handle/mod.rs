//! What a service holds: the builder and the handle.

mod builder;
mod folder;
mod heap_profile;
mod info;
mod profiler;
mod slot;

pub use builder::Builder;
pub use heap_profile::{HeapProfile, HeapTotals};
pub use info::{LiveSample, SnapshotInfo, TopSite};
pub use profiler::{Profiler, start};
