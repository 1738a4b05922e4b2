//! Interned stacks: append-only, bounded, without a lock.
//!
//! ```text
//! index   [ tag | id ] [ 0 ] [ tag | id ] …     open addressing: a small part first, then twice as many slots as stacks
//!               │
//! records         └─► { first frame, depth, cumulative counts }
//!                            │
//! frames                     └─► return addresses, leaf first, end to end
//! ```
//!
//! A stack is written into `records` and `frames` first and published by one compare-and-swap in `index`. Two
//! threads that add the same stack at once both write it; the one that loses the swap uses the winner's and its own
//! record stays unused, which costs a place and no count.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::hash_stack;
use crate::profile::Sums;
use crate::system::{MmapSlice, Zeroed};

/// The number of a stack in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StackId(pub(crate) u32);

/// Where samples go whose stack did not fit: they count, with no frames.
pub(crate) const OVERFLOW: StackId = StackId(0);

/// Slots of the index' first part. Stacks are scattered over all of a table, and most programs have some thousands: in the second
/// part alone, each would touch a page of its own.
const FIRST_SLOTS: usize = 1 << 14;

/// How many slots of the first part are looked at: a cache line's worth, as it may be full.
const FIRST_PROBES: usize = 8;

/// How many slots of the second part are looked at. At half load a run of this length does not happen by chance.
const PROBES: usize = 256;

/// Estimates are summed as integers, rounded up, so that what is in use never exceeds what was allocated: bytes whole,
/// of which a sample stands for at least R; objects in units of 2^-12, of which 64 bits hold 4·10^15.
const OBJECT_FRACTION: u64 = 4096;

/// Of most systems; where pages are larger, more is resident than the estimate says.
const PAGE_BYTES: f64 = 4096.0;

const RECORDS_PER_PAGE: usize = PAGE_BYTES as usize / size_of::<Record>();

/// Room for the frames of a stack, on average.
const FRAMES_PER_STACK: usize = 64;

/// One stack.
#[repr(align(64))]
struct Record {
    /// `first frame << 16 | depth`.
    span: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    estimated_objects: AtomicU64,
    estimated_bytes: AtomicU64,
    /// Of those that were freed.
    lifetimes_millis: AtomicU64,
}

// SAFETY: six atomic integers, of which all-zero is a valid value; no Drop.
unsafe impl Zeroed for Record {}

/// All stacks that were ever sampled, with what each allocated in all.
pub(crate) struct StackTable {
    index: MmapSlice<AtomicU64>,
    records: MmapSlice<Record>,
    frames: MmapSlice<AtomicU64>,
    next_record: AtomicU64,
    next_frame: AtomicU64,
    overflowed: AtomicU64,
}

impl StackTable {
    /// A table for `stacks` stacks of [`FRAMES_PER_STACK`] frames on average.
    pub(crate) fn new(stacks: usize) -> io::Result<Self> {
        let stacks = stacks.max(2);
        Ok(Self {
            index: MmapSlice::new(FIRST_SLOTS + (stacks * 2).next_power_of_two())?,
            records: MmapSlice::new(stacks)?,
            frames: MmapSlice::new(stacks * FRAMES_PER_STACK)?,
            next_record: AtomicU64::new(u64::from(OVERFLOW.0) + 1),
            next_frame: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
        })
    }

    /// The number of `frames`, given at its first sight; [`OVERFLOW`] when there is no more room.
    pub(crate) fn intern(&self, frames: &[u64]) -> StackId {
        // As deep as a record can say.
        let frames = frames.get(..0xffff).unwrap_or(frames);
        let hash = hash_stack(frames);
        let tag = hash >> 32;
        let mut added = None;
        for slot in self.slots(hash) {
            let mut entry = slot.load(Ordering::Acquire);
            if entry == 0 {
                let Some(id) = added.or_else(|| self.append(frames)) else { break };
                added = Some(id);
                let new = tag << 32 | u64::from(id.0);
                match slot.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return id,
                    Err(winner) => entry = winner,
                }
            }
            let id = StackId(entry as u32);
            if entry >> 32 == tag && self.matches(id, frames) {
                return id;
            }
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        OVERFLOW
    }

    /// Where a stack of this hash may be, in the order in which all threads look: it is in the first slot that was free.
    fn slots(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let (first, second) = self.index.split_at_checked(FIRST_SLOTS).unwrap_or_default();
        let at =
            move |probe: usize, part: &[AtomicU64]| (hash as usize).wrapping_add(probe) & part.len().wrapping_sub(1);
        let in_first = (0..FIRST_PROBES).filter_map(move |probe| first.get(at(probe, first)));
        in_first.chain((0..PROBES).filter_map(move |probe| second.get(at(probe, second))))
    }

    /// The number of the stack of `frames`, if it has one.
    pub(crate) fn find(&self, frames: &[crate::profile::ReturnAddress]) -> Option<StackId> {
        let plain: Vec<u64> = frames.iter().map(|frame| frame.0).collect();
        let hash = hash_stack(&plain);
        let tag = hash >> 32;
        self.slots(hash)
            .map(|slot| slot.load(Ordering::Acquire))
            .take_while(|entry| *entry != 0)
            .map(|entry| (entry >> 32, StackId(entry as u32)))
            .find(|(found, id)| *found == tag && self.matches(*id, &plain))
            .map(|(_, id)| id)
    }

    /// Writes a record that nobody can find yet.
    fn append(&self, frames: &[u64]) -> Option<StackId> {
        // Looked at before the counter moves, so that a full table does not count on until it wraps.
        if self.next_record.load(Ordering::Relaxed) >= self.records.len() as u64
            || self.next_frame.load(Ordering::Relaxed) + frames.len() as u64 > self.frames.len() as u64
        {
            return None;
        }
        let first = self.next_frame.fetch_add(frames.len() as u64, Ordering::Relaxed);
        let room = self.frames.get(first as usize..)?.get(..frames.len())?;
        let id = self.next_record.fetch_add(1, Ordering::Relaxed);
        let record = self.records.get(id as usize)?;
        for (slot, &frame) in room.iter().zip(frames) {
            slot.store(frame, Ordering::Relaxed);
        }
        record.span.store(first << 16 | frames.len() as u64 & 0xffff, Ordering::Relaxed);
        Some(StackId(id as u32))
    }

    fn matches(&self, id: StackId, frames: &[u64]) -> bool {
        let found = self.span(id);
        found.len() == frames.len()
            && found.iter().zip(frames).all(|(slot, &frame)| slot.load(Ordering::Relaxed) == frame)
    }

    fn span(&self, id: StackId) -> &[AtomicU64] {
        let Some(record) = self.records.get(id.0 as usize) else { return &[] };
        let span = record.span.load(Ordering::Relaxed);
        self.frames.get((span >> 16) as usize..).and_then(|rest| rest.get(..(span & 0xffff) as usize)).unwrap_or(&[])
    }

    /// Adds one sample to what the stack allocated in all.
    pub(crate) fn count(&self, id: StackId, sample: &Sums) {
        let Some(record) = self.records.get(id.0 as usize) else { return };
        record.bytes.fetch_add(sample.bytes, Ordering::Relaxed);
        let objects = (sample.estimated_objects * OBJECT_FRACTION as f64).ceil() as u64;
        record.estimated_objects.fetch_add(objects, Ordering::Relaxed);
        record.estimated_bytes.fetch_add(sample.estimated_bytes.ceil() as u64, Ordering::Relaxed);
        // Last, and released: whoever sees the count sees a record that is whole.
        record.objects.fetch_add(sample.objects, Ordering::Release);
    }

    /// Notes that an object of this stack was freed after `millis` milliseconds.
    pub(crate) fn note_lifetime(&self, id: StackId, millis: u64) {
        let Some(record) = self.records.get(id.0 as usize) else { return };
        record.lifetimes_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// The frames of a stack, leaf first; none for [`OVERFLOW`].
    pub(crate) fn frames(&self, id: StackId) -> impl ExactSizeIterator<Item = crate::profile::ReturnAddress> {
        self.span(id).iter().map(|slot| crate::profile::ReturnAddress(slot.load(Ordering::Relaxed)))
    }

    /// What every stack allocated in all, for those that allocated at all.
    pub(crate) fn totals(&self) -> impl Iterator<Item = crate::profile::Totals> {
        let used = self.next_record.load(Ordering::Acquire).min(self.records.len() as u64) as usize;
        // A page of records is asked for at once: one after the other, each would be waited for.
        let is_used =
            |page: &&[Record]| page.iter().fold(0, |any, record| any | record.objects.load(Ordering::Relaxed)) > 0;
        let pages = self.records[..used].chunks(RECORDS_PER_PAGE).zip((0..).step_by(RECORDS_PER_PAGE));
        let records = pages.filter(move |(page, _)| is_used(page)).flat_map(|(page, first)| page.iter().zip(first..));
        records.filter_map(|(record, id): (&Record, usize)| {
            let objects = record.objects.load(Ordering::Acquire);
            (objects > 0).then(|| crate::profile::Totals {
                stack: id as u32,
                objects,
                bytes: record.bytes.load(Ordering::Relaxed),
                // Rounded as what is in use is: then it stays at or above that.
                estimated_objects: {
                    let objects = record.estimated_objects.load(Ordering::Relaxed);
                    objects.saturating_add(OBJECT_FRACTION / 2) / OBJECT_FRACTION
                },
                estimated_bytes: record.estimated_bytes.load(Ordering::Relaxed),
                freed_lifetimes_millis: record.lifetimes_millis.load(Ordering::Relaxed),
            })
        })
    }

    /// Stacks in the table.
    pub(crate) fn len(&self) -> u64 {
        self.next_record.load(Ordering::Relaxed).min(self.records.len() as u64) - 1
    }

    /// How many stacks it can hold.
    pub(crate) fn capacity(&self) -> u64 {
        self.records.len() as u64 - 1
    }

    /// Frames in the table, and how many it can hold.
    pub(crate) fn frame_counts(&self) -> (u64, u64) {
        let limit = self.frames.len() as u64;
        (self.next_frame.load(Ordering::Relaxed).min(limit), limit)
    }

    /// Estimate of the resident bytes, from what is used: records and frames are filled from the start, the index here and
    /// there.
    pub(crate) fn resident_bytes_estimate(&self) -> u64 {
        let records = (self.len() + 1) * size_of::<Record>() as u64;
        let frames = self.frame_counts().0 * size_of::<AtomicU64>() as u64;
        // Of P pages, n slots at random touch P(1 − (1 − 1/P)^n), which is P(1 − e^(−n/P)).
        let touched = |slots: usize, stacks: u64| {
            let pages = (slots * size_of::<AtomicU64>()) as f64 / PAGE_BYTES;
            -(-(stacks as f64) / pages).exp_m1() * pages
        };
        // About what finds no place in the first part.
        let beyond = self.len().saturating_sub(FIRST_SLOTS as u64 * 3 / 4);
        let index = touched(FIRST_SLOTS, self.len()) + touched(self.index.len() - FIRST_SLOTS, beyond);
        records + frames + (index * PAGE_BYTES) as u64
    }

    /// Samples whose stack did not fit.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SampleInterval;

    fn frames(table: &StackTable, id: StackId) -> Vec<u64> {
        table.frames(id).map(|frame| frame.0).collect()
    }

    #[test]
    fn equal_stacks_have_one_number_and_keep_their_frames() {
        let table = StackTable::new(100).unwrap();
        let a = table.intern(&[1, 2, 3]);
        let b = table.intern(&[1, 2]);
        let none = table.intern(&[]);
        assert_eq!(table.intern(&[1, 2, 3]), a);
        let find = |frames: &[u64]| {
            let frames: Vec<_> = frames.iter().map(|frame| crate::profile::ReturnAddress(*frame)).collect();
            table.find(&frames)
        };
        assert_eq!([find(&[1, 2, 3]), find(&[1, 2]), find(&[1]), find(&[])], [Some(a), Some(b), None, Some(none)]);
        assert_eq!(table.intern(&[1, 2]), b);
        assert_eq!(table.intern(&[]), none);
        assert!(a != b && b != none && none != OVERFLOW);
        assert_eq!(frames(&table, a), [1, 2, 3]);
        assert!(frames(&table, none).is_empty());
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let table = StackTable::new(4).unwrap();
        let ids: Vec<_> = (0..10).map(|n| table.intern(&[n])).collect();
        assert_eq!(ids.iter().filter(|&&id| id == OVERFLOW).count(), 7);
        assert_eq!(table.overflowed(), 7);
        assert_eq!(table.len(), table.capacity());
        // Those that did fit are still found.
        assert_eq!(table.intern(&[0]), ids[0]);
    }

    #[test]
    fn a_table_without_room_for_frames_is_full_as_well() {
        let table = StackTable::new(2).unwrap();
        assert_ne!(table.intern(&[7; 2 * FRAMES_PER_STACK]), OVERFLOW);
        let table = StackTable::new(2).unwrap();
        assert_eq!(table.intern(&[7; 2 * FRAMES_PER_STACK + 1]), OVERFLOW);
        assert_eq!(table.overflowed(), 1);
    }

    /// Of a sample that is still alive, no more is in use than was ever allocated, also after rounding.
    #[test]
    fn totals_are_never_below_what_was_counted() {
        for (lg, usable) in [(12, 768), (16, 1536), (19, 16), (19, 1 << 21), (3, 8)] {
            let table = StackTable::new(10).unwrap();
            let id = table.intern(&[1]);
            let sample = SampleInterval::from_lg(lg).unwrap().weigh(usable);
            let mut live = Sums::default();
            for _ in 0..10_000 {
                table.count(id, &sample);
                live += sample;
            }
            let total = table.totals().next().unwrap();
            assert!(total.estimated_bytes as f64 >= live.estimated_bytes, "{lg} {usable}: {total:?} {live:?}");
            assert!(
                total.estimated_objects as f64 >= live.estimated_objects.round(),
                "{lg} {usable}: {total:?} {live:?}"
            );
            assert!(
                total.estimated_objects as f64 <= live.estimated_objects * 1.001,
                "{lg} {usable}: {total:?} {live:?}"
            );
        }
    }

    #[test]
    fn the_estimate_of_its_memory_follows_what_it_holds() {
        let table = StackTable::new(100_000).unwrap();
        assert!(table.resident_bytes_estimate() < 4096);
        // One stack touches one page of the index, and half of the slots nearly all of them.
        table.intern(&[1; 10]);
        assert!((4096..=8192).contains(&table.resident_bytes_estimate()), "{}", table.resident_bytes_estimate());
        let ids: Vec<_> = (0..50_000).map(|n| table.intern(&[n; 10])).collect();
        assert!(!ids.contains(&OVERFLOW));
        let all = 50_000 * (64 + 10 * 8) + table.index.len() as u64 * 8;
        let estimate = table.resident_bytes_estimate();
        assert!((all * 99 / 100..=all + 8192).contains(&estimate), "{estimate} of {all}");
    }

    #[test]
    fn more_stacks_than_the_first_part_holds_are_found() {
        let table = StackTable::new(60_000).unwrap();
        let stack = |n: u64| [n, n * 7, n ^ 0x5555];
        let ids: Vec<_> = (0..50_000).map(|n| table.intern(&stack(n))).collect();
        let first_part = table.index[..FIRST_SLOTS].iter().filter(|slot| slot.load(Ordering::Relaxed) != 0).count();
        assert!((FIRST_SLOTS * 3 / 4..=FIRST_SLOTS).contains(&first_part), "{first_part} of {FIRST_SLOTS}");
        assert!((0..50_000).zip(&ids).all(|(n, id)| table.intern(&stack(n)) == *id));
        assert_eq!((table.len(), table.overflowed()), (50_000, 0));
    }

    #[test]
    fn eight_threads_that_add_the_same_stacks_agree() {
        let table = StackTable::new(10_000).unwrap();
        let sample = SampleInterval::from_lg(0).unwrap().weigh(8);
        let ids: Vec<Vec<StackId>> = std::thread::scope(|scope| {
            let add = || {
                (0..2_000u64)
                    .map(|n| {
                        let id = table.intern(&[n % 500, n % 500 + 1]);
                        table.count(id, &sample);
                        id
                    })
                    .collect()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(add)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|other| *other == ids[0]));
        let totals: Vec<_> = table.totals().collect();
        assert_eq!(totals.len(), 500);
        for total in totals {
            assert_eq!((total.objects, total.bytes), (32, 256));
            assert_eq!((total.estimated_objects, total.estimated_bytes), (32, 256));
        }
    }
}
