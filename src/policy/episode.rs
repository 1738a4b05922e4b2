//! Episodes: the snapshots of one rise of RSS, told as one story.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::Reason;
use crate::profile::Reading;

/// So many episodes are kept, the one that goes on included.
pub(crate) const MOST: usize = 20;
/// So many ids of snapshots are kept of one: the first and the last ones.
const MOST_SNAPSHOTS: usize = 64;
/// A rise begins when RSS stands this much above where it was lowest: a sixteenth of that, and at least 4 MiB.
const LEAST_RISE: u64 = 4 << 20;
const LEAST_SHARE: u64 = 16;
/// A rise that gets no higher by a hundredth in so much time is over.
const SETTLED_AFTER: Duration = Duration::from_secs(15 * 60);
/// Readings in a row that must have fallen: one can be wrong.
const FALLEN: u32 = 2;

/// A moment of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpisodePoint {
    /// Wall-clock time, for people.
    pub(crate) time: SystemTime,
    /// Time since the profiler started.
    pub(crate) uptime: Duration,
    /// RSS then, in bytes.
    pub(crate) rss: u64,
}

impl EpisodePoint {
    fn of(reading: &Reading) -> Self {
        Self { time: reading.time, uptime: reading.uptime, rss: reading.process.rss }
    }
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// RSS fell back by half of the rise or more.
    Fell,
    /// RSS rose no more, and stayed.
    Settled,
}

impl Ending {
    /// One word for JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fell => "fell",
            Self::Settled => "settled",
        }
    }
}

/// The snapshots of one rise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Episode {
    /// Rises by one with every episode of this run, from 1.
    pub(crate) id: u64,
    /// The last reading down where the rise began.
    pub(crate) start: EpisodePoint,
    /// The highest reading, not only of those with a snapshot.
    pub(crate) peak: EpisodePoint,
    /// The reading that ended it; `None` while it goes on.
    pub(crate) end: Option<(EpisodePoint, Ending)>,
    /// Why the first of its snapshots was taken.
    pub(crate) opened_by: Reason,
    /// Its snapshots by [`Reason::NAMES`].
    pub(crate) reasons: [u64; Reason::NAMES.len()],
    /// Their ids, rising; of very many the first and the last ones. The ring may have given some of them up.
    pub(crate) snapshots: Vec<u64>,
    /// Which of its snapshots has the highest RSS.
    pub(crate) highest: u64,
    highest_rss: u64,
    /// The last reading that was a hundredth above the one before.
    progress: EpisodePoint,
    fallen: u32,
}

impl Episode {
    /// How many snapshots it has, also those whose ids were not kept.
    pub(crate) fn taken(&self) -> u64 {
        self.reasons.iter().sum()
    }

    /// Why they were taken, by name, and how many each.
    pub(crate) fn reasons_taken(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::NAMES.into_iter().zip(self.reasons).filter(|(_, count)| *count > 0)
    }
}

/// The episodes of this run. Decides by readings and snapshots alone; time is in the readings.
///
/// ```text
///              a rule's snapshot, and RSS stands well above where it was lowest
///        ┌───────────────────────────────────────────────────────────────────────┐
///        │                                                                       ▼
///      quiet                                                                  rising ──┐ higher: the peak;
///        ▲                                                                       │  ▲──┘ any snapshot: one more of it
///        └───────────────────────────────────────────────────────────────────────┘
///          back by half of the rise on two readings in a row: fell; no higher by 1% for 15 minutes: settled
/// ```
///
/// What RSS is when an episode ends is where the next would rise from, so that a service which stays above its threshold for
/// days is no episode for days.
#[derive(Debug, Default)]
pub(crate) struct Episodes {
    /// Of the quiet time: the lowest RSS, the last reading near it and the highest since; `None` before the first reading,
    /// and while an episode goes on.
    quiet: Option<Quiet>,
    /// Oldest first; the last one may go on.
    all: VecDeque<Episode>,
    started: u64,
}

#[derive(Clone, Copy, Debug)]
struct Quiet {
    lowest: u64,
    start: EpisodePoint,
    highest: EpisodePoint,
}

impl Quiet {
    fn from(point: EpisodePoint) -> Self {
        Self { lowest: point.rss, start: point, highest: point }
    }

    /// What a rise must have at least.
    fn least(&self) -> u64 {
        (self.lowest / LEAST_SHARE).max(LEAST_RISE)
    }

    fn note(&mut self, point: EpisodePoint) {
        self.lowest = self.lowest.min(point.rss);
        if point.rss <= self.lowest.saturating_add(self.least() / 4) {
            (self.start, self.highest) = (point, point);
        } else if point.rss > self.highest.rss {
            self.highest = point;
        }
    }
}

impl Episodes {
    /// One more reading, whether a snapshot follows or not.
    pub(crate) fn observe(&mut self, reading: &Reading) {
        let point = EpisodePoint::of(reading);
        let Some(episode) = self.all.back_mut().filter(|episode| episode.end.is_none()) else {
            self.quiet.get_or_insert_with(|| Quiet::from(point)).note(point);
            return;
        };
        episode.note(point);
        let half = episode.start.rss + episode.peak.rss.saturating_sub(episode.start.rss) / 2;
        episode.fallen = if point.rss <= half { episode.fallen + 1 } else { 0 };
        let ending = if episode.fallen >= FALLEN {
            Ending::Fell
        } else if point.uptime.saturating_sub(episode.progress.uptime) >= SETTLED_AFTER {
            Ending::Settled
        } else {
            return;
        };
        episode.end = Some((point, ending));
        self.quiet = Some(Quiet::from(point));
    }

    /// The snapshot `id` was taken with that reading: the episode that it belongs to, which may begin with it. One that
    /// somebody asked for begins none.
    pub(crate) fn snapshot(&mut self, id: u64, reason: &Reason, reading: &Reading) -> Option<u64> {
        let point = EpisodePoint::of(reading);
        if self.open().is_none() {
            let quiet = self.quiet.unwrap_or(Quiet::from(point));
            let is_rise = point.rss >= quiet.lowest.saturating_add(quiet.least());
            if *reason == Reason::Requested || !is_rise {
                return None;
            }
            self.begin(id, *reason, &quiet, point);
        }
        let episode = self.all.back_mut()?;
        episode.note(point);
        if let Some(count) = episode.reasons.get_mut(reason.index()) {
            *count += 1;
        }
        if episode.snapshots.len() == MOST_SNAPSHOTS {
            episode.snapshots.remove(1);
        }
        episode.snapshots.push(id);
        if point.rss > episode.highest_rss {
            (episode.highest, episode.highest_rss) = (id, point.rss);
        }
        Some(episode.id)
    }

    fn begin(&mut self, id: u64, reason: Reason, quiet: &Quiet, point: EpisodePoint) {
        if self.all.len() == MOST {
            self.all.pop_front();
        }
        self.started += 1;
        self.quiet = None;
        self.all.push_back(Episode {
            id: self.started,
            start: quiet.start,
            peak: quiet.highest,
            end: None,
            opened_by: reason,
            reasons: [0; Reason::NAMES.len()],
            snapshots: Vec::new(),
            highest: id,
            highest_rss: point.rss,
            progress: point,
            fallen: 0,
        });
    }

    /// The one that goes on.
    pub(crate) fn open(&self) -> Option<&Episode> {
        self.all.back().filter(|episode| episode.end.is_none())
    }

    /// Those that are kept, oldest first.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Episode> {
        self.all.iter()
    }

    /// How many there were.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }
}

impl Episode {
    fn note(&mut self, point: EpisodePoint) {
        if point.rss > self.peak.rss {
            self.peak = point;
        }
        if point.rss > self.progress.rss.saturating_add(self.progress.rss / 100) {
            self.progress = point;
        }
    }
}

#[cfg(test)]
mod tests;
