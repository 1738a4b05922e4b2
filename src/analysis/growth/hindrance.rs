//! Why nothing can be told of growth.

use std::fmt;

use super::LEAST_SNAPSHOTS;

/// What keeps growth from being judged. Snapshots by their ids, where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// jemalloc's dumps tell what is alive and not since when.
    NoBirthdays,
    /// The ring keeps so few by its number.
    SmallHistory { kept: usize },
    /// The ring keeps so few by its bytes.
    SmallHistoryBytes { kept: usize },
    /// So many samples found no room in the live set.
    Dropped { samples: u64, since: Option<u64> },
    /// Sampling was switched off; `to` is the first snapshot after it, if there is one.
    Paused { from: Option<u64>, to: Option<u64> },
    /// Samples were taken at one interval and scaled by another.
    Rescaled,
    /// Only threads that ask for it are sampled.
    SomeThreads,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pinned first snapshot stands beside the ring.
        let least = LEAST_SNAPSHOTS - 1;
        match *self {
            Self::NoBirthdays => f.write_str(
                "the heap is read from jemalloc's dumps (HEAPWARD_COLLECTOR=dump, or a jemalloc without hooks), which tell \
                 no birthdays: what came and stayed looks like what is replaced all the time",
            ),
            Self::SmallHistory { kept } => write!(f, "HEAPWARD_HISTORY is {kept}, and it takes {least} or more"),
            Self::SmallHistoryBytes { kept } => {
                write!(f, "HEAPWARD_HISTORY_BYTES has room for {kept} of these snapshots, and it takes {least} or more")
            }
            Self::Dropped { samples, since } => {
                let (noun, since) = (if samples == 1 { "sample" } else { "samples" }, Since(since));
                write!(
                    f,
                    "{samples} {noun} found no room {since}: raise HEAPWARD_MAX_LIVE_SAMPLES, or sample less often (a larger \
                     lg_prof_sample)"
                )
            }
            Self::Paused { from: Some(from), to: Some(to) } => {
                write!(f, "sampling was switched off between the snapshots {from} and {to}")
            }
            Self::Paused { from, .. } => write!(f, "sampling was switched off {}", Since(from)),
            Self::Rescaled => f.write_str("jemalloc's sample interval was changed while heapward ran"),
            Self::SomeThreads => {
                f.write_str("only threads that ask for it are sampled (prof_thread_active_init:false)")
            }
        }
    }
}

struct Since(Option<u64>);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "since snapshot {id}"),
            None => f.write_str("meanwhile"),
        }
    }
}
