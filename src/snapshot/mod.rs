//! Snapshots and where they are kept.

mod file;
mod heap_snapshot;
mod history;
mod run_id;
mod run_state;
mod run_trail;
mod selector;

pub use selector::Selector;

#[cfg(test)]
pub(crate) use file::decode;
pub(crate) use file::{
    FileName, Head, HeadText, MOST_HEAD_BYTES, Packer, ReasonName, Stored, StoredStacks, TRAILER_BYTES, Trailer,
    decode_within, read_head,
};
pub(crate) use heap_snapshot::Snapshot;
pub(crate) use history::History;
#[cfg(test)]
pub(crate) use history::tests::snapshot as empty_snapshot;
pub(crate) use run_id::{RunId, RunSelector};
pub(crate) use run_state::{
    RunFacts, RunRecord, RunState, STATE_BYTES, read_state, write_end, write_facts, write_record, write_run_episode,
    write_run_reading,
};
pub(crate) use run_trail::{EPISODE_BYTES, MOST_READINGS, READING_BYTES, RunEpisode, RunReading};
