//! A copy of the live set, on its way to cohorts.

use std::collections::HashMap;

use super::stack_table::StackId;
use super::usable_size::UsableSize;
use crate::profile::{CohortRow, Cohorts, SMALL_BYTES, SampleInterval, Sums, Whole};

/// What a copy is made in, kept from one to the next: the next is made when memory is short.
#[derive(Default)]
pub(super) struct Scratch {
    /// Stack, birth and size of each object: see [`SIZE_BITS`].
    rows: Vec<u64>,
    /// Stack, epoch and size of the objects of one shard, as they come.
    shard: Vec<(u32, u32, UsableSize)>,
    by_stack: ByStack,
}

impl Scratch {
    /// Empty, with room for `objects`, and not for many times as many.
    fn empty(&mut self, objects: usize) {
        self.rows.clear();
        self.shard.clear();
        self.rows.shrink_to(objects.saturating_mul(KEPT));
        self.rows.reserve(objects);
        self.by_stack.cells.clear();
        self.by_stack.cells.shrink_to(objects.saturating_mul(KEPT));
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> u64 {
        let cells = self.by_stack.ends.capacity() + self.by_stack.cells.capacity();
        (self.rows.capacity() * size_of::<u64>()
            + self.shard.capacity() * size_of::<(u32, u32, UsableSize)>()
            + cells * size_of::<u32>()) as u64
    }
}

/// So many times what was needed last is kept.
const KEPT: usize = 4;

/// A copy of the live set: eight bytes an object, which sort as cohorts do.
pub(super) struct LiveCopy<'t> {
    scratch: &'t mut Scratch,
    sizes: Sizes,
    births: Births<'t>,
}

/// Of a row's 64 bits, from the top: the stack, the birth as the place of its epoch among those told apart, the size as
/// its number in the order of their coming. jemalloc's small sizes are some 40, its large ones as many as there are; no history
/// has 4,096 snapshots.
const BIRTH_BITS: u32 = 32 - SIZE_BITS;
const SIZE_BITS: u32 = 20;
const SIZE_MASK: u32 = (1 << SIZE_BITS) - 1;

impl<'t> LiveCopy<'t> {
    /// With room for `objects`, of those born in `epoch` at the latest. Births between two of the epochs that are
    /// `told_apart` are one.
    pub(super) fn new(scratch: &'t mut Scratch, objects: usize, told_apart: &'t [u32], epoch: u32) -> Self {
        scratch.empty(objects);
        Self { scratch, sizes: Sizes::default(), births: Births::new(told_apart, epoch) }
    }

    /// Adds an object. Runs under a lock of the live set: what takes time or room is left for [`LiveCopy::next_shard`].
    pub(super) fn add(&mut self, stack: StackId, epoch: u32, usable: UsableSize) {
        // What was born after the epoch ended belongs to the next snapshot.
        if epoch <= self.births.last {
            self.scratch.shard.push((stack.0, epoch, usable));
        }
    }

    /// Takes up what was added so far, and makes room for `objects` more.
    pub(super) fn next_shard(&mut self, objects: usize) {
        let Self { scratch: Scratch { rows, shard, .. }, sizes, births } = self;
        // Many are born in the same epoch as the one before.
        let mut last = (births.last, births.place(births.last));
        rows.extend(shard.drain(..).map(|(stack, epoch, usable)| {
            if epoch != last.0 {
                last = (epoch, births.place(epoch));
            }
            let size = u64::from(sizes.number(usable));
            u64::from(stack) << (BIRTH_BITS + SIZE_BITS) | u64::from(last.1) << SIZE_BITS | size
        }));
        shard.reserve(objects);
    }

    /// What the copied objects make, of stacks with numbers below `stacks`, and all of them together, but for what was allocated.
    pub(super) fn cohorts(mut self, stacks: usize, interval: SampleInterval) -> (Cohorts, Whole) {
        self.next_shard(0);
        let Self { scratch: Scratch { rows, by_stack, .. }, sizes, births } = self;
        let sizes: Vec<u64> = sizes.usable.iter().map(|size| size.bytes()).collect();
        let weights: Vec<Sums> = sizes.iter().map(|&usable| interval.weigh(usable)).collect();
        let mut parts = Parts::new(&sizes, &weights, births.told_apart.len() + 1);
        let (mut holding, mut last) = (0, None);
        let objects = rows.len();
        by_stack.sort(rows, stacks);
        let rows = by_stack.runs().map(|(stack, cell, objects)| {
            parts.add(cell, objects);
            holding += usize::from(last.replace(stack) != Some(stack));
            CohortRow { stack, epoch: births.epoch(cell >> SIZE_BITS), weight: cell & SIZE_MASK, objects }
        });
        let cohorts = Cohorts::pack(objects, rows, weights.clone());
        let (small, born) = parts.finish();
        let births =
            (0..).zip(born).filter(|(_, born)| born.objects > 0).map(|(at, born)| (births.epoch(at), born)).collect();
        (cohorts, Whole { small, births, stacks: holding, ..Whole::default() })
    }
}

/// How many births and sizes are counted at a time.
const COUNTED: usize = 256;

/// What objects make together, of each birth and of those of small sizes. They are counted where many of one birth and size
/// come one soon after the other, and added up after: a count is one number, and sums are six.
struct Parts<'a> {
    sizes: &'a [u64],
    weights: &'a [Sums],
    counts: [(u32, u32); COUNTED],
    small: Sums,
    /// By the place of the birth.
    born: Vec<Sums>,
}

impl<'a> Parts<'a> {
    /// Of so many births, and of sizes that weigh so much.
    fn new(sizes: &'a [u64], weights: &'a [Sums], births: usize) -> Self {
        let born = vec![Sums::default(); births];
        Self { sizes, weights, counts: [(0, 0); COUNTED], small: Sums::default(), born }
    }

    #[inline]
    fn add(&mut self, cell: u32, objects: u32) {
        let at = (cell ^ cell >> SIZE_BITS) as usize % COUNTED;
        let (counted, count) = &mut self.counts[at];
        if *counted == cell {
            *count += objects;
        } else {
            let (counted, count) = std::mem::replace(&mut self.counts[at], (cell, objects));
            self.sum_up(counted, count);
        }
    }

    fn sum_up(&mut self, cell: u32, objects: u32) {
        let (birth, size) = ((cell >> SIZE_BITS) as usize, (cell & SIZE_MASK) as usize);
        // What was never counted is of size 0 too, of which there need be none.
        let Some(weight) = self.weights.get(size).filter(|_| objects > 0) else { return };
        let sums = weight.times(objects);
        self.born[birth] += sums;
        if self.sizes[size] < SMALL_BYTES {
            self.small += sums;
        }
    }

    /// Sums over those of small sizes, and over each birth.
    fn finish(mut self) -> (Sums, Vec<Sums>) {
        for (cell, count) in self.counts {
            self.sum_up(cell, count);
        }
        (self.small, self.born)
    }
}

/// Rows by stack; of each, birth and size in order.
#[derive(Default)]
struct ByStack {
    /// Where the cells of each stack end.
    ends: Vec<u32>,
    /// The lower half of each row.
    cells: Vec<u32>,
}

impl ByStack {
    /// Of rows with stacks below `stacks`; any other is left out. Stacks are numbered without holes, so they are counted and
    /// not compared: a comparing sort took a quarter of a snapshot.
    fn sort(&mut self, rows: &[u64], stacks: usize) {
        let stack = |row: u64| (row >> 32) as usize;
        let Self { ends, cells } = self;
        ends.clear();
        ends.resize(stacks, 0);
        for &row in rows {
            if let Some(count) = ends.get_mut(stack(row)) {
                *count += 1;
            }
        }
        let mut start = 0;
        for end in ends.iter_mut() {
            start += std::mem::replace(end, start);
        }
        cells.clear();
        cells.resize(start as usize, 0);
        for &row in rows {
            if let Some(end) = ends.get_mut(stack(row)) {
                cells[*end as usize] = row as u32;
                *end += 1;
            }
        }
        let mut start = 0;
        for &end in ends.iter() {
            if end - start > 1 {
                cells[start as usize..end as usize].sort_unstable();
            }
            start = end;
        }
    }

    /// Stack, birth and size, and how many objects have these.
    fn runs(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).zip(0..).flat_map(|((&start, &end), stack)| {
            let cells = &self.cells[start as usize..end as usize];
            cells.chunk_by(|a, b| a == b).map(move |same| (stack, same[0], same.len() as u32))
        })
    }
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

/// How many sizes are found without a search.
const NEAR: usize = 256;

/// The sizes that were met, numbered as they come. Where there are more than fit into a row, which takes a heap of petabytes, the
/// rest have the number of the last.
struct Sizes {
    usable: Vec<UsableSize>,
    numbers: HashMap<u32, u32>,
    /// Code and number of those met last, by the low bits of the code.
    near: [Option<(u32, u32)>; NEAR],
}

impl Default for Sizes {
    fn default() -> Self {
        Self { usable: Vec::new(), numbers: HashMap::new(), near: [None; NEAR] }
    }
}

impl Sizes {
    #[inline]
    fn number(&mut self, usable: UsableSize) -> u32 {
        let code = usable.code();
        // Bytes are multiples of 16 mostly, and pages are not.
        let near = (code ^ code >> 4) as usize % NEAR;
        match self.near[near] {
            Some((known, number)) if known == code => number,
            _ => {
                let number = self.look_up(usable);
                self.near[near] = Some((code, number));
                number
            }
        }
    }

    fn look_up(&mut self, usable: UsableSize) -> u32 {
        let last = self.usable.len() as u32;
        if last >> SIZE_BITS > 0 {
            return self.numbers.get(&usable.code()).copied().unwrap_or(last - 1);
        }
        let number = *self.numbers.entry(usable.code()).or_insert(last);
        if number == last {
            self.usable.push(usable);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut scratch = Scratch::default();
        // As another copy left it.
        scratch.rows.push(u64::MAX);
        scratch.shard.push((1, 1, UsableSize::of(16).unwrap()));
        scratch.by_stack.sort(&[1, 2, 3], 10);
        let mut copy = LiveCopy::new(&mut scratch, 0, &[3], 5);
        let objects =
            [(7, 1, 64), (9, 5, 32), (7, 4, 64), (7, 3, 64), (7, 0, 16), (7, 6, 64), (1, 2, 1 << 40), (7, 4, 64)];
        for shard in objects.chunks(3) {
            copy.next_shard(shard.len());
            for &(stack, epoch, usable) in shard {
                copy.add(StackId(stack), epoch, UsableSize::of(usable).unwrap());
            }
        }
        let interval = SampleInterval::from_lg(12).unwrap();
        let (cohorts, whole) = copy.cohorts(10, interval);
        let found: Vec<_> =
            cohorts.iter().map(|cohort| (cohort.stack, cohort.epoch, cohort.live.objects, cohort.live.bytes)).collect();
        // The one of epoch 6 was born after the copy's last.
        let expect = [(1, 3, 1, 1 << 40), (7, 3, 3, 64 + 64 + 16), (7, 5, 2, 128), (9, 5, 1, 32)];
        assert_eq!(found, expect);
        let births: Vec<_> = whole.births.iter().map(|(epoch, sums)| (*epoch, sums.objects, sums.bytes)).collect();
        assert_eq!(births, [(3, 4, (1 << 40) + 144), (5, 3, 160)]);
        assert_eq!((whole.stacks, whole.small.objects, whole.small.bytes), (3, 6, 304));
    }

    /// Also where there are more births and sizes than are counted at a time.
    #[test]
    fn the_whole_is_the_sum_of_all_objects() {
        let interval = SampleInterval::from_lg(16).unwrap();
        let sizes: Vec<u64> = (1..=700).map(|pages| pages << 12).chain([16, 64, 1024]).collect();
        let mut scratch = Scratch::default();
        let mut copy = LiveCopy::new(&mut scratch, 0, &[1, 2], 3);
        let mut expect = [Sums::default(); 4];
        copy.next_shard(20_000);
        for at in 0..20_000u32 {
            // Half are of one size, as many of a heap are.
            let usable = if at % 2 == 0 { 64 } else { sizes[at as usize * 31 % sizes.len()] };
            let (stack, epoch) = (at % 997, at % 3 + 1);
            copy.add(StackId(stack), epoch, UsableSize::of(usable).unwrap());
            let weight = interval.weigh(usable);
            expect[epoch as usize] += weight;
            if usable < SMALL_BYTES {
                expect[0] += weight;
            }
        }
        let (_, whole) = copy.cohorts(997, interval);
        let found = whole.births.iter().map(|(_, sums)| sums).chain([&whole.small]);
        assert_eq!((whole.births.len(), whole.stacks), (3, 997));
        for (found, expect) in found.zip([1, 2, 3, 0].map(|at| expect[at])) {
            assert_eq!((found.objects, found.bytes), (expect.objects, expect.bytes));
            for (found, expect) in [
                (found.estimated_objects, expect.estimated_objects),
                (found.estimated_bytes, expect.estimated_bytes),
                (found.variance_objects, expect.variance_objects),
                (found.variance_bytes, expect.variance_bytes),
            ] {
                assert!((found / expect - 1.0).abs() < 1e-9, "{found} {expect}");
            }
        }
    }

    #[test]
    fn sizes_have_numbers_from_zero() {
        let mut sizes = Sizes::default();
        // The third has the place of the first.
        let met = [16, 16, 16 + (1 << 16), 16, 1 << 30, 16 + (1 << 16)].map(|usable| UsableSize::of(usable).unwrap());
        let numbers: Vec<u32> = met.into_iter().map(|usable| sizes.number(usable)).collect();
        assert_eq!(numbers, [0, 0, 1, 0, 2, 1]);
        assert_eq!(sizes.usable, [met[0], met[2], met[4]]);
    }

    #[test]
    fn sizes_that_do_not_fit_have_the_number_of_the_last() {
        let mut sizes = Sizes::default();
        let size = |pages: u32| UsableSize::of(u64::from(pages) << 12).unwrap();
        let most = 1 << SIZE_BITS;
        let numbers: Vec<u32> = (1..=most + 2).map(|pages| sizes.number(size(pages))).collect();
        assert!(numbers.iter().zip(0..).all(|(&number, met)| number == met.min(most - 1)));
        assert_eq!(sizes.number(size(7)), 6);
    }
}
