//! What stacks allocated in an epoch and still hold.

use super::Sums;
use super::leb128::{self, Writer, unzigzag, zigzag};

/// Objects of one size that one stack allocated in one epoch and still held when the snapshot was taken.
/// What the samples stand for is not kept, as it follows from the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CohortRow {
    /// The stack's number in the stack table.
    pub stack: u32,
    /// The epoch in which these objects were born. Epochs that no kept snapshot tells apart have the number of the last
    /// of them.
    pub epoch: u32,
    /// Which of [`Cohorts::weights`] each object has.
    pub weight: u32,
    /// How many objects were sampled.
    pub objects: u32,
}

/// The cohorts of one snapshot: at most one row a live sample, end to end as LEB128 numbers, some five bytes each where sizes
/// are few; and 48 bytes for each size that there is, which is more than the rows where nearly all objects have their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cohorts {
    /// Sorted by stack, then epoch, then weight.
    rows: Vec<u8>,
    /// What one object of a row contributes; one for each size.
    weights: Vec<Sums>,
}

/// Bytes that are reserved for a row.
const USUAL_BYTES: usize = 6;

/// What one stack allocated in one epoch and still held when the snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cohort {
    /// The stack's number in the stack table.
    pub stack: u32,
    /// The epoch in which these objects were born, or the last of several.
    pub epoch: u32,
    /// The objects still alive.
    pub live: Sums,
}

impl Cohorts {
    /// Of `rows`, sorted by stack, epoch and weight, about `count` of them, each of a weight that there is.
    pub(crate) fn pack(count: usize, rows: impl Iterator<Item = CohortRow>, weights: Vec<Sums>) -> Self {
        let mut numbers = Writer::with_capacity(count * USUAL_BYTES);
        let mut before = (0, 0);
        for CohortRow { stack, epoch, weight, objects } in rows {
            let stack_step = u64::from(stack.wrapping_sub(before.0));
            let epoch_step = zigzag(i64::from(epoch) - before.1);
            before = (stack, i64::from(epoch));
            numbers.push([stack_step, epoch_step, u64::from(weight), u64::from(objects)]);
        }
        Self { rows: numbers.finish(), weights }
    }

    /// Of `rows` as [`Cohorts::bytes`] gives them, and of weights: as they were read from a file. What is no row is none.
    pub(crate) fn of_bytes(rows: Vec<u8>, weights: Vec<Sums>) -> Self {
        Self { rows, weights }
    }

    /// The rows, end to end.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.rows
    }

    /// What one object of a row contributes, for each size.
    pub(crate) fn weights(&self) -> &[Sums] {
        &self.weights
    }

    /// The rows, sorted by stack, epoch and weight.
    pub(crate) fn rows(&self) -> impl Iterator<Item = CohortRow> {
        let mut rest = self.rows.as_slice();
        let (mut stack, mut epoch) = (0u32, 0);
        std::iter::from_fn(move || {
            let mut number = || leb128::pop(&mut rest);
            stack = stack.wrapping_add(number()? as u32);
            epoch += unzigzag(number()?);
            Some(CohortRow { stack, epoch: epoch as u32, weight: number()? as u32, objects: number()? as u32 })
        })
    }

    /// One for each stack and epoch, sorted by these.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Cohort> {
        let mut rows = self.rows().peekable();
        std::iter::from_fn(move || {
            let CohortRow { stack, epoch, .. } = *rows.peek()?;
            let mut live = Sums::default();
            while let Some(row) = rows.next_if(|row| (row.stack, row.epoch) == (stack, epoch)) {
                live += self.weights.get(row.weight as usize).copied().unwrap_or_default().times(row.objects);
            }
            Some(Cohort { stack, epoch, live })
        })
    }

    /// Memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.rows.capacity() + self.weights.capacity() * size_of::<Sums>()
    }
}

#[cfg(test)]
impl Cohorts {
    /// One row for each of `cohorts`, which are sorted.
    pub(crate) fn of(cohorts: &[Cohort]) -> Self {
        let row = |(weight, cohort): (usize, &Cohort)| CohortRow {
            stack: cohort.stack,
            epoch: cohort.epoch,
            weight: weight as u32,
            objects: 1,
        };
        let weights = cohorts.iter().map(|cohort| cohort.live).collect();
        Self::pack(cohorts.len(), cohorts.iter().enumerate().map(row), weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SampleInterval;

    #[test]
    fn rows_of_one_stack_and_epoch_are_one_cohort() {
        let interval = SampleInterval::from_lg(12).unwrap();
        let row = |stack, epoch, weight, objects| CohortRow { stack, epoch, weight, objects };
        let weights = vec![interval.weigh(16), interval.weigh(4096)];
        let rows = vec![row(1, 0, 0, 3), row(1, 0, 1, 1), row(1, 2, 0, 1), row(7, 0, 1, 2), row(7, 0, 9, 1)];
        let cohorts = Cohorts::pack(rows.len(), rows.into_iter(), weights.clone());
        let found: Vec<_> = cohorts.iter().collect();
        let expect = [
            Cohort { stack: 1, epoch: 0, live: weights[0].times(3) + weights[1] },
            Cohort { stack: 1, epoch: 2, live: weights[0] },
            Cohort { stack: 7, epoch: 0, live: weights[1].times(2) },
        ];
        assert_eq!(found, expect);
    }
    #[test]
    fn rows_come_out_as_they_went_in() {
        let number = |at: u32| if at.is_multiple_of(3) { u32::MAX - at } else { at * 77_777 };
        let rows: Vec<CohortRow> = (0..200)
            .map(|at| CohortRow { stack: at * 20_000_000, epoch: number(at), weight: number(at + 1), objects: at + 1 })
            .collect();
        let cohorts = Cohorts::pack(1, rows.iter().copied(), Vec::new());
        assert_eq!(cohorts.rows().collect::<Vec<_>>(), rows);
    }

    #[test]
    fn a_row_takes_some_five_bytes() {
        let row = |stack| CohortRow { stack, epoch: 300, weight: 40, objects: 1 };
        let cohorts = Cohorts::pack(1000, (0..1000).map(row), Vec::new());
        assert!(cohorts.size_bytes() <= 1000 * USUAL_BYTES, "{}", cohorts.size_bytes());
    }
}
