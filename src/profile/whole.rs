//! A whole heap in a few figures.

use super::{Cohorts, Sums, Totals};

/// Sampled objects below this, SC_LARGE_MINCLASS in jemalloc's sc.h at pages of 4 KiB, get pages of their own, and are *not*
/// in its `allocated`: `arena_large_malloc_stats_update` in its arena.c counts them for a bin, but not as a region of it, and
/// of bins `allocated` is regions times size. So they would pass for slack. With larger pages some are missed here.
pub(crate) const SMALL_BYTES: u64 = 16 << 10;

/// All stacks of a snapshot together, by birth: what is asked again and again without looking at single stacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Whole {
    /// What was alive, by the epoch of its birth; sorted by epoch.
    pub births: Vec<(u32, Sums)>,
    /// What was ever allocated.
    pub allocated: Totals,
    /// Of what was alive, that of less than [`SMALL_BYTES`].
    pub small: Sums,
    /// How many stacks held something.
    pub stacks: usize,
}

impl Whole {
    /// The sums of `cohorts`. Objects of one stack and epoch mostly are of one size; which of them are small is not known one
    /// by one here.
    pub(crate) fn of(cohorts: &Cohorts, allocated: Totals) -> Self {
        let mut births: Vec<(u32, Sums)> = Vec::new();
        let mut small = Sums::default();
        let (mut stacks, mut last) = (0, None);
        for cohort in cohorts.iter() {
            stacks += usize::from(last.replace(cohort.stack) != Some(cohort.stack));
            if cohort.live.bytes < cohort.live.objects.saturating_mul(SMALL_BYTES) {
                small += cohort.live;
            }
            match births.binary_search_by_key(&cohort.epoch, |birth| birth.0) {
                Ok(at) => births[at].1 += cohort.live,
                Err(at) => births.insert(at, (cohort.epoch, cohort.live)),
            }
        }
        Self { births, allocated, small, stacks }
    }

    /// All that was alive.
    pub(crate) fn live(&self) -> Sums {
        self.births.iter().fold(Sums::default(), |sum, birth| sum + birth.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cohort, SampleInterval};

    #[test]
    fn births_are_summed_over_all_stacks() {
        let one = SampleInterval::from_lg(12).unwrap().weigh(64);
        let cohort = |stack, epoch, objects| Cohort { stack, epoch, live: one.times(objects) };
        let cohorts = Cohorts::of(&[cohort(1, 3, 2), cohort(1, 5, 1), cohort(2, 0, 4), cohort(2, 5, 5)]);
        let whole = Whole::of(&cohorts, Totals::default());
        let births: Vec<_> = whole.births.iter().map(|(epoch, sums)| (*epoch, sums.objects)).collect();
        assert_eq!(births, [(0, 4), (3, 2), (5, 6)]);
        assert_eq!((whole.live().objects, whole.live().bytes), (12, 12 * 64));
        assert_eq!((whole.small, whole.stacks), (whole.live(), 2));
    }

    #[test]
    fn small_objects_are_summed_apart() {
        let interval = SampleInterval::from_lg(12).unwrap();
        let of = |stack, size| Cohort { stack, epoch: 1, live: interval.weigh(size) };
        let cohorts = [of(1, 64), of(2, SMALL_BYTES), of(3, SMALL_BYTES - 1), of(7, 1 << 20)];
        let whole = Whole::of(&Cohorts::of(&cohorts), Totals::default());
        assert_eq!((whole.small, whole.stacks), (cohorts[0].live + cohorts[2].live, 4));
    }
}
