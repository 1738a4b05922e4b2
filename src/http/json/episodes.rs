//! `GET /api/episodes`

use std::collections::BTreeMap;

use serde::Serialize;

use super::time;
use crate::policy::{Episode, EpisodePoint, MOST_EPISODES};
use crate::profiler::Shared;

/// Rises of RSS, each with its snapshots; oldest first.
#[derive(Serialize)]
pub(in crate::http) struct EpisodeList {
    episodes: Vec<EpisodeJson>,
    /// So many are kept at most.
    most: usize,
    /// How many there were.
    started: u64,
}

#[derive(Serialize)]
struct EpisodeJson {
    id: u64,
    /// The last reading down where the rise began.
    start: PointJson,
    /// The highest reading, which need not have a snapshot.
    peak: PointJson,
    /// `null` while it goes on.
    end: Option<PointJson>,
    /// `fell` or `settled`; `null` as above.
    ended_by: Option<&'static str>,
    /// Why its first snapshot was taken, as a sentence.
    why: String,
    /// Why its snapshots were taken, and how many each.
    reasons: BTreeMap<&'static str, u64>,
    /// Oldest first; of more than 64 the first and the last ones.
    snapshots: Vec<SnapshotJson>,
    /// How many there were.
    taken: u64,
    /// The one with the highest RSS.
    highest: SnapshotJson,
}

#[derive(Serialize)]
struct PointJson {
    time: String,
    rss_bytes: u64,
}

#[derive(Serialize)]
struct SnapshotJson {
    id: u64,
    /// Whether the ring still has it.
    kept: bool,
}

impl EpisodeList {
    pub(in crate::http) fn of(shared: &Shared) -> Self {
        // One lock after the other: the watcher takes both.
        let (episodes, started) = {
            let episodes = shared.episodes();
            (episodes.all().cloned().collect::<Vec<Episode>>(), episodes.started())
        };
        let history = shared.history();
        let episodes = episodes.iter().map(|episode| EpisodeJson::of(episode, |id| history.keeps(id))).collect();
        Self { episodes, most: MOST_EPISODES, started }
    }
}

impl EpisodeJson {
    fn of(episode: &Episode, keeps: impl Fn(u64) -> bool) -> Self {
        let point = |point: EpisodePoint| PointJson { time: time(point.time), rss_bytes: point.rss };
        let snapshot = |id| SnapshotJson { id, kept: keeps(id) };
        Self {
            id: episode.id,
            start: point(episode.start),
            peak: point(episode.peak),
            end: episode.end.map(|(end, _)| point(end)),
            ended_by: episode.end.map(|(_, ending)| ending.name()),
            why: episode.opened_by.to_string(),
            reasons: episode.reasons_taken().collect(),
            snapshots: episode.snapshots.iter().map(|&id| snapshot(id)).collect(),
            taken: episode.taken(),
            highest: snapshot(episode.highest),
        }
    }
}
