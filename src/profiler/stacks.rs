//! Where the frames of a moment's stacks are.

use std::sync::Arc;

use crate::collect::{Collector, Source, StackId};
use crate::profile::{ReturnAddress, SampleInterval};
use crate::snapshot::StoredStacks;

/// Where the frames of a moment's stacks are, and how they were sampled: those of this run in the collector's table, those of
/// an earlier one as they were read.
#[derive(Clone)]
pub(crate) struct Stacks {
    collector: Option<&'static Collector>,
    /// Numbers from here on are of `stored`.
    first_stored: u32,
    stored: Arc<StoredStacks>,
    interval: SampleInterval,
    has_birthdays: bool,
}

impl Stacks {
    /// Of this run.
    pub(super) fn collected(collector: &'static Collector) -> Self {
        Self {
            collector: Some(collector),
            first_stored: u32::MAX,
            stored: Arc::default(),
            interval: collector.interval(),
            has_birthdays: collector.source() == Source::Hooks,
        }
    }

    /// Of an earlier run.
    pub(super) fn stored(stored: Arc<StoredStacks>, interval: SampleInterval, has_birthdays: bool) -> Self {
        Self { collector: None, first_stored: 0, stored, interval, has_birthdays }
    }

    /// These, and `more` of another run, whose numbers begin at [`Stacks::end`].
    pub(super) fn and(self, more: StoredStacks, interval: SampleInterval) -> Self {
        let first_stored = if self.collector.is_some() { self.end() } else { 0 };
        let stored = match self.collector {
            Some(_) => more,
            None => Arc::unwrap_or_clone(self.stored).merged(more),
        };
        // What the coarser one cannot see is not seen.
        let interval = if interval.bytes() > self.interval.bytes() { interval } else { self.interval };
        // Nothing is alive in two runs.
        Self { first_stored, stored: Arc::new(stored), interval, has_birthdays: false, ..self }
    }

    /// The first number that no stack has or will have.
    pub(super) fn end(&self) -> u32 {
        match self.collector {
            Some(collector) => collector.stacks().capacity() as u32 + 1,
            None => self.stored.last().map_or(0, |last| last.saturating_add(1)),
        }
    }

    /// The frames of a stack, leaf first.
    pub(super) fn frames(&self, stack: u32) -> impl ExactSizeIterator<Item = ReturnAddress> {
        match self.collector {
            Some(collector) if stack < self.first_stored => {
                Frames::Collected(collector.stacks().frames(StackId(stack)))
            }
            _ => Frames::Stored(self.stored.frames(stack).iter().copied()),
        }
    }

    /// The number of the stack of those frames, if it is there.
    pub(super) fn finder(&self) -> impl Fn(&[ReturnAddress]) -> Option<u32> {
        let stored = self.collector.is_none().then(|| self.stored.by_frames());
        move |frames| match (&stored, self.collector) {
            (Some(stored), _) => stored.get(frames).copied(),
            (None, collector) => collector?.stacks().find(frames).map(|stack| stack.0),
        }
    }

    /// About how many there are.
    pub(super) fn len(&self) -> usize {
        self.collector.map_or(0, |collector| collector.stacks().len() as usize) + self.stored.len()
    }

    /// R.
    pub(super) fn interval(&self) -> SampleInterval {
        self.interval
    }

    /// Whether it is known when objects were born, so that what is alive at two moments is.
    pub(super) fn has_birthdays(&self) -> bool {
        self.has_birthdays
    }
}

#[cfg(test)]
impl Stacks {
    /// None.
    pub(super) fn for_tests() -> Self {
        let interval = SampleInterval::from_lg(19).expect("an interval");
        Self::stored(Arc::default(), interval, true)
    }
}

enum Frames<C, S> {
    Collected(C),
    Stored(S),
}

impl<T, C: Iterator<Item = T>, S: Iterator<Item = T>> Iterator for Frames<C, S> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Collected(frames) => frames.next(),
            Self::Stored(frames) => frames.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Collected(frames) => frames.size_hint(),
            Self::Stored(frames) => frames.size_hint(),
        }
    }
}

impl<T, C: ExactSizeIterator<Item = T>, S: ExactSizeIterator<Item = T>> ExactSizeIterator for Frames<C, S> {}
