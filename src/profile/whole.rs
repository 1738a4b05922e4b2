//! A whole heap in a few figures.

use super::{Cohorts, Sums, Totals};

/// All stacks of a snapshot together, by birth: what is asked again and again without looking at single stacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Whole {
    /// What was alive, by the epoch of its birth; sorted by epoch.
    pub births: Vec<(u32, Sums)>,
    /// What was ever allocated.
    pub allocated: Totals,
}

impl Whole {
    /// The sums of `cohorts`.
    pub(crate) fn of(cohorts: &Cohorts, allocated: Totals) -> Self {
        let mut births: Vec<(u32, Sums)> = Vec::new();
        for cohort in cohorts.iter() {
            match births.binary_search_by_key(&cohort.epoch, |birth| birth.0) {
                Ok(at) => births[at].1 += cohort.live,
                Err(at) => births.insert(at, (cohort.epoch, cohort.live)),
            }
        }
        Self { births, allocated }
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
    }
}
