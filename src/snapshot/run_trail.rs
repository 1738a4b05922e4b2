//! The last part of what a run leaves beside its snapshots: how it went on until its end. Pure bytes.
//!
//! ```text
//! 0     the last readings, in a ring   100 × 64 bytes
//! 6400  the last episodes, in a ring   20 × 2 × 128 bytes
//! ```
//!
//! Each place is a part with a checksum of its own. A reading is written once, over the oldest; an episode whenever it changes,
//! to its two places in turn, so that the other one is whole when the process is killed within a write.

use std::time::{Duration, SystemTime};

use super::file::{Put, Take};
use super::run_state::{content, part};
use crate::error::Result;
use crate::policy::{Ending, Episode, EpisodePoint, MOST_EPISODES};

/// So many readings are left: as many as are kept in memory, unless somebody wants more.
pub(crate) const MOST_READINGS: u64 = 100;

/// A reading in the file.
pub(crate) const READING_BYTES: usize = 64;

/// An episode in the file, once.
pub(crate) const EPISODE_BYTES: usize = 128;

const EPISODES_START: usize = MOST_READINGS as usize * READING_BYTES;

/// Ids rise by one, so that the last ones have places of their own.
const EPISODES: u64 = MOST_EPISODES as u64;

/// All of it.
pub(super) const TRAIL_BYTES: usize = EPISODES_START + 2 * MOST_EPISODES * EPISODE_BYTES;

/// What a run noted of one poll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RunReading {
    /// Rises by one with every poll that could read, from 1.
    pub(crate) number: u64,
    pub(crate) time: SystemTime,
    /// Time since the profiler started.
    pub(crate) uptime: Duration,
    pub(crate) rss: u64,
    /// Of the memory control group, in bytes.
    pub(crate) cgroup_usage: Option<u64>,
    /// CPU time since the poll before, in percent of the time of one core.
    pub(crate) cpu_percent: Option<f64>,
}

/// What a run noted of a rise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RunEpisode {
    pub(crate) id: u64,
    pub(crate) start: EpisodePoint,
    /// The highest reading.
    pub(crate) peak: EpisodePoint,
    /// `None` where it went on when that was noted.
    pub(crate) end: Option<(EpisodePoint, Ending)>,
    /// How many snapshots were taken of it.
    pub(crate) taken: u64,
    /// Which of these has the highest RSS.
    pub(crate) highest: u64,
}

impl RunEpisode {
    pub(crate) fn of(episode: &Episode) -> Self {
        let Episode { id, start, peak, end, highest, .. } = *episode;
        Self { id, start, peak, end, taken: episode.taken(), highest }
    }
}

/// The bytes of `reading` and where in the trail they go; allocates nothing.
pub(super) fn write_reading(reading: &RunReading, buffer: &mut [u8; READING_BYTES]) -> usize {
    part(&mut buffer[..], |put| {
        put.u64(reading.number);
        put.time(reading.time);
        put.duration(reading.uptime);
        put.u64(reading.rss);
        put.optional(reading.cgroup_usage);
        put.optional(reading.cpu_percent.map(f64::to_bits));
    });
    (reading.number % MOST_READINGS) as usize * READING_BYTES
}

/// The bytes of `episode` and where in the trail they go; allocates nothing. `turn` rises by one each time that one is written.
pub(super) fn write_episode(episode: &RunEpisode, turn: u64, buffer: &mut [u8; EPISODE_BYTES]) -> usize {
    part(&mut buffer[..], |put| {
        put.u64(turn);
        put.u64(episode.id);
        point(put, &episode.start);
        point(put, &episode.peak);
        put.byte(match episode.end {
            None => 0,
            Some((_, Ending::Fell)) => 1,
            Some((_, Ending::Settled)) => 2,
        });
        point(put, &episode.end.map_or(episode.start, |(end, _)| end));
        put.u64(episode.taken);
        put.u64(episode.highest);
    });
    EPISODES_START + (episode.id % EPISODES * 2 + turn % 2) as usize * EPISODE_BYTES
}

/// The readings and the episodes in `trail`, oldest first; `base` is where that begins in its file. A damaged one is none.
pub(super) fn read_trail(trail: &[u8], base: usize) -> (Vec<RunReading>, Vec<RunEpisode>) {
    let (readings, episodes) = trail.split_at(EPISODES_START.min(trail.len()));
    let takes = |bytes| whole(bytes, base);
    let mut readings: Vec<RunReading> =
        readings.chunks_exact(READING_BYTES).filter_map(takes).filter_map(|mut take| reading(&mut take).ok()).collect();
    readings.sort_unstable_by_key(|reading| reading.number);
    // One that should have been written over is not of the last.
    let last = readings.last().map_or(0, |reading| reading.number);
    readings.retain(|reading| reading.number + MOST_READINGS > last);

    let mut noted: Vec<(u64, RunEpisode)> =
        episodes.chunks_exact(EPISODE_BYTES).filter_map(takes).filter_map(|mut take| episode(&mut take).ok()).collect();
    // Of each the newer first.
    noted.sort_unstable_by_key(|(turn, episode)| (episode.id, u64::MAX - turn));
    noted.dedup_by_key(|(_, episode)| episode.id);
    let last = noted.last().map_or(0, |(_, episode)| episode.id);
    let episodes = noted.into_iter().map(|(_, episode)| episode).filter(|episode| episode.id + EPISODES > last);
    (readings, episodes.collect())
}

fn whole(bytes: &[u8], base: usize) -> Option<Take<'_>> {
    content(bytes, base).ok()
}

fn reading(take: &mut Take<'_>) -> Result<RunReading> {
    let (number, time, uptime, rss) = (number(take)?, take.time()?, take.duration()?, take.u64()?);
    let (cgroup_usage, cpu) = (take.optional()?, take.optional()?);
    let cpu_percent = cpu.map(f64::from_bits).filter(|percent| percent.is_finite());
    Ok(RunReading { number, time, uptime, rss, cgroup_usage, cpu_percent })
}

fn episode(take: &mut Take<'_>) -> Result<(u64, RunEpisode)> {
    let turn = take.u64()?;
    let (id, start, peak) = (number(take)?, take_point(take)?, take_point(take)?);
    let ending = match take.byte()? {
        0 => None,
        1 => Some(Ending::Fell),
        2 => Some(Ending::Settled),
        other => return Err(take.wrong(format_args!("{other} is no end of an episode"))),
    };
    let end = take_point(take)?;
    let (taken, highest) = (take.u64()?, take.u64()?);
    Ok((turn, RunEpisode { id, start, peak, end: ending.map(|ending| (end, ending)), taken, highest }))
}

/// A number that counts from 1, and never so far that it could not go on.
fn number(take: &mut Take<'_>) -> Result<u64> {
    let number = take.u64()?;
    if number >> 63 == 0 { Ok(number) } else { Err(take.wrong("a number that nothing counts to")) }
}

fn point(put: &mut Put<'_>, point: &EpisodePoint) {
    put.time(point.time);
    put.duration(point.uptime);
    put.u64(point.rss);
}

fn take_point(take: &mut Take<'_>) -> Result<EpisodePoint> {
    Ok(EpisodePoint { time: take.time()?, uptime: take.duration()?, rss: take.u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(number: u64) -> RunReading {
        let uptime = Duration::from_millis(number * 1003);
        let is_told = !number.is_multiple_of(3);
        RunReading {
            number,
            time: SystemTime::UNIX_EPOCH + uptime,
            uptime,
            rss: number << 20,
            cgroup_usage: is_told.then_some(number << 21),
            cpu_percent: is_told.then_some(number as f64 / 7.0),
        }
    }

    fn episode(id: u64, peak: u64) -> RunEpisode {
        let point = |rss: u64| EpisodePoint {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(rss),
            uptime: Duration::from_secs(rss),
            rss,
        };
        let end = [None, Some((point(5), Ending::Fell)), Some((point(6), Ending::Settled))][id as usize % 3];
        RunEpisode { id, start: point(1), peak: point(peak), end, taken: id + 1, highest: id + 2 }
    }

    fn put_reading(trail: &mut [u8], number: u64) {
        let mut buffer = [0; READING_BYTES];
        let at = write_reading(&reading(number), &mut buffer);
        trail[at..][..READING_BYTES].copy_from_slice(&buffer);
    }

    fn put_episode(trail: &mut [u8], episode: &RunEpisode, turn: u64) {
        let mut buffer = [0; EPISODE_BYTES];
        let at = write_episode(episode, turn, &mut buffer);
        trail[at..][..EPISODE_BYTES].copy_from_slice(&buffer);
    }

    #[test]
    fn the_last_hundred_readings_come_out_as_they_went_in() {
        let mut trail = [0; TRAIL_BYTES];
        assert_eq!(read_trail(&trail, 0), (Vec::new(), Vec::new()));
        for last in 1..=250 {
            put_reading(&mut trail, last);
            let expect: Vec<RunReading> = (last.saturating_sub(99).max(1)..=last).map(reading).collect();
            assert_eq!(read_trail(&trail, 0).0, expect, "after {last}");
        }
        // What stood still for a while has none of the time before.
        put_reading(&mut trail, 320);
        let numbers: Vec<u64> = read_trail(&trail, 0).0.iter().map(|reading| reading.number).collect();
        assert_eq!(numbers, [221..=250, 320..=320].into_iter().flatten().collect::<Vec<_>>());
    }

    #[test]
    fn a_reading_that_was_cut_off_takes_no_other_with_it() {
        let mut whole = [0; TRAIL_BYTES];
        (1..=100).for_each(|number| put_reading(&mut whole, number));
        let mut buffer = [0; READING_BYTES];
        let at = write_reading(&reading(101), &mut buffer);
        for cut in 1..READING_BYTES {
            let mut torn = whole;
            torn[at..][..cut].copy_from_slice(&buffer[..cut]);
            let left = read_trail(&torn, 0).0;
            let is_new = left.last() == Some(&reading(101));
            assert!(is_new || left.last() == Some(&reading(100)), "{cut}");
            assert!(left.len() >= 99 && left[left.len() - 99..].iter().all(|one| *one == reading(one.number)), "{cut}");
        }
    }

    #[test]
    fn the_last_episodes_come_out_as_they_were_last_and_one_is_always_whole() {
        let mut trail = [0; TRAIL_BYTES];
        let mut turn = 0;
        for id in 1..=45u64 {
            for peak in 1..=3 {
                turn += 1;
                let mut buffer = [0; EPISODE_BYTES];
                let at = write_episode(&episode(id, peak), turn, &mut buffer);
                for cut in [1, 20, 90] {
                    let mut torn = trail;
                    torn[at..][..cut].copy_from_slice(&buffer[..cut]);
                    let left = read_trail(&torn, 0).1;
                    let before = if peak > 1 { episode(id, peak - 1) } else { episode(id.max(2) - 1, 3) };
                    let is_old = left.last() == Some(&before) || (id, peak) == (1, 1) && left.is_empty();
                    assert!(is_old || left.last() == Some(&episode(id, peak)), "{id} {peak} {cut}: {left:?}");
                }
                put_episode(&mut trail, &episode(id, peak), turn);
                assert_eq!(read_trail(&trail, 0).1.last(), Some(&episode(id, peak)));
            }
            let expect: Vec<RunEpisode> = (id.saturating_sub(19).max(1)..=id).map(|id| episode(id, 3)).collect();
            assert_eq!(read_trail(&trail, 0).1, expect, "after {id}");
        }
    }

    #[test]
    fn whatever_is_read_there_is_no_panic() {
        let mut trail = [0; TRAIL_BYTES];
        let mut far = reading(1);
        far.number = u64::MAX;
        let mut buffer = [0; READING_BYTES];
        let at = write_reading(&far, &mut buffer);
        trail[at..][..READING_BYTES].copy_from_slice(&buffer);
        let mut last = episode(3, 1);
        last.id = u64::MAX;
        put_episode(&mut trail, &last, u64::MAX);
        assert_eq!(read_trail(&trail, 0), (Vec::new(), Vec::new()));
        assert_eq!(read_trail(&[1; 70], 0), (Vec::new(), Vec::new()));
    }
}
