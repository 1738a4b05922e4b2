//! What a service holds: the builder and the handle.

mod builder;
mod diff;
mod episode;
mod estimate;
mod folder;
mod heap_profile;
mod info;
mod profiler;
mod slot;

pub use builder::Builder;
pub use diff::{Age, Amount, Diff, DiffAmounts, DiffRow, Moment};
pub use episode::{Episode, EpisodePoint, EpisodeSnapshot};
pub use estimate::Estimate;
pub use heap_profile::{HeapProfile, HeapTotals};
pub use info::{ComparedUnwinders, LiveSample, SnapshotInfo, TopSite};
pub use profiler::{Profiler, start};
