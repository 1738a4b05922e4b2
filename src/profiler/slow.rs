//! What heapward itself took long for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ringbuf::StaticRb;

/// How many slow operations are kept.
const KEPT: usize = 32;

/// What heapward does that may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A poll, with the snapshot that it took.
    Poll,
    /// A snapshot, also on request.
    Snapshot,
    /// A profile for `go tool pprof`, of a difference as well.
    Pprof,
    /// The table of the largest sites.
    Top,
    Flamegraph,
    Folded,
    Diff,
    Leaks,
    Monitoring,
    /// What an alert carries.
    Alert,
    /// The walk through all processes.
    Processes,
    /// Looking names up, as part of another.
    Naming,
    /// Any other answer.
    Other,
}

impl Operation {
    /// In one word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Snapshot => "snapshot",
            Self::Pprof => "pprof",
            Self::Top => "top",
            Self::Flamegraph => "flamegraph",
            Self::Folded => "folded",
            Self::Diff => "diff",
            Self::Leaks => "leaks",
            Self::Monitoring => "monitoring",
            Self::Alert => "alert",
            Self::Processes => "processes",
            Self::Naming => "naming",
            Self::Other => "other",
        }
    }
}

/// One that took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlowOperation {
    pub(crate) operation: Operation,
    /// When it began.
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
}

/// The last that took long, in room that is there from the start.
pub(crate) struct SlowOperations {
    threshold: Duration,
    kept: Mutex<Kept>,
}

struct Kept {
    ring: StaticRb<SlowOperation, KEPT>,
    count: u64,
}

/// An operation that goes on until this is dropped.
#[must_use = "it ends when this is dropped"]
pub(crate) struct Timed<'s> {
    slow: &'s SlowOperations,
    operation: Operation,
    start: SystemTime,
    begun: Instant,
}

impl SlowOperations {
    /// Of those that take longer than `threshold`.
    pub(super) fn new(threshold: Duration) -> Self {
        Self { threshold, kept: Mutex::new(Kept { ring: StaticRb::default(), count: 0 }) }
    }

    /// Begins an operation.
    pub(crate) fn time(&self, operation: Operation) -> Timed<'_> {
        Timed { slow: self, operation, start: SystemTime::now(), begun: Instant::now() }
    }

    /// Notes an operation that took so long.
    fn note(&self, slow: SlowOperation) {
        if slow.duration > self.threshold {
            let mut kept = self.lock();
            kept.count += 1;
            kept.ring.push_overwrite(slow);
        }
    }

    /// The last ones, oldest first, and how many there were in all.
    pub(crate) fn last(&self) -> (Vec<SlowOperation>, u64) {
        let mut kept = self.lock();
        (kept.ring.iter().copied().collect(), kept.count)
    }

    /// How many there were in all.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// What is longer than this is slow.
    pub(crate) fn threshold(&self) -> Duration {
        self.threshold
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let Self { slow, operation, start, begun } = *self;
        slow.note(SlowOperation { operation, start, duration: begun.elapsed() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_threshold_is_kept_and_the_oldest_makes_room() {
        let slow = SlowOperations::new(Duration::from_millis(50));
        let note = |operation, millis| {
            slow.note(SlowOperation {
                operation,
                start: SystemTime::UNIX_EPOCH,
                duration: Duration::from_millis(millis),
            });
        };
        note(Operation::Poll, 50);
        assert_eq!(slow.last(), (Vec::new(), 0), "as long as the threshold is not longer");
        note(Operation::Snapshot, 51);
        for millis in 100..100 + KEPT as u64 {
            note(Operation::Top, millis);
        }
        let (last, count) = slow.last();
        assert_eq!((last.len(), count, slow.count()), (KEPT, 1 + KEPT as u64, count));
        let durations: Vec<_> = last.iter().map(|slow| slow.duration.as_millis() as u64).collect();
        assert_eq!(durations, (100..100 + KEPT as u64).collect::<Vec<_>>());
        assert!(last.iter().all(|slow| slow.operation == Operation::Top));
    }

    #[test]
    fn an_operation_is_timed_until_it_is_dropped_also_by_a_panic() {
        let slow = SlowOperations::new(Duration::ZERO);
        let begun = SystemTime::now();
        drop(slow.time(Operation::Diff));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _timed = slow.time(Operation::Leaks);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        let (last, count) = slow.last();
        assert_eq!((last[0].operation, last[1].operation, count), (Operation::Diff, Operation::Leaks, 2));
        assert!(last[0].start >= begun && last[1].start >= last[0].start);
    }
}
