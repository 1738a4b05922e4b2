//! The last readings of this process' RSS and CPU time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ringbuf::HeapRb;
use ringbuf::traits::Observer;

use crate::profile::{ProcessMemory, Reading};

/// What is kept of one poll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProcessReading {
    pub(crate) time: SystemTime,
    pub(crate) uptime: Duration,
    /// In bytes.
    pub(crate) rss: u64,
    /// Of the memory control group, in bytes.
    pub(crate) cgroup_usage: Option<u64>,
    /// CPU time since the poll before, in percent of the time of one core; `None` of the first.
    pub(crate) cpu_percent: Option<f64>,
}

/// The last polls. What they take is reserved at the start.
pub(crate) struct Readings {
    kept: Mutex<Kept>,
}

struct Kept {
    ring: HeapRb<ProcessReading>,
    /// How many there were.
    pushed: u64,
    /// Uptime and CPU time at the last poll.
    last: Option<(Duration, Duration)>,
}

impl Readings {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Mutex::new(Kept { ring: HeapRb::new(most), pushed: 0, last: None }) }
    }

    /// Adds a poll that read that, at which the process had had `cpu` of CPU time. The oldest makes room.
    pub(super) fn push(&self, reading: &Reading, cpu: Duration) {
        let Reading { time, uptime, process: ProcessMemory { rss, .. }, cgroup, .. } = *reading;
        let mut kept = self.lock();
        let percent = |(then, had): (Duration, Duration)| {
            let passed = uptime.checked_sub(then).filter(|passed| !passed.is_zero())?;
            Some(100.0 * cpu.saturating_sub(had).as_secs_f64() / passed.as_secs_f64())
        };
        let cpu_percent = kept.last.and_then(percent);
        kept.last = Some((uptime, cpu));
        kept.pushed += 1;
        kept.ring.push_overwrite(ProcessReading { time, uptime, rss, cgroup_usage: cgroup.usage, cpu_percent });
    }

    /// All that are kept, oldest first.
    pub(crate) fn all(&self) -> Vec<ProcessReading> {
        let mut kept = self.lock();
        let mut all = Vec::with_capacity(kept.ring.occupied_len());
        all.extend(kept.ring.iter());
        all
    }

    /// The oldest that is kept of those after the poll `number`, and of the last `most`, with its own number: polls count from
    /// 1. Allocates nothing.
    pub(super) fn after(&self, number: u64, most: u64) -> Option<(u64, ProcessReading)> {
        let mut kept = self.lock();
        let gone = kept.pushed - kept.ring.occupied_len() as u64;
        let index = number.max(gone).max(kept.pushed.saturating_sub(most)) - gone;
        let reading = kept.ring.iter().nth(usize::try_from(index).ok()?)?;
        Some((gone + index + 1, *reading))
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<ProcessReading> {
        self.lock().ring.last().copied()
    }

    /// How many are kept at most.
    pub(crate) fn most(&self) -> usize {
        self.lock().ring.capacity().get()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::empty_snapshot;

    fn push(readings: &Readings, seconds: f64, rss: u64, cpu_seconds: f64) {
        let [uptime, cpu] = [seconds, cpu_seconds].map(Duration::from_secs_f64);
        let mut reading = empty_snapshot(1, rss).reading;
        (reading.time, reading.uptime) = (SystemTime::UNIX_EPOCH + uptime, uptime);
        reading.cgroup.usage = Some(rss + 1);
        readings.push(&reading, cpu);
    }

    #[test]
    fn the_oldest_makes_room() {
        let readings = Readings::new(3);
        assert_eq!((readings.all().len(), readings.last(), readings.most()), (0, None, 3));
        for at in 0..5 {
            push(&readings, at as f64, 100 + at, 0.0);
        }
        let all = readings.all();
        assert_eq!(all.iter().map(|reading| reading.rss).collect::<Vec<_>>(), [102, 103, 104]);
        assert_eq!(readings.last(), all.last().copied());
        assert_eq!(all[2].cgroup_usage, Some(105));
    }

    #[test]
    fn each_is_told_once_to_whoever_asks_for_the_next() {
        let readings = Readings::new(4);
        let told = |most| {
            let mut told = Vec::new();
            while let Some((number, reading)) = readings.after(told.last().map_or(0, |(number, _)| *number), most) {
                told.push((number, reading.rss));
            }
            told
        };
        assert_eq!(told(9), []);
        for at in 1..=3 {
            push(&readings, at as f64, 100 + at, 0.0);
        }
        assert_eq!(told(9), [(1, 101), (2, 102), (3, 103)]);
        assert_eq!(told(2), [(2, 102), (3, 103)]);
        for at in 4..=9 {
            push(&readings, at as f64, 100 + at, 0.0);
        }
        assert_eq!(told(9), [(6, 106), (7, 107), (8, 108), (9, 109)]);
        assert_eq!(told(1), [(9, 109)]);
        assert_eq!((readings.after(9, 9), readings.after(12, 9)), (None, None));
    }

    #[test]
    fn cpu_is_that_between_two_polls_in_percent_of_one_core() {
        let readings = Readings::new(8);
        push(&readings, 10.0, 1, 5.0);
        push(&readings, 11.0, 1, 5.25);
        // Two cores for two seconds, as a poll was missed.
        push(&readings, 13.0, 1, 9.25);
        push(&readings, 13.0, 1, 9.5);
        push(&readings, 14.0, 1, 9.5);
        let percents: Vec<_> = readings.all().iter().map(|reading| reading.cpu_percent).collect();
        assert_eq!(percents, [None, Some(25.0), Some(200.0), None, Some(0.0)]);
    }
}
