//! A copy of the live set, on its way to cohorts.

use hashbrown::HashTable;

use super::hash::hash_address;
use super::live_set::LiveObject;
use crate::profile::{CohortRow, Cohorts, SMALL_BYTES, SampleInterval, Sums, Whole};

/// A copy of the live set: eight bytes an object, which sort as cohorts do.
pub(super) struct LiveCopy<'t> {
    /// Stack, birth and size of each object: see [`LiveCopy::row`].
    rows: Vec<u64>,
    /// Stack, epoch and size of the objects of one shard, as they come.
    shard: Vec<(u32, u32, u64)>,
    sizes: Sizes,
    births: Births<'t>,
}

/// Of a row's 64 bits, from the top: the stack, the birth as the place of its epoch among those told apart, the size as
/// its number in the order of their coming. jemalloc has some 230 sizes, and no history 4,096 snapshots.
const BIRTH_BITS: u32 = 12;
const SIZE_BITS: u32 = 20;

impl<'t> LiveCopy<'t> {
    /// With room for `objects`, of those born in `epoch` at the latest. Births between two of the epochs that are
    /// `told_apart` are one.
    pub(super) fn new(objects: usize, told_apart: &'t [u32], epoch: u32) -> Self {
        Self {
            rows: Vec::with_capacity(objects),
            shard: Vec::new(),
            sizes: Sizes::default(),
            births: Births::new(told_apart, epoch),
        }
    }

    /// Adds an object. Runs under a lock of the live set: what takes time or room is left for [`LiveCopy::next_shard`].
    pub(super) fn add(&mut self, object: &LiveObject) {
        // What was born after the epoch ended belongs to the next snapshot.
        if object.epoch <= self.births.last {
            self.shard.push((object.stack.0, object.epoch, object.usable));
        }
    }

    /// Takes up what was added so far, and makes room for `objects` more.
    pub(super) fn next_shard(&mut self, objects: usize) {
        for (stack, epoch, usable) in self.shard.drain(..) {
            let birth = u64::from(self.births.place(epoch)) << SIZE_BITS;
            let size = u64::from(self.sizes.number(usable));
            debug_assert!(size < 1 << SIZE_BITS, "sizes have no end");
            self.rows.push(u64::from(stack) << (BIRTH_BITS + SIZE_BITS) | birth | size);
        }
        self.shard.reserve(objects);
    }

    /// What the copied objects make, and all of them together, but for what was allocated.
    pub(super) fn cohorts(mut self, interval: SampleInterval) -> (Cohorts, Whole) {
        self.next_shard(0);
        self.rows.sort_unstable();
        let weights: Vec<Sums> = self.sizes.usable.iter().map(|&usable| interval.weigh(usable)).collect();
        // By birth, then size.
        let sizes = weights.len();
        let mut counts = vec![0u32; (self.births.told_apart.len() + 1) * sizes];
        let (mut stacks, mut last) = (0, None);
        let rows = self.rows.chunk_by(|a, b| a == b).map(|same| {
            let row = self.row(same[0], same.len());
            let birth = bits(same[0], SIZE_BITS, BIRTH_BITS) as usize;
            counts[birth * sizes + row.weight as usize] += row.objects;
            stacks += usize::from(last.replace(row.stack) != Some(row.stack));
            row
        });
        let cohorts = Cohorts::pack(self.rows.len(), rows, weights.clone());
        let mut whole = Whole { stacks, ..Whole::default() };
        for (counts, birth) in counts.chunks(sizes.max(1)).zip(0..) {
            let mut born = Sums::default();
            for ((&count, &usable), weight) in counts.iter().zip(&self.sizes.usable).zip(&weights) {
                let sums = weight.times(count);
                born += sums;
                if usable < SMALL_BYTES {
                    whole.small += sums;
                }
            }
            if born.objects > 0 {
                whole.births.push((self.births.epoch(birth), born));
            }
        }
        (cohorts, whole)
    }

    fn row(&self, row: u64, objects: usize) -> CohortRow {
        CohortRow {
            stack: (row >> (BIRTH_BITS + SIZE_BITS)) as u32,
            epoch: self.births.epoch(bits(row, SIZE_BITS, BIRTH_BITS)),
            weight: bits(row, 0, SIZE_BITS),
            objects: objects as u32,
        }
    }
}

fn bits(row: u64, from: u32, count: u32) -> u32 {
    (row >> from) as u32 & ((1 << count) - 1)
}

/// When objects were born, as far as it is told apart.
struct Births<'t> {
    /// Ends of epochs that are told apart, rising.
    told_apart: &'t [u32],
    /// The youngest epoch.
    last: u32,
}

impl<'t> Births<'t> {
    fn new(told_apart: &'t [u32], last: u32) -> Self {
        // The oldest are one where there are too many.
        let places = (1 << BIRTH_BITS) - 1;
        Self { told_apart: &told_apart[told_apart.len().saturating_sub(places)..], last }
    }

    /// The place of the first epoch told apart that had not ended before `epoch` began; theirs is one more.
    fn place(&self, epoch: u32) -> u32 {
        self.told_apart.partition_point(|&ended| ended < epoch) as u32
    }

    /// The last epoch at a place.
    fn epoch(&self, place: u32) -> u32 {
        self.told_apart.get(place as usize).copied().unwrap_or(self.last)
    }
}

/// The sizes that were met, numbered as they come.
#[derive(Default)]
struct Sizes {
    usable: Vec<u64>,
    numbers: HashTable<u32>,
    last: Option<(u64, u32)>,
}

impl Sizes {
    fn number(&mut self, usable: u64) -> u32 {
        match self.last {
            // Many have the size of the one before.
            Some((last, number)) if last == usable => return number,
            _ => {}
        }
        let Self { usable: known, numbers, last } = self;
        let size = |&number: &u32| known.get(number as usize).copied().unwrap_or_default();
        let entry =
            numbers.entry(hash_address(usable), |number| size(number) == usable, |number| hash_address(size(number)));
        let number = *entry.or_insert(known.len() as u32).get();
        if number as usize == known.len() {
            known.push(usable);
        }
        *last = Some((usable, number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::StackId;

    #[test]
    fn epochs_between_two_that_are_told_apart_are_one() {
        let births = Births::new(&[0, 3, 4, 9], 12);
        for (epoch, last) in [(0, 0), (1, 3), (3, 3), (4, 4), (5, 9), (9, 9), (10, 12), (12, 12)] {
            assert_eq!(births.epoch(births.place(epoch)), last, "{epoch}");
        }
        assert_eq!(Births::new(&[], 5).epoch(0), 5);
        let many: Vec<u32> = (0..5_000).collect();
        let births = Births::new(&many, 5_000);
        for (epoch, last) in [(0, 905), (905, 905), (906, 906), (4_999, 4_999), (5_000, 5_000)] {
            let place = births.place(epoch);
            assert!(place < 1 << BIRTH_BITS);
            assert_eq!(births.epoch(place), last, "{epoch}");
        }
    }

    #[test]
    fn a_copy_has_a_row_for_each_stack_birth_and_size() {
        let mut copy = LiveCopy::new(0, &[3], 5);
        let objects = [
            (7, 1, 64),
            (u32::MAX, 5, 32),
            (7, 4, 64),
            (7, 3, 64),
            (7, 0, 16),
            (7, 6, 64),
            (1, 2, 1 << 40),
            (7, 4, 64),
        ];
        for shard in objects.chunks(3) {
            copy.next_shard(shard.len());
            for &(stack, epoch, usable) in shard {
                let stack = StackId(stack);
                copy.add(&LiveObject { address: 8, requested: usable, usable, birth_millis: 0, stack, epoch });
            }
        }
        let interval = SampleInterval::from_lg(12).unwrap();
        let (cohorts, whole) = copy.cohorts(interval);
        let found: Vec<_> =
            cohorts.iter().map(|cohort| (cohort.stack, cohort.epoch, cohort.live.objects, cohort.live.bytes)).collect();
        // The one of epoch 6 was born after the copy's last.
        let expect = [(1, 3, 1, 1 << 40), (7, 3, 3, 64 + 64 + 16), (7, 5, 2, 128), (u32::MAX, 5, 1, 32)];
        assert_eq!(found, expect);
        let births: Vec<_> = whole.births.iter().map(|(epoch, sums)| (*epoch, sums.objects, sums.bytes)).collect();
        assert_eq!(births, [(3, 4, (1 << 40) + 144), (5, 3, 160)]);
        assert_eq!((whole.stacks, whole.small.objects, whole.small.bytes), (3, 6, 304));
    }

    #[test]
    fn sizes_have_numbers_from_zero() {
        let mut sizes = Sizes::default();
        let numbers: Vec<u32> = [16, 16, 4096, 16, 32, 4096].into_iter().map(|usable| sizes.number(usable)).collect();
        assert_eq!(numbers, [0, 0, 1, 0, 2, 1]);
        assert_eq!(sizes.usable, [16, 4096, 32]);
    }
}
