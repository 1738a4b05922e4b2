//! A heap at one moment: what was copied, without names.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::relocation::born_later;
use crate::analysis::Side;
use crate::collect::{Capture, Collector};
use crate::error::Result;
use crate::profile::{ByteSize, Gaps, Mapping, Partial, Sums, Totals};
use crate::snapshot::{RunId, Snapshot, Stored};
use crate::system::loaded_mappings;

/// A heap at one moment.
pub(crate) enum Moment {
    /// Copied for one request.
    Copied(Box<Copied>),
    /// A snapshot that is kept.
    Kept(Arc<Snapshot>),
    /// A snapshot of an earlier run.
    Stored(Box<Stored>),
}

/// A copy of the live heap that is no snapshot.
pub(crate) struct Copied {
    /// For people.
    time: SystemTime,
    /// For durations.
    taken: Instant,
    capture: Capture,
    mappings: Vec<Mapping>,
}

impl Moment {
    /// The heap as it is. Takes no snapshot and ends no epoch.
    ///
    /// `told_apart`: as in [`Collector::snapshot`].
    pub(super) fn now(collector: &Collector, told_apart: &[u32]) -> Result<Self> {
        Ok(Self::Copied(Box::new(Copied::of(collector.peek(told_apart)?))))
    }

    /// The heap that was copied just now.
    pub(super) fn copied(capture: Capture) -> Self {
        Self::Copied(Box::new(Copied::of(capture)))
    }

    /// Its number, if it is a snapshot.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::Copied(_) => None,
            Self::Kept(snapshot) => Some(snapshot.id),
            Self::Stored(stored) => Some(stored.head.id),
        }
    }

    /// The earlier run that it is of; `None` for this one.
    pub(crate) fn run(&self) -> Option<RunId> {
        match self {
            Self::Copied(_) | Self::Kept(_) => None,
            Self::Stored(stored) => Some(stored.head.text.run),
        }
    }

    pub(crate) fn time(&self) -> SystemTime {
        match self {
            Self::Copied(copied) => copied.time,
            Self::Kept(snapshot) => snapshot.time,
            Self::Stored(stored) => stored.head.time,
        }
    }

    /// How long before or after `other` it was, by a clock that never steps, where both are of one run. The profiler was
    /// `started` then.
    pub(super) fn apart(&self, other: &Self, started: Instant) -> Duration {
        if self.run() != other.run() {
            let (one, other) = (self.time(), other.time());
            return one.duration_since(other).or_else(|_| other.duration_since(one)).unwrap_or_default();
        }
        self.uptime(started).abs_diff(other.uptime(started))
    }

    fn uptime(&self, started: Instant) -> Duration {
        match self {
            Self::Copied(copied) => copied.taken.saturating_duration_since(started),
            Self::Kept(snapshot) => snapshot.reading.uptime,
            Self::Stored(stored) => stored.head.reading.uptime,
        }
    }

    /// The epoch that ended then, or that went on.
    pub(super) fn epoch(&self) -> u32 {
        self.side().epoch
    }

    /// For comparing it with another.
    pub(super) fn side(&self) -> Side<'_> {
        match self {
            Self::Copied(copied) => {
                let capture = &copied.capture;
                Side { epoch: capture.epoch, cohorts: &capture.cohorts, totals: &capture.totals }
            }
            Self::Kept(snapshot) => {
                Side { epoch: snapshot.epoch, cohorts: &snapshot.cohorts, totals: &snapshot.totals }
            }
            Self::Stored(stored) => Side { epoch: stored.head.epoch, cohorts: &stored.cohorts, totals: &stored.totals },
        }
    }

    /// Whether nothing is known of what was ever allocated.
    pub(super) fn totals_are_empty(&self) -> bool {
        self.side().totals.bytes().is_empty()
    }

    /// All that was alive.
    pub(super) fn live(&self) -> Sums {
        match self {
            Self::Copied(copied) => copied.capture.whole.live(),
            Self::Kept(snapshot) => snapshot.live,
            Self::Stored(stored) => stored.head.live,
        }
    }

    /// Whether both are one snapshot.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kept(one), Self::Kept(other)) => one.id == other.id,
            (Self::Stored(one), Self::Stored(other)) => {
                (one.head.text.run, one.head.id) == (other.head.text.run, other.head.id)
            }
            _ => false,
        }
    }

    pub(super) fn mappings(&self) -> &[Mapping] {
        match self {
            Self::Copied(copied) => &copied.mappings,
            Self::Kept(snapshot) => &snapshot.mappings,
            Self::Stored(stored) => &stored.mappings,
        }
    }

    /// One row a stack, sorted by stack, of those alive and those that ever allocated.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let Side { cohorts, totals, .. } = self.side();
        let (mut cohorts, mut totals) = (cohorts.iter().peekable(), totals.iter().peekable());
        std::iter::from_fn(move || {
            let stack = match (cohorts.peek().map(|cohort| cohort.stack), totals.peek().map(|total| total.stack)) {
                (None, None) => return None,
                (Some(live), Some(total)) => live.min(total),
                (Some(stack), None) | (None, Some(stack)) => stack,
            };
            let mut live = Sums::default();
            while let Some(cohort) = cohorts.next_if(|cohort| cohort.stack == stack) {
                live += cohort.live;
            }
            let totals = totals.next_if(|totals| totals.stack == stack);
            Some(Row { stack, live, totals: totals.unwrap_or(Totals { stack, ..Totals::default() }) })
        })
    }

    /// What samples had missed until then.
    pub(super) fn gaps(&self) -> Gaps {
        match self {
            Self::Copied(copied) => copied.capture.gaps,
            Self::Kept(snapshot) => snapshot.gaps,
            Self::Stored(stored) => stored.head.gaps,
        }
    }

    /// Why it does not show everything.
    pub(super) fn partial(&self) -> Option<Partial> {
        match self {
            Self::Copied(copied) => copied.capture.partial,
            Self::Kept(snapshot) => snapshot.partial,
            Self::Stored(stored) => stored.head.partial,
        }
    }

    /// What a reader must know before believing it.
    pub(super) fn remarks(&self) -> Vec<String> {
        let dropped_stacks = match self {
            Self::Copied(copied) => copied.capture.dropped_stacks,
            Self::Kept(snapshot) => snapshot.dropped_stacks,
            Self::Stored(stored) => stored.head.dropped_stacks,
        };
        let dropped_objects = self.gaps().dropped_objects;
        let mut remarks = Vec::new();
        if let Self::Stored(stored) = self {
            remarks.push(format!("snapshot {} of {}, an earlier one", stored.head.id, stored.head.text));
        }
        let reasons = self.partial().into_iter().flat_map(Partial::reasons);
        remarks.extend(reasons.map(|reason| format!("partial: {reason}")));
        if dropped_objects > 0 {
            remarks.push(format!(
                "partial: {dropped_objects} samples found no room in the live set so far, and those still alive are \
                 missing from inuse_* (HEAPWARD_MAX_LIVE_SAMPLES)"
            ));
        }
        if dropped_stacks > 0 {
            remarks.push(format!(
                "partial: {dropped_stacks} samples have no stack, because the stack table was full \
                 (HEAPWARD_MAX_STACKS)"
            ));
        }
        remarks
    }
}

impl Copied {
    /// As [`Moment::after_another_run`].
    pub(super) fn born_later(&mut self) {
        let capture = &mut self.capture;
        (capture.cohorts, capture.epoch) = (born_later(&capture.cohorts), capture.epoch.saturating_add(1));
    }

    fn of(capture: Capture) -> Self {
        Self { time: SystemTime::now(), taken: Instant::now(), capture, mappings: loaded_mappings() }
    }
}

/// Why a comparison of the two shows less than what happened, if it does.
pub(super) fn missed_between(one: &Moment, other: &Moment) -> Option<String> {
    if one.run() != other.run() {
        // Each run counts for itself; the remarks of either tell what it missed.
        return None;
    }
    let (one, other) = (one.gaps(), other.gaps());
    // One of them is the earlier one.
    let missed = [other.since(&one), one.since(&other)].into_iter().find(|missed| !missed.is_none())?;
    let mut why = Vec::new();
    if missed.rescales > 0 {
        why.push("jemalloc's sample interval was changed".to_owned());
    }
    if missed.pauses > 0 {
        why.push("sampling was switched off for a while".to_owned());
    }
    if missed.dropped_objects > 0 {
        let bytes = ByteSize::bytes(missed.dropped_bytes);
        why.push(format!(
            "{} samples, of {bytes} themselves, found no room (HEAPWARD_MAX_LIVE_SAMPLES)",
            missed.dropped_objects
        ));
    }
    Some(format!(
        "a lower bound: in between {}; what was allocated so and is still alive is missing, and no interval allows for it",
        why.join(", and ")
    ))
}

/// What one stack holds, and what it ever allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) stack: u32,
    pub(super) live: Sums,
    pub(super) totals: Totals,
}

impl Row {
    /// The estimates, in the order of [`SAMPLE_TYPES`](crate::profile::SAMPLE_TYPES).
    pub(super) fn values(&self) -> [i64; 4] {
        [
            i64::try_from(self.totals.estimated_objects).unwrap_or(i64::MAX),
            i64::try_from(self.totals.estimated_bytes).unwrap_or(i64::MAX),
            self.live.estimated_objects.round() as i64,
            self.live.estimated_bytes.round() as i64,
        ]
    }

    /// Of the objects sampled here, those alive where there are any; in bytes.
    pub(super) fn average_size(&self) -> i64 {
        let (objects, bytes) = match self.live.objects {
            0 => (self.totals.objects, self.totals.bytes),
            objects => (objects, self.live.bytes),
        };
        bytes.checked_div(objects).unwrap_or(0) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cohort, Cohorts, PackedTotals};
    use crate::profiler::{Stacks, View};
    use crate::snapshot::empty_snapshot;

    fn copied(live: &[(u32, u32, u64)], totals: &[(u32, u64)]) -> Moment {
        let cohorts: Vec<Cohort> = live
            .iter()
            .map(|&(stack, epoch, bytes)| Cohort {
                stack,
                epoch,
                live: Sums { objects: 1, bytes, estimated_bytes: bytes as f64, ..Sums::default() },
            })
            .collect();
        let totals = totals.iter().map(|&(stack, bytes)| Totals {
            stack,
            objects: 2,
            bytes,
            estimated_bytes: bytes,
            ..Totals::default()
        });
        let (cohorts, totals) = (Cohorts::of(&cohorts), PackedTotals::pack(2, totals));
        Moment::Copied(Box::new(Copied {
            time: SystemTime::UNIX_EPOCH,
            taken: Instant::now(),
            capture: Capture { cohorts, totals, ..Capture::default() },
            mappings: Vec::new(),
        }))
    }

    #[test]
    fn a_clock_that_was_set_back_changes_no_duration() {
        let started = Instant::now();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let kept = |uptime: Duration, time: SystemTime| {
            let mut snapshot = Snapshot::clone(&empty_snapshot(1, 0));
            (snapshot.reading.uptime, snapshot.time, snapshot.reading.time) = (uptime, time, time);
            Moment::Kept(Arc::new(snapshot))
        };
        // An hour back, one minute later.
        let noon = SystemTime::UNIX_EPOCH + minutes(720);
        let (before, after) = (kept(minutes(5), noon), kept(minutes(6), noon - minutes(59)));
        assert_eq!(after.apart(&before, started), minutes(1));
        assert_eq!(before.apart(&after, started), minutes(1), "whichever is the older one");
        let Moment::Copied(copied) = copied(&[], &[]) else { unreachable!() };
        let live =
            Moment::Copied(Box::new(Copied { taken: started + minutes(8), time: noon - minutes(50), ..*copied }));
        assert_eq!(live.apart(&after, started), minutes(2));
        let view = View::difference(before, live, Stacks::for_tests(), started);
        assert_eq!(view.duration(), minutes(3));
    }

    #[test]
    fn rows_join_the_epochs_of_a_stack_and_keep_what_only_one_list_has() {
        let moment = copied(&[(1, 0, 10), (1, 4, 20), (3, 1, 5)], &[(1, 100), (2, 40)]);
        let rows: Vec<_> = moment.rows().map(|row| (row.stack, row.values(), row.average_size())).collect();
        assert_eq!(rows, [(1, [0, 100, 0, 30], 15), (2, [0, 40, 0, 0], 20), (3, [0, 0, 0, 5], 5)]);
    }
}
