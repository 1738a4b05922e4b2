//! What stacks allocated in an epoch and still hold.

use super::Sums;

/// Objects of one size that one stack allocated in one epoch and still held when the snapshot was taken.
///
/// Sixteen bytes: at most one row a live sample. What the samples stand for is not kept, as it follows from the size.
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

/// The cohorts of one snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cohorts {
    /// Sorted by stack, then epoch, then weight.
    rows: Vec<CohortRow>,
    /// What one object of a row contributes; one for each size.
    weights: Vec<Sums>,
}

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
    /// Of `rows`, sorted by stack, epoch and weight, each of a weight that there is.
    pub(crate) fn new(rows: Vec<CohortRow>, weights: Vec<Sums>) -> Self {
        Self { rows, weights }
    }

    /// One for each stack and epoch, sorted by these.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Cohort> {
        let same = |a: &CohortRow, b: &CohortRow| (a.stack, a.epoch) == (b.stack, b.epoch);
        self.rows.chunk_by(same).map(|rows| {
            let mut live = Sums::default();
            for row in rows {
                live += self.weights.get(row.weight as usize).copied().unwrap_or_default().times(row.objects);
            }
            Cohort { stack: rows[0].stack, epoch: rows[0].epoch, live }
        })
    }

    /// How many stacks hold something.
    pub(crate) fn stacks(&self) -> usize {
        self.rows.chunk_by(|a, b| a.stack == b.stack).count()
    }

    /// Memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<CohortRow>() + self.weights.capacity() * size_of::<Sums>()
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
        Self {
            rows: cohorts.iter().enumerate().map(row).collect(),
            weights: cohorts.iter().map(|cohort| cohort.live).collect(),
        }
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
        let cohorts = Cohorts::new(rows, weights.clone());
        let found: Vec<_> = cohorts.iter().collect();
        let expect = [
            Cohort { stack: 1, epoch: 0, live: weights[0].times(3) + weights[1] },
            Cohort { stack: 1, epoch: 2, live: weights[0] },
            Cohort { stack: 7, epoch: 0, live: weights[1].times(2) },
        ];
        assert_eq!(found, expect);
        assert_eq!(cohorts.stacks(), 2);
        assert_eq!(size_of::<CohortRow>(), 16);
    }
}
