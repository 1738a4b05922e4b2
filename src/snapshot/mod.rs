//! Snapshots and where they are kept.

mod heap_snapshot;
mod history;
mod selector;

pub use selector::Selector;

pub(crate) use heap_snapshot::Snapshot;
pub(crate) use history::History;
#[cfg(test)]
pub(crate) use history::tests::snapshot as empty_snapshot;
