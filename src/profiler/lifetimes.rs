//! How long objects lived, by a clock that stands still between two captures.

use std::collections::HashMap;

use crate::collect::Capture;
use crate::profile::PackedTotals;

/// How long the freed objects of each stack lived, told from capture to capture by who is still there.
///
/// The hooks measure lifetimes in milliseconds. Where a history's time is something else, as the rounds of a test,
/// its lifetimes have to be so too, or how busy the machine is would take part in the verdict. An object that is
/// freed has lived for the times between all captures that it was seen in: which comes to what it really lived on average,
/// as a longer life is seen in more of them.
#[derive(Default)]
pub(super) struct Lifetimes {
    /// Epoch and time of each capture.
    cuts: Vec<(u32, u64)>,
    /// Objects alive at the last one, by stack and by the capture that ended the epoch of their birth.
    alive: HashMap<(u32, usize), u64>,
    /// By stack, times of the freed, in all.
    lived: HashMap<u32, u64>,
}

impl Lifetimes {
    /// Puts the lifetimes of all that was freed until then in place of the capture's own; one unit of `at` is a second.
    pub(super) fn retell(&mut self, capture: &mut Capture, at: u64) {
        let mut alive: HashMap<(u32, usize), u64> = HashMap::new();
        for cohort in capture.cohorts.iter() {
            let birth = self.cuts.partition_point(|(epoch, _)| *epoch < cohort.epoch);
            *alive.entry((cohort.stack, birth)).or_default() += cohort.live.objects;
        }
        let last = self.cuts.last().map_or(0, |(_, at)| *at);
        for (&(stack, birth), &before) in &self.alive {
            let freed = before.saturating_sub(alive.get(&(stack, birth)).copied().unwrap_or(0));
            // From the capture before its birth, of which there is none for the oldest, to the last that saw it.
            let from = birth.checked_sub(1).and_then(|before| self.cuts.get(before)).map_or(0, |(_, at)| *at);
            *self.lived.entry(stack).or_default() += freed * (last - from);
        }
        self.alive = alive;
        self.cuts.push((capture.epoch, at));
        let totals = capture.totals.iter().map(|mut totals| {
            totals.freed_lifetimes_millis = 1000 * self.lived.get(&totals.stack).copied().unwrap_or(0);
            totals
        });
        capture.totals = PackedTotals::pack(capture.whole.stacks, totals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cohort, Cohorts, SampleInterval, Totals};

    fn capture(epoch: u32, alive: &[(u32, u32, u32)], stacks: u32) -> Capture {
        let one = SampleInterval::from_lg(12).unwrap().weigh(64);
        let cohort = |&(stack, epoch, objects): &(u32, u32, u32)| Cohort { stack, epoch, live: one.times(objects) };
        let cohorts = Cohorts::of(&alive.iter().map(cohort).collect::<Vec<_>>());
        // What a clock said, which may take no part.
        let total = |stack| Totals { stack, objects: 100, freed_lifetimes_millis: 77_777, ..Totals::default() };
        Capture {
            epoch,
            cohorts,
            totals: PackedTotals::pack(stacks as usize, (0..stacks).map(total)),
            ..Capture::default()
        }
    }

    #[test]
    fn a_life_is_the_time_between_the_captures_that_saw_it() {
        let mut lifetimes = Lifetimes::default();
        let mut retell = |mut capture: Capture, at| {
            lifetimes.retell(&mut capture, at);
            capture.totals.iter().map(|totals| totals.freed_lifetimes_millis).collect::<Vec<_>>()
        };
        // Of stack 0 what is older than the first capture, of stack 1 what comes later; stack 2 frees at once.
        assert_eq!(retell(capture(3, &[(0, 3, 5)], 3), 10), [0, 0, 0]);
        assert_eq!(retell(capture(4, &[(0, 3, 5), (1, 4, 6)], 3), 20), [0, 0, 0]);
        // Two that were seen at 10 and 20, and four that were seen at 20.
        assert_eq!(retell(capture(5, &[(0, 3, 3), (1, 4, 2)], 3), 40), [40_000, 40_000, 0]);
        // Three that were seen at 10, 20 and 40; two that were seen at 20 and 40.
        assert_eq!(retell(capture(6, &[], 3), 50), [40_000 + 120_000, 40_000 + 60_000, 0]);
    }

    #[test]
    fn what_lives_shorter_than_between_two_captures_comes_out_right_on_average() {
        // One object is born each round and lives five; a capture every twenty rounds.
        let mut lifetimes = Lifetimes::default();
        let mut last = 0;
        for cut in 1..=50u32 {
            let mut capture = capture(cut, &[(0, cut, 5)], 1);
            lifetimes.retell(&mut capture, u64::from(cut) * 20);
            last = capture.totals.iter().next().unwrap().freed_lifetimes_millis;
        }
        assert_eq!(last / (49 * 20), 5000, "of those born until the last capture but one");
    }
}
