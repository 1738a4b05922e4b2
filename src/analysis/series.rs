//! What some stacks held, snapshot by snapshot.

use super::Side;
use crate::profile::{Sums, Whole};

/// What some stacks (a site's, a function's, all) held at each of the snapshots in hand, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Seconds since the first of them, rising.
    pub seconds: Vec<f64>,
    /// One for each of `seconds`.
    pub points: Vec<Point>,
}

impl Series {
    /// The same as if nothing had been freed before the first snapshot. For where samples were dropped until then: those are
    /// among the samples ever taken, and not among those alive, so they would pass for freed.
    pub(crate) fn without_earlier_frees(&self) -> Self {
        let mut series = self.clone();
        let Some(first) = self.points.first() else { return series };
        let alive: u64 = first.cohorts.iter().map(|cohort| cohort.objects).sum();
        let freed = first.samples.saturating_sub(alive);
        for point in &mut series.points {
            point.samples = point.samples.saturating_sub(freed);
            point.freed_lifetimes_millis = point.freed_lifetimes_millis.saturating_sub(first.freed_lifetimes_millis);
        }
        series
    }
}

/// What some stacks held at one snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// What was alive, by birth: element 0 was born before the first snapshot, element k > 0 between the snapshots
    /// k − 1 and k. Of snapshot j there are j + 1.
    pub cohorts: Vec<Sums>,
    /// Samples ever taken at these stacks until then, freed or not.
    pub samples: u64,
    /// Estimated bytes ever allocated at these stacks until then.
    pub allocated_bytes: f64,
    /// Milliseconds that the samples freed until then had lived, in all.
    pub freed_lifetimes_millis: u64,
}

/// Which series each stack belongs to, by the stack's number; a stack is in one or in none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership {
    /// One more than the number of the series; 0 for none.
    of_stack: Vec<u32>,
}

impl Series {
    /// About the memory that a series of so many snapshots takes: the cohorts' number rises with the square.
    pub(crate) fn size_bytes(snapshots: usize) -> usize {
        let cohorts = snapshots * (snapshots + 1) / 2;
        size_of::<Self>() + snapshots * (size_of::<f64>() + size_of::<Point>()) + cohorts * size_of::<Sums>()
    }
}

impl Membership {
    /// Puts `stack` into the series `number`, and out of any other.
    pub(crate) fn set(&mut self, stack: u32, number: usize) {
        let index = stack as usize;
        if index >= self.of_stack.len() {
            self.of_stack.resize(index + 1, 0);
        }
        self.of_stack[index] = u32::try_from(number + 1).unwrap_or(0);
    }

    /// The series that `stack` is in.
    pub(crate) fn get(&self, stack: u32) -> Option<usize> {
        (*self.of_stack.get(stack as usize)? as usize).checked_sub(1)
    }
}

/// The series of `count` groups of stacks over the snapshots `sides`, oldest first, taken at `seconds`.
pub(crate) fn series(sides: &[Side<'_>], seconds: &[f64], members: &Membership, count: usize) -> Vec<Series> {
    let points = (0..sides.len()).map(|at| Point { cohorts: vec![Sums::default(); at + 1], ..Point::default() });
    let empty = Series { seconds: seconds.to_vec(), points: points.collect() };
    let mut all = vec![empty; count];
    for (at, side) in sides.iter().enumerate() {
        for cohort in side.cohorts.iter() {
            let Some(point) = point(&mut all, members, cohort.stack, at) else { continue };
            // Born in the epoch that the first snapshot from then on ended. A source without birthdays gives a later
            // epoch than any: all as if born just now.
            let birth = sides[..at].partition_point(|earlier| earlier.epoch < cohort.epoch);
            if let Some(sums) = point.cohorts.get_mut(birth) {
                *sums += cohort.live;
            }
        }
        for totals in side.totals.iter() {
            let Some(point) = point(&mut all, members, totals.stack, at) else { continue };
            point.samples += totals.objects;
            point.allocated_bytes += totals.estimated_bytes as f64;
            point.freed_lifetimes_millis += totals.freed_lifetimes_millis;
        }
    }
    all
}

fn point<'a>(all: &'a mut [Series], members: &Membership, stack: u32, at: usize) -> Option<&'a mut Point> {
    all.get_mut(members.get(stack)?)?.points.get_mut(at)
}

/// The series of all stacks together, from figures that were summed when the snapshots were taken. Each has the epoch
/// that it ended.
pub(crate) fn series_of_all(wholes: &[(u32, &Whole)], seconds: &[f64]) -> Series {
    let point = |(at, (_, whole)): (usize, &(u32, &Whole))| {
        let mut cohorts = vec![Sums::default(); at + 1];
        for (epoch, live) in &whole.births {
            cohorts[wholes[..at].partition_point(|earlier| earlier.0 < *epoch)] += *live;
        }
        Point {
            cohorts,
            samples: whole.allocated.objects,
            allocated_bytes: whole.allocated.estimated_bytes as f64,
            freed_lifetimes_millis: whole.allocated.freed_lifetimes_millis,
        }
    };
    Series { seconds: seconds.to_vec(), points: wholes.iter().enumerate().map(point).collect() }
}

/// The most by which each of `count` groups of stacks ever was higher than before, in estimated bytes. Snapshot by
/// snapshot: what is held is a few numbers a group, however many snapshots there are.
pub(crate) fn rises(sides: &[Side<'_>], members: &Membership, count: usize) -> Vec<f64> {
    let mut levels = vec![0.0_f64; count];
    let mut lowest = vec![f64::INFINITY; count];
    let mut rises = vec![0.0_f64; count];
    for side in sides {
        levels.fill(0.0);
        for cohort in side.cohorts.iter() {
            if let Some(level) = members.get(cohort.stack).and_then(|number| levels.get_mut(number)) {
                *level += cohort.live.estimated_bytes;
            }
        }
        for ((level, lowest), rise) in levels.iter().zip(&mut lowest).zip(&mut rises) {
            *lowest = lowest.min(*level);
            *rise = rise.max(level - *lowest);
        }
    }
    rises
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cohort, Cohorts, PackedTotals, SampleInterval, Totals};

    #[test]
    fn dropped_samples_do_not_pass_for_freed() {
        let one = SampleInterval::from_lg(12).unwrap().weigh(64);
        // 100 were taken until the first and 10 are alive: 60 dropped, 30 freed after 3 s in all. Then 5 more are freed.
        let point = |cohorts: &[u32], samples, freed_lifetimes_millis| Point {
            cohorts: cohorts.iter().map(|&objects| one.times(objects)).collect(),
            samples,
            freed_lifetimes_millis,
            ..Point::default()
        };
        let points = vec![point(&[10], 100, 3000), point(&[5, 20], 120, 4000)];
        let series = Series { seconds: vec![0.0, 60.0], points }.without_earlier_frees();
        let told: Vec<_> = series.points.iter().map(|point| (point.samples, point.freed_lifetimes_millis)).collect();
        assert_eq!(told, [(10, 0), (30, 1000)]);
    }

    #[test]
    fn a_series_tells_what_was_alive_by_birth() {
        let one = SampleInterval::from_lg(12).unwrap().weigh(64);
        let heap = |rows: &[(u32, u32, u32)], samples: u64| {
            let cohort = |&(stack, epoch, objects)| Cohort { stack, epoch, live: one.times(objects) };
            let cohorts = Cohorts::of(&rows.iter().map(cohort).collect::<Vec<_>>());
            let total = |stack| Totals { stack, objects: samples, estimated_bytes: 10, ..Totals::default() };
            (cohorts, PackedTotals::pack(3, [2, 3, 9].map(total).into_iter()))
        };
        // The second snapshot tells epochs apart that nobody keeps any more.
        let heaps = [
            (4, heap(&[(2, 1, 5), (3, 4, 2), (9, 0, 1)], 1)),
            (7, heap(&[(2, 1, 4), (2, 5, 1), (2, 6, 2), (3, 7, 1)], 2)),
            (8, heap(&[(2, 4, 3), (2, 7, 3), (3, 8, 6), (9, 7, 1)], 3)),
        ];
        let sides: Vec<_> =
            heaps.iter().map(|(epoch, (cohorts, totals))| Side { epoch: *epoch, cohorts, totals }).collect();
        let mut members = Membership::default();
        [(2, 0), (3, 0), (9, 1)].into_iter().for_each(|(stack, number)| members.set(stack, number));
        let found = series(&sides, &[0.0, 60.0, 90.0], &members, 2);
        let objects = |series: &Series| -> Vec<Vec<u64>> {
            let of = |point: &Point| point.cohorts.iter().map(|sums| sums.objects).collect();
            series.points.iter().map(of).collect()
        };
        assert_eq!(objects(&found[0]), [vec![7], vec![4, 4], vec![3, 3, 6]]);
        assert_eq!(objects(&found[1]), [vec![1], vec![0, 0], vec![0, 1, 0]]);
        assert_eq!(found[0].points[2].samples, 6, "of two stacks");
        assert_eq!(found[1].points[0].allocated_bytes, 10.0);
        // All stacks as one group are what is summed up at once.
        let mut everything = Membership::default();
        [2, 3, 9].into_iter().for_each(|stack| everything.set(stack, 0));
        let wholes: Vec<Whole> = heaps
            .iter()
            .map(|(_, (cohorts, totals))| {
                let mut allocated = Totals::default();
                totals.iter().for_each(|totals| allocated += totals);
                Whole::of(cohorts, allocated)
            })
            .collect();
        let wholes: Vec<(u32, &Whole)> = heaps.iter().map(|heap| heap.0).zip(&wholes).collect();
        let together = series(&sides, &[0.0, 60.0, 90.0], &everything, 1);
        let summed = series_of_all(&wholes, &[0.0, 60.0, 90.0]);
        assert_eq!(objects(&together[0]), objects(&summed));
        assert_eq!(together[0].points[2].samples, summed.points[2].samples);
        // Of 7, 8 and 12 objects, and of 1, 0 and 1.
        let objects = |rise: f64| (rise / one.estimated_bytes).round();
        let rises = |sides: &[Side<'_>]| -> Vec<f64> { rises(sides, &members, 2).into_iter().map(objects).collect() };
        assert_eq!(rises(&sides), [5.0, 1.0]);
        assert_eq!(rises(&[sides[0], sides[2], sides[1]]), [5.0, 0.0], "also what fell again");
    }

    #[test]
    fn a_series_takes_as_much_as_it_says() {
        let empty = (Cohorts::default(), PackedTotals::default());
        let sides: Vec<Side<'_>> = (0..64).map(|epoch| Side { epoch, cohorts: &empty.0, totals: &empty.1 }).collect();
        let [series] = &series(&sides, &[0.0; 64], &Membership::default(), 1)[..] else { panic!("one") };
        let points: usize =
            series.points.iter().map(|point| size_of::<Point>() + size_of_val(&point.cohorts[..])).sum();
        assert_eq!(Series::size_bytes(64), size_of::<Series>() + size_of_val(&series.seconds[..]) + points);
    }
}
