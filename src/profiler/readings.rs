//! The last readings of this process' RSS and CPU time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ringbuf::HeapRb;
use ringbuf::traits::Observer;

/// What is kept of one poll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProcessReading {
    pub(crate) time: SystemTime,
    pub(crate) uptime: Duration,
    /// In bytes.
    pub(crate) rss: u64,
    /// CPU time since the poll before, in percent of the time of one core; `None` of the first.
    pub(crate) cpu_percent: Option<f64>,
}

/// The last polls. What they take is reserved at the start.
pub(crate) struct Readings {
    kept: Mutex<Kept>,
}

struct Kept {
    ring: HeapRb<ProcessReading>,
    /// Uptime and CPU time at the last poll.
    last: Option<(Duration, Duration)>,
}

impl Readings {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Mutex::new(Kept { ring: HeapRb::new(most), last: None }) }
    }

    /// Adds a poll at which the process had had `cpu` of CPU time. The oldest makes room.
    pub(super) fn push(&self, time: SystemTime, uptime: Duration, rss: u64, cpu: Duration) {
        let mut kept = self.lock();
        let percent = |(then, had): (Duration, Duration)| {
            let passed = uptime.checked_sub(then).filter(|passed| !passed.is_zero())?;
            Some(100.0 * cpu.saturating_sub(had).as_secs_f64() / passed.as_secs_f64())
        };
        let cpu_percent = kept.last.and_then(percent);
        kept.last = Some((uptime, cpu));
        kept.ring.push_overwrite(ProcessReading { time, uptime, rss, cpu_percent });
    }

    /// All that are kept, oldest first.
    pub(crate) fn all(&self) -> Vec<ProcessReading> {
        let mut kept = self.lock();
        let mut all = Vec::with_capacity(kept.ring.occupied_len());
        all.extend(kept.ring.iter());
        all
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

    fn push(readings: &Readings, seconds: f64, rss: u64, cpu_seconds: f64) {
        let [uptime, cpu] = [seconds, cpu_seconds].map(Duration::from_secs_f64);
        readings.push(SystemTime::UNIX_EPOCH + uptime, uptime, rss, cpu);
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
