//! What the watcher saw and did last, and how often.

use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::policy::{Decision, Gauged, Hold, Reason, Said, Trigger, Verdict};
use crate::profile::Reading;

/// What the watcher saw and did.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// The last reading that succeeded.
    pub(crate) reading: Option<Reading>,
    /// What the trigger made of the last poll.
    pub(crate) decision: Decision,
    /// What each of its rules said of it; empty when nothing could be read.
    pub(crate) said: Vec<Said>,
    /// The host's own gauges at the last poll, in their order; empty before the first.
    pub(crate) gauged: Vec<Gauged>,
    /// When memory use would reach the limit by then; `None` when it does not rise towards it.
    pub(crate) predicted: Option<Duration>,
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
            said: Vec::new(),
            gauged: Vec::new(),
            predicted: None,
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

    /// Notes a poll at `uptime` and what `trigger` makes of it and of the host's `gauges`. A failed reading is counted, and
    /// decides nothing.
    pub(crate) fn observe(
        &mut self,
        uptime: Duration,
        reading: Result<Reading>,
        gauges: &[Gauged],
        trigger: &mut Trigger,
    ) -> Decision {
        self.polls += 1;
        self.last_poll = Some(uptime);
        self.said.clear();
        self.gauged.clear();
        self.gauged.extend_from_slice(gauges);
        self.predicted = None;
        self.decision = match reading {
            Ok(reading) => {
                self.reading = Some(reading);
                let decision = trigger.decide(&reading, gauges);
                self.said.extend_from_slice(trigger.said());
                self.predicted = trigger.predicted();
                decision
            }
            Err(error) => {
                self.failed(&error);
                Decision::Hold(Hold::NoReading)
            }
        };
        self.decision
    }

    /// What somebody must put right before the rule about RSS can decide anything.
    pub(crate) fn hindrance(&self) -> Option<Hold> {
        match (self.decision, self.said.first().map(|said| said.verdict)) {
            (Decision::Hold(hold @ Hold::NoReading), _)
            | (_, Some(Verdict::Holds(hold @ Hold::UnknownLimit { .. }))) => Some(hold),
            _ => None,
        }
    }

    /// Notes a read that failed.
    pub(crate) fn failed(&mut self, error: &crate::Error) {
        self.read_failures += 1;
        self.last_read_error = Some(error.to_string());
    }

    /// Notes a snapshot.
    pub(crate) fn taken(&mut self, reason: Reason, time: SystemTime, duration: Duration) {
        if let Some(count) = self.snapshots.get_mut(reason.index()) {
            *count += 1;
        }
        self.last_snapshot = Some((time, duration));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::policy::Rules;
    use crate::profile::ByteSize;

    #[test]
    fn reads_that_fail_are_counted_and_the_next_ones_decide() {
        let mut status = Status::new();
        let rules = Rules { growth: None, prediction: None, pressure: None, events: false };
        let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
        let mut trigger = Trigger::new(ByteSize::bytes(100).into(), &rules, [], minute, second);
        let mut observe =
            |seconds, reading| status.observe(Duration::from_secs(seconds), reading, &[], &mut trigger).to_string();
        for seconds in 0..1000 {
            let error = Error::new(ErrorKind::Io, "statm is gone");
            assert_eq!(observe(seconds, Err(error)), "not taken: memory could not be read");
        }
        observe(1000, Ok(Reading::of_rss(1000, 200)));
        assert!(observe(1001, Ok(Reading::of_rss(1001, 200))).starts_with("taken: RSS"));
        assert_eq!((status.polls, status.read_failures), (1002, 1000));
        assert_eq!(status.last_read_error.as_deref(), Some("statm is gone"));
        assert_eq!(status.reading.unwrap().process.rss, 200);
    }
}
