//! What happened to a heap between two moments.

use crate::profile::{Cohorts, PackedTotals, Sums, Totals};

/// A heap at one moment, as far as comparing it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    /// The epoch that ended then: what was born later is of a later one.
    pub epoch: u32,
    /// What was alive.
    pub cohorts: &'a Cohorts,
    /// What was ever allocated.
    pub totals: &'a PackedTotals,
}

/// What happened to the objects of one stack between two moments. An object that is alive at both was sampled once:
/// it is in `survived`, and no part of the change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// The stack's number in the stack table.
    pub stack: u32,
    /// Born since the earlier moment and alive at the later one.
    pub born: Sums,
    /// Alive at the earlier moment and freed since.
    pub freed: Sums,
    /// Alive at both.
    pub survived: Sums,
    /// Estimated objects allocated between the two, also those that are freed already.
    pub allocated_objects: u64,
    /// Estimated bytes of these.
    pub allocated_bytes: u64,
}

impl Change {
    /// What was alive at the earlier moment.
    pub(crate) fn before(&self) -> Sums {
        self.survived + self.freed
    }

    /// What was alive at the later moment.
    pub(crate) fn after(&self) -> Sums {
        self.survived + self.born
    }

    /// Whether anything was born and stayed, or was freed.
    pub(crate) fn is_change(&self) -> bool {
        let nothing = Sums::default();
        self.born != nothing || self.freed != nothing
    }

    /// Estimated bytes born − freed.
    pub(crate) fn net_bytes(&self) -> f64 {
        self.born.estimated_bytes - self.freed.estimated_bytes
    }

    /// Seen the other way round: from the later moment back to the earlier one, nothing was allocated.
    pub(crate) fn reversed(self) -> Self {
        Self { born: self.freed, freed: self.born, allocated_objects: 0, allocated_bytes: 0, ..self }
    }
}

impl std::ops::AddAssign for Change {
    /// Sums up; the stack stays.
    fn add_assign(&mut self, other: Self) {
        self.born += other.born;
        self.freed += other.freed;
        self.survived += other.survived;
        self.allocated_objects += other.allocated_objects;
        self.allocated_bytes += other.allocated_bytes;
    }
}

/// One for each stack that held anything at either moment or allocated in between, sorted by stack. `base` is the
/// earlier moment: a snapshot, which ended an epoch that `later` tells apart.
pub(crate) fn changes<'a>(base: Side<'a>, later: Side<'a>) -> impl Iterator<Item = Change> + 'a {
    let mut before = base.cohorts.iter().peekable();
    let mut after = later.cohorts.iter().peekable();
    let mut allocated_before = base.totals.iter().peekable();
    let mut allocated_after = later.totals.iter().peekable();
    std::iter::from_fn(move || {
        loop {
            let stacks = [
                before.peek().map(|cohort| cohort.stack),
                after.peek().map(|cohort| cohort.stack),
                allocated_after.peek().map(|totals| totals.stack),
            ];
            let stack = stacks.into_iter().flatten().min()?;
            let mut alive = Sums::default();
            while let Some(cohort) = before.next_if(|cohort| cohort.stack == stack) {
                alive += cohort.live;
            }
            let (mut survived, mut born) = (Sums::default(), Sums::default());
            while let Some(cohort) = after.next_if(|cohort| cohort.stack == stack) {
                if cohort.epoch <= base.epoch {
                    survived += cohort.live;
                } else {
                    born += cohort.live;
                }
            }
            while allocated_before.next_if(|totals| totals.stack < stack).is_some() {}
            let nothing = Totals { stack, ..Totals::default() };
            let until_base = allocated_before.next_if(|totals| totals.stack == stack).unwrap_or(nothing);
            let until_later = allocated_after.next_if(|totals| totals.stack == stack).unwrap_or(until_base);
            let change = Change {
                stack,
                born,
                freed: alive - survived,
                survived,
                allocated_objects: until_later.estimated_objects.saturating_sub(until_base.estimated_objects),
                allocated_bytes: until_later.estimated_bytes.saturating_sub(until_base.estimated_bytes),
            };
            if alive.objects > 0 || born.objects > 0 || until_later.objects > until_base.objects {
                return Some(change);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cohort, SampleInterval};

    /// Stack, epoch, sampled objects of 4 KiB.
    fn cohorts(rows: &[(u32, u32, u32)]) -> Cohorts {
        let one = SampleInterval::from_lg(19).unwrap().weigh(4096);
        let cohort = |&(stack, epoch, objects)| Cohort { stack, epoch, live: one.times(objects) };
        Cohorts::of(&rows.iter().map(cohort).collect::<Vec<_>>())
    }

    fn totals(rows: &[(u32, u64)]) -> PackedTotals {
        let total = |&(stack, objects)| Totals {
            stack,
            objects,
            bytes: objects * 4096,
            estimated_objects: objects * 128,
            estimated_bytes: objects << 19,
            freed_lifetimes_millis: 0,
        };
        PackedTotals::pack(rows.len(), rows.iter().map(total))
    }

    #[test]
    fn born_freed_and_survived_are_told_apart_by_birth() {
        let base = (cohorts(&[(1, 0, 5), (1, 2, 3), (2, 1, 4), (6, 0, 1)]), totals(&[(1, 8), (2, 4), (3, 9), (6, 1)]));
        let later = (
            cohorts(&[(1, 0, 5), (1, 2, 1), (1, 3, 7), (4, 5, 2), (6, 0, 1)]),
            totals(&[(1, 20), (2, 6), (3, 9), (4, 2), (5, 1), (6, 1)]),
        );
        let side = |epoch, heap| {
            let (cohorts, totals): &(Cohorts, PackedTotals) = heap;
            Side { epoch, cohorts, totals }
        };
        let found: Vec<_> = changes(side(2, &base), side(6, &later))
            .map(|change| {
                let objects = [change.born, change.freed, change.survived].map(|sums| sums.objects);
                (change.stack, objects, change.allocated_objects / 128, change.allocated_bytes >> 19)
            })
            .collect();
        let expect = [
            (1, [7, 2, 6], 12, 12),
            (2, [0, 4, 0], 2, 2),
            // Stack 3 did nothing; 5 allocated and freed; 6 only stayed.
            (4, [2, 0, 0], 2, 2),
            (5, [0, 0, 0], 1, 1),
            (6, [0, 0, 1], 0, 0),
        ];
        assert_eq!(found, expect);
    }
}
