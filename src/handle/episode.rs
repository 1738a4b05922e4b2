//! Episodes, as plain values.

use std::time::SystemTime;

use crate::policy::{self, Reason};

/// The snapshots of one rise of RSS. It begins with a snapshot that a rule asked for while RSS stood well above where it was
/// lowest, and ends when RSS has fallen back by half of the rise, or rose no more for 15 minutes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Episode {
    /// Its id, from 1 on.
    pub id: u64,
    /// The last reading down where the rise began.
    pub start: EpisodePoint,
    /// The highest reading, which need not have a snapshot.
    pub peak: EpisodePoint,
    /// The reading that ended it; `None` while it goes on.
    pub end: Option<EpisodePoint>,
    /// `fell` or `settled`; `None` while it goes on.
    pub ended_by: Option<&'static str>,
    /// Why the first of its snapshots was taken.
    pub reason: Reason,
    /// Why its snapshots were taken, by [`Reason::name`], and how many each.
    pub reasons: Vec<(&'static str, u64)>,
    /// Its snapshots, oldest first; of more than 64 the first and the last ones.
    pub snapshots: Vec<EpisodeSnapshot>,
    /// How many there were.
    pub taken: u64,
    /// The one of them with the highest RSS.
    pub highest: EpisodeSnapshot,
}

/// A moment of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpisodePoint {
    /// When it was.
    pub time: SystemTime,
    /// RSS then, in bytes.
    pub rss: u64,
}

/// A snapshot of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpisodeSnapshot {
    /// Its id.
    pub id: u64,
    /// Whether it is still kept: the ring gives up its oldest.
    pub is_kept: bool,
}

impl Episode {
    /// `keeps` says whether a snapshot is still there.
    pub(super) fn of(episode: &policy::Episode, keeps: impl Fn(u64) -> bool) -> Self {
        let point = |point: policy::EpisodePoint| EpisodePoint { time: point.time, rss: point.rss };
        let snapshot = |id| EpisodeSnapshot { id, is_kept: keeps(id) };
        let end = episode.end.map(|(end, _)| point(end));
        Self {
            id: episode.id,
            start: point(episode.start),
            peak: point(episode.peak),
            end,
            ended_by: episode.end.map(|(_, ending)| ending.name()),
            reason: episode.opened_by,
            reasons: episode.reasons_taken().collect(),
            snapshots: episode.snapshots.iter().map(|&id| snapshot(id)).collect(),
            taken: episode.taken(),
            highest: snapshot(episode.highest),
        }
    }
}
