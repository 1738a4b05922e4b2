//! What the handle tells of a snapshot, as plain values.

use std::time::{Duration, SystemTime};

use super::Amount;
use crate::analysis::{self, Site, TopRow};
use crate::policy::Reason;
use crate::snapshot::Snapshot;

/// What is known of a snapshot without opening it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its id, from 1 on.
    pub id: u64,
    /// When it was taken.
    pub time: SystemTime,
    /// Why.
    pub reason: Reason,
    /// RSS then, in bytes.
    pub rss: u64,
    /// Estimated bytes alive.
    pub live_bytes: f64,
    /// Bytes and objects alive, with their bounds.
    pub live: Amount,
    /// Estimated objects alive.
    pub live_objects: f64,
    /// Sampled objects that the estimates rest on.
    pub sampled_objects: u64,
    /// How long it took.
    pub duration: Duration,
    /// The epoch that it ended: objects that are alive in it were born in this epoch or before.
    pub epoch: u32,
    /// Why it does not show everything, all reasons; `None` when it does.
    pub partial: Option<String>,
    /// The episode that it belongs to: [`Profiler::episodes`](crate::Profiler::episodes).
    pub episode: Option<u64>,
}

/// A site with what it holds and allocated in all, estimated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopSite {
    /// Function, demangled; the address with its file where there is no name.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: u32,
    /// Bytes alive.
    pub inuse_bytes: i64,
    /// Objects alive.
    pub inuse_objects: i64,
    /// Bytes ever allocated.
    pub alloc_bytes: i64,
    /// Objects ever allocated.
    pub alloc_objects: i64,
    /// What is alive, with how sure that is; `None` where nothing says how it was sampled. From a file it is what
    /// about was sampled, see [`Estimate::is_about`](crate::Estimate::is_about).
    pub inuse: Option<Amount>,
}

/// The unwinder in use beside libgcc's, for heapward's own tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ComparedUnwinders {
    pub name: &'static str,
    pub walks: u64,
    pub equal: u64,
    pub frames: u64,
    pub last_in_common: Option<u64>,
}

/// One sampled object, for heapward's own tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct LiveSample {
    pub address: u64,
    pub requested: u64,
    pub usable: u64,
    pub epoch: u32,
    pub birth_millis: u64,
    pub stack: u32,
    pub depth: usize,
}

impl TopSite {
    pub(super) fn of(row: TopRow) -> Self {
        let inuse = row.inuse.map(Amount::of);
        Self::with(row, inuse)
    }

    /// Of a file.
    pub(super) fn about(row: TopRow) -> Self {
        let inuse = row.inuse.map(Amount::about);
        Self::with(row, inuse)
    }

    fn with(row: TopRow, inuse: Option<Amount>) -> Self {
        let [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes] = row.values;
        let Site { function, file, line } = row.site;
        Self { function, file, line, inuse_bytes, inuse_objects, alloc_bytes, alloc_objects, inuse }
    }
}

impl SnapshotInfo {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            id: snapshot.id,
            time: snapshot.time,
            reason: snapshot.reason,
            rss: snapshot.reading.process.rss,
            live_bytes: snapshot.live.estimated_bytes,
            live: Amount::of(analysis::Amount::of(&snapshot.live)),
            live_objects: snapshot.live.estimated_objects,
            sampled_objects: snapshot.live.objects,
            duration: snapshot.duration,
            epoch: snapshot.epoch,
            partial: snapshot.partial.map(|partial| partial.to_string()),
            episode: snapshot.episode,
        }
    }
}
