//! What an earlier run noted until its end, as JSON: its last readings, and the rises that there were.

use serde::Serialize;

use super::time;
use crate::policy::EpisodePoint;
use crate::snapshot::{RunEpisode, RunReading};

/// One poll.
#[derive(Serialize)]
pub(super) struct NotedReading {
    time: String,
    /// Since that run began.
    uptime_seconds: f64,
    rss_bytes: u64,
    cgroup_usage_bytes: Option<u64>,
    /// Since the poll before, in percent of the time of one core.
    cpu_percent: Option<f64>,
}

/// One rise, as `GET /api/episodes` had it.
#[derive(Serialize)]
pub(super) struct NotedEpisode {
    /// Which it was in that run: snapshots of it have the same number as `episode`.
    id: u64,
    start: PointJson,
    peak: PointJson,
    /// `null` where it went on to the last that was noted.
    end: Option<PointJson>,
    /// `fell` or `settled`; `null` as above.
    ended_by: Option<&'static str>,
    /// How many snapshots were taken of it.
    taken: u64,
    /// The id of the one with the highest RSS.
    highest: u64,
}

#[derive(Serialize)]
struct PointJson {
    time: String,
    uptime_seconds: f64,
    rss_bytes: u64,
}

impl NotedReading {
    pub(super) fn of(reading: &RunReading) -> Self {
        let RunReading { number: _, time: at, uptime, rss, cgroup_usage, cpu_percent } = *reading;
        Self {
            time: time(at),
            uptime_seconds: uptime.as_secs_f64(),
            rss_bytes: rss,
            cgroup_usage_bytes: cgroup_usage,
            cpu_percent,
        }
    }
}

impl NotedEpisode {
    pub(super) fn of(episode: &RunEpisode) -> Self {
        let RunEpisode { id, start, peak, end, taken, highest } = *episode;
        Self {
            id,
            start: PointJson::of(start),
            peak: PointJson::of(peak),
            end: end.map(|(end, _)| PointJson::of(end)),
            ended_by: end.map(|(_, ending)| ending.name()),
            taken,
            highest,
        }
    }
}

impl PointJson {
    fn of(point: EpisodePoint) -> Self {
        Self { time: time(point.time), uptime_seconds: point.uptime.as_secs_f64(), rss_bytes: point.rss }
    }
}
