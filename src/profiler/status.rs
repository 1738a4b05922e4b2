//! What the watcher saw and did last, and how often.

use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::policy::{Decision, Hold, Reason, Trigger};
use crate::profile::Reading;

/// What the watcher saw and did.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// The last reading that succeeded.
    pub(crate) reading: Option<Reading>,
    /// What the trigger made of the last poll.
    pub(crate) decision: Decision,
    /// Polls so far: the heartbeat.
    pub(crate) polls: u64,
    /// Uptime at the last poll.
    pub(crate) last_poll: Option<Duration>,
    /// Reads that failed, of the process, the allocator or the control group.
    pub(crate) read_failures: u64,
    /// The last failure, in words.
    pub(crate) last_read_error: Option<String>,
    /// Snapshots taken, by [`Reason::NAMES`].
    pub(crate) snapshots: [u64; Reason::NAMES.len()],
    /// Snapshots that failed.
    pub(crate) snapshot_failures: u64,
    /// Time and duration of the last snapshot.
    pub(crate) last_snapshot: Option<(SystemTime, Duration)>,
    /// Panics that a thread of heapward's own caught and outlived.
    pub(crate) panics: u64,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            reading: None,
            decision: Decision::Hold(Hold::NotYet),
            polls: 0,
            last_poll: None,
            read_failures: 0,
            last_read_error: None,
            snapshots: [0; Reason::NAMES.len()],
            snapshot_failures: 0,
            last_snapshot: None,
            panics: 0,
        }
    }

    /// Notes a poll at `uptime` and what `trigger` makes of it. A failed reading is counted, and decides nothing.
    pub(crate) fn observe(&mut self, uptime: Duration, reading: Result<Reading>, trigger: &mut Trigger) -> Decision {
        self.polls += 1;
        self.last_poll = Some(uptime);
        self.decision = match reading {
            Ok(reading) => {
                self.reading = Some(reading);
                trigger.decide(&reading)
            }
            Err(error) => {
                self.failed(&error);
                Decision::Hold(Hold::NoReading)
            }
        };
        self.decision
    }

    /// Notes a read that failed.
    pub(crate) fn failed(&mut self, error: &crate::Error) {
        self.read_failures += 1;
        self.last_read_error = Some(error.to_string());
    }

    /// Notes a snapshot.
    pub(crate) fn taken(&mut self, reason: Reason, time: SystemTime, duration: Duration) {
        if let Some(index) = Reason::NAMES.iter().position(|name| *name == reason.name()) {
            self.snapshots[index] += 1;
        }
        self.last_snapshot = Some((time, duration));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::profile::{ByteSize, CgroupMemory, ProcessMemory};

    fn reading(seconds: u64, rss: u64) -> Reading {
        Reading {
            time: SystemTime::UNIX_EPOCH,
            uptime: Duration::from_secs(seconds),
            process: ProcessMemory { rss, ..Default::default() },
            allocator: None,
            cgroup: CgroupMemory::default(),
            system: None,
        }
    }

    #[test]
    fn reads_that_fail_are_counted_and_the_next_ones_decide() {
        let mut status = Status::new();
        let mut trigger = Trigger::new(ByteSize::bytes(100).into(), Duration::from_secs(60));
        let mut observe =
            |seconds, reading| status.observe(Duration::from_secs(seconds), reading, &mut trigger).to_string();
        for seconds in 0..1000 {
            let error = Error::new(ErrorKind::Io, "statm is gone");
            assert_eq!(observe(seconds, Err(error)), "not taken: memory could not be read");
        }
        observe(1000, Ok(reading(1000, 200)));
        assert!(observe(1001, Ok(reading(1001, 200))).starts_with("taken: RSS"));
        assert_eq!((status.polls, status.read_failures), (1002, 1000));
        assert_eq!(status.last_read_error.as_deref(), Some("statm is gone"));
        assert_eq!(status.reading.unwrap().process.rss, 200);
    }
}
