//! All sampled objects that are not yet freed.
//!
//! Sharded by address. A shard's lock is held for one operation of its table, or for one walk over it when a snapshot
//! is taken; what happens under it allocates only mapped memory.
//!
//! One address can have two entries for a moment, because jemalloc tells of a reallocation's new block before the
//! old one (in place: the same address), and because a block's address can be handed out again before its free is
//! told. Entries of one address therefore keep their order, and a free takes away the oldest of its size.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::hash::hash_address;
use super::live_copy::LiveCopy;
use super::stack_table::StackId;
use super::usable_size::{SmallClass, UsableSize};
use crate::profile::{SampleInterval, Sums};
use crate::system::MmapAllocator;

/// Enough that threads seldom meet, few enough that a walk over an empty set is nothing.
const SHARDS: usize = 64;

/// One sampled object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveObject {
    pub(crate) address: u64,
    /// What was asked for, in bytes.
    pub(crate) requested: u64,
    /// What it takes: the size class, in bytes.
    pub(crate) usable: u64,
    /// Milliseconds since the collector started.
    pub(crate) birth_millis: u64,
    pub(crate) stack: StackId,
    /// The epoch it was born in.
    pub(crate) epoch: u32,
}

/// What is known of a sample when it is added; the set stamps the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewObject {
    pub(crate) address: u64,
    pub(crate) requested: u64,
    pub(crate) usable: u64,
    pub(crate) birth_millis: u64,
    pub(crate) stack: StackId,
    /// What it stands for: [`LiveSet::weigh`].
    pub(crate) weight: Sums,
}

/// An object as the table has it: half a cache line.
#[derive(Debug)]
struct Entry {
    address: u64,
    /// `milliseconds << 16 | bytes that were not asked for`. More than 64 KiB of those are told as so many: by default
    /// jemalloc rounds up to pages at most.
    birth_and_unused: u64,
    usable: UsableSize,
    stack: StackId,
    epoch: u32,
    /// Rises with every entry of the shard, and begins anew after 2^32.
    order: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    fn object(&self) -> LiveObject {
        let usable = self.usable.bytes();
        LiveObject {
            address: self.address,
            requested: usable.saturating_sub(self.birth_and_unused & 0xffff),
            usable,
            birth_millis: self.birth_and_unused >> 16,
            stack: self.stack,
            epoch: self.epoch,
        }
    }
}

struct Shard {
    table: HashTable<Entry, MmapAllocator>,
    next_order: u32,
    /// Objects that came here, those that found no room as well.
    samples: u64,
    /// How many objects of each small size class are in the table.
    small: [u32; SmallClass::COUNT],
    /// What the others in the table are.
    large: Sums,
}

/// What an object of the table counts for.
enum Share {
    Small(SmallClass),
    Large(Sums),
}

impl Shard {
    fn add(&mut self, share: &Share) {
        match share {
            Share::Small(class) => self.count(*class, 1),
            Share::Large(sums) => self.large += *sums,
        }
    }

    fn take_away(&mut self, share: &Share) {
        match share {
            Share::Small(class) => self.count(*class, u32::MAX),
            Share::Large(sums) => self.large = self.large - *sums,
        }
    }

    fn count(&mut self, class: SmallClass, change: u32) {
        if let Some(count) = self.small.get_mut(class.number()) {
            *count = count.wrapping_add(change);
        }
    }
}

/// A shard on cache lines of its own: the locks of neighbours do not disturb each other.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// The live set.
pub(crate) struct LiveSet {
    interval: SampleInterval,
    /// Of one object of each small size class: most objects are of few sizes, and an exponential takes long.
    small_weights: [Sums; SmallClass::COUNT],
    shards: [Padded; SHARDS],
    capacity_per_shard: usize,
    epoch: AtomicU32,
    dropped_objects: AtomicU64,
    dropped_bytes: AtomicU64,
    unknown_frees: AtomicU64,
}

impl LiveSet {
    /// A set of about `capacity` objects at most: a shard that has its share drops, and the shares fill unevenly.
    pub(crate) fn new(capacity: usize, interval: SampleInterval) -> Self {
        let shard = || Shard {
            table: HashTable::new_in(MmapAllocator),
            next_order: 0,
            samples: 0,
            small: [0; SmallClass::COUNT],
            large: Sums::default(),
        };
        let mut small_weights = [Sums::default(); SmallClass::COUNT];
        for (weight, class) in small_weights.iter_mut().zip(SmallClass::all()) {
            *weight = interval.weigh(class.usable());
        }
        Self {
            interval,
            small_weights,
            shards: std::array::from_fn(|_| Padded(Mutex::new(shard()))),
            capacity_per_shard: capacity.div_ceil(SHARDS).max(1),
            epoch: AtomicU32::new(0),
            dropped_objects: AtomicU64::new(0),
            dropped_bytes: AtomicU64::new(0),
            unknown_frees: AtomicU64::new(0),
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The top bits: hashbrown uses the low ones and the top seven, which may repeat within a shard.
        let index = (hash >> 48) as usize & (SHARDS - 1);
        lock(&self.shards[index].0)
    }

    /// What a sampled object of `usable` bytes stands for.
    pub(crate) fn weigh(&self, usable: u64) -> Sums {
        let known = SmallClass::of(usable).and_then(|class| self.small_weights.get(class.number()));
        known.copied().unwrap_or_else(|| self.interval.weigh(usable))
    }

    /// Weighed before the lock is taken: an exponential takes too long under it.
    fn share(&self, usable: u64) -> Share {
        SmallClass::of(usable).map_or_else(|| Share::Large(self.interval.weigh(usable)), Share::Small)
    }

    /// Adds an object. One that does not fit is counted with its bytes.
    pub(crate) fn insert(&self, new: &NewObject) {
        let hash = hash_address(new.address);
        let usable = UsableSize::of(new.usable);
        let share = SmallClass::of(new.usable).map_or(Share::Large(new.weight), Share::Small);
        let mut shard = self.shard(hash);
        shard.samples += 1;
        let full = shard.table.len() >= self.capacity_per_shard
            || shard.table.try_reserve(1, |entry| hash_address(entry.address)).is_err();
        let (false, Some(usable)) = (full, usable) else {
            drop(shard);
            self.dropped_objects.fetch_add(1, Ordering::Relaxed);
            self.dropped_bytes.fetch_add(new.usable, Ordering::Relaxed);
            return;
        };
        let order = shard.next_order;
        shard.next_order = order.wrapping_add(1);
        let unused = new.usable.saturating_sub(new.requested).min(0xffff);
        let entry = Entry {
            address: new.address,
            birth_and_unused: new.birth_millis << 16 | unused,
            usable,
            stack: new.stack,
            // Read under the lock: a snapshot advances the epoch before it walks the shards, so whatever is added
            // to a shard after the walk was there is of the new epoch.
            epoch: self.epoch.load(Ordering::Relaxed),
            order,
        };
        shard.add(&share);
        shard.table.insert_unique(hash, entry, |entry| hash_address(entry.address));
    }

    /// Takes away the oldest object of this address and usable size, and returns it. One that was never added is
    /// counted.
    pub(crate) fn remove(&self, address: u64, usable: u64) -> Option<LiveObject> {
        let hash = hash_address(address);
        let (size, share) = (UsableSize::of(usable), self.share(usable));
        let mut shard = self.shard(hash);
        let next_order = shard.next_order;
        let age = |entry: &Entry| next_order.wrapping_sub(entry.order);
        let is_it = |entry: &Entry| entry.address == address && Some(entry.usable) == size;
        let oldest = shard.table.iter_hash(hash).filter(|entry| is_it(entry)).map(age).max();
        let found = oldest
            .and_then(|oldest| shard.table.find_entry(hash, |entry| is_it(entry) && age(entry) == oldest).ok())
            .map(|entry| entry.remove().0);
        match found {
            Some(entry) => {
                shard.take_away(&share);
                Some(entry.object())
            }
            None => {
                drop(shard);
                self.unknown_frees.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// The epoch that objects are born in now.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Ends the current epoch and begins the next; returns the one that ended.
    pub(crate) fn advance_epoch(&self) -> u32 {
        self.epoch.fetch_add(1, Ordering::SeqCst)
    }

    /// Shows every object to `visit`, a shard at a time: `before` first, with no lock held, and the number of objects
    /// that the shard is about to show; it makes room. `visit` runs under the shard's lock and must not allocate.
    fn walk<S>(&self, state: &mut S, mut before: impl FnMut(&mut S, usize), mut visit: impl FnMut(&mut S, &Entry)) {
        for Padded(shard) in &self.shards {
            let mut room = 0;
            loop {
                let guard = lock(shard);
                let len = guard.table.len();
                if len <= room {
                    guard.table.iter().for_each(|entry| visit(state, entry));
                    break;
                }
                drop(guard);
                // An eighth more than is there now: a shard that grows faster than this loop turns is no heap.
                room = len + len / 8 + 16;
                before(state, room);
            }
        }
    }

    /// What a snapshot is made from.
    pub(super) fn copy(&self, copy: &mut LiveCopy<'_>) {
        self.walk(copy, LiveCopy::next_shard, |copy, entry| copy.add(entry.stack, entry.epoch, entry.usable));
    }

    /// Every object of the set.
    pub(super) fn objects(&self) -> Vec<LiveObject> {
        let mut objects = Vec::new();
        self.walk(&mut objects, |objects, room| objects.reserve(room), |objects, entry| objects.push(entry.object()));
        objects
    }

    /// Sums over the objects of the set, and over those of small size classes; none of them is looked at.
    pub(crate) fn sums(&self) -> [Sums; 2] {
        let mut counts = [0u32; SmallClass::COUNT];
        let mut large = Sums::default();
        for Padded(shard) in &self.shards {
            let shard = lock(shard);
            counts.iter_mut().zip(&shard.small).for_each(|(sum, &count)| *sum += count);
            large += shard.large;
        }
        let counted = self.small_weights.iter().zip(counts).filter(|(_, count)| *count > 0);
        let small = counted.fold(Sums::default(), |sum, (weight, count)| sum + weight.times(count));
        [small + large, small]
    }

    /// How many objects came so far, those that found no room as well.
    pub(crate) fn samples(&self) -> u64 {
        self.shards.iter().map(|Padded(shard)| lock(shard).samples).sum()
    }

    /// Objects in the set.
    pub(crate) fn len(&self) -> u64 {
        self.shards.iter().map(|Padded(shard)| lock(shard).table.len() as u64).sum()
    }

    /// About how many objects it can hold.
    pub(crate) fn capacity(&self) -> u64 {
        (self.capacity_per_shard * SHARDS) as u64
    }

    /// Estimate of the resident bytes of its tables. What they span: objects are scattered over all of it, and a table does
    /// not shrink.
    pub(crate) fn resident_bytes_estimate(&self) -> u64 {
        self.shards.iter().map(|Padded(shard)| lock(shard).table.allocation_size() as u64).sum()
    }

    /// Samples that did not fit, and their usable bytes.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        (self.dropped_objects.load(Ordering::Relaxed), self.dropped_bytes.load(Ordering::Relaxed))
    }

    /// Frees of objects that were not in the set.
    pub(crate) fn unknown_frees(&self) -> u64 {
        self.unknown_frees.load(Ordering::Relaxed)
    }
}

/// std's lock is a futex on Linux: it allocates nothing. Nothing panics under it; if something did, the table would
/// still be whole, as each operation on it is.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(address: u64, usable: u64, stack: u32) -> NewObject {
        let weight = interval().weigh(usable);
        NewObject { address, requested: usable - 1, usable, birth_millis: 5, stack: StackId(stack), weight }
    }

    fn interval() -> SampleInterval {
        SampleInterval::from_lg(19).unwrap()
    }

    fn set(capacity: usize) -> LiveSet {
        LiveSet::new(capacity, interval())
    }

    #[test]
    fn each_size_weighs_what_its_interval_says() {
        let set = set(1);
        for usable in [8, 16, 48, 112, 14 << 10, 16 << 10, 3, 1 << 30, 12_345] {
            assert_eq!(set.weigh(usable), interval().weigh(usable), "{usable}");
        }
    }

    fn contents(set: &LiveSet) -> Vec<(u64, u64, u32, u32)> {
        let object = |o: LiveObject| {
            assert_eq!((o.requested, o.birth_millis), (o.usable - 1, 5));
            (o.address, o.usable, o.stack.0, o.epoch)
        };
        let mut all: Vec<_> = set.objects().into_iter().map(object).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_free_takes_the_oldest_entry_of_its_address() {
        let set = set(1000);
        set.insert(&new(4096, 64, 1));
        set.insert(&new(4096, 64, 2));
        set.insert(&new(4096, 64, 3));
        set.remove(4096, 64);
        assert_eq!(contents(&set), [(4096, 64, 2, 0), (4096, 64, 3, 0)]);
        set.remove(4096, 64);
        assert_eq!(contents(&set), [(4096, 64, 3, 0)]);
    }

    /// A reallocation in place: the new size is told before the old one is freed.
    #[test]
    fn a_free_takes_the_entry_of_its_size() {
        let set = set(1000);
        set.insert(&new(4096, 128, 2));
        set.remove(4096, 64);
        assert_eq!(contents(&set), [(4096, 128, 2, 0)], "an object whose sample was dropped");
        assert_eq!(set.unknown_frees(), 1);
    }

    #[test]
    fn objects_that_do_not_fit_are_counted_with_their_bytes() {
        let set = set(64);
        for n in 0..1000 {
            set.insert(&new(n * 4096, 112, 1));
        }
        let (objects, bytes) = set.dropped();
        assert_eq!(set.len() + objects, 1000);
        assert_eq!(bytes, objects * 112);
        assert_eq!(set.samples(), 1000);
        assert_eq!(set.sums()[0].objects, set.len());
        assert!(set.len() <= set.capacity());
    }

    #[test]
    fn what_has_no_size_is_dropped() {
        let set = set(64);
        set.insert(&new(4096, (1 << 31) + 1, 1));
        assert_eq!((set.len(), set.dropped(), set.samples()), (0, (1, (1 << 31) + 1), 1));
        set.remove(4096, (1 << 31) + 1);
        assert_eq!(set.unknown_frees(), 1);
        assert_eq!(set.sums(), [Sums::default(); 2]);
    }

    #[test]
    fn the_sums_follow_what_comes_and_goes() {
        let set = set(1000);
        let sizes = [16, 4096, 16, 1 << 30, 48, 20 << 10, 14336, 16 << 10];
        sizes.iter().zip(1..).for_each(|(&usable, n)| set.insert(&new(n << 12, usable, 1)));
        for (gone, n) in [16, 4096, 16, 1 << 30].into_iter().zip(1..) {
            set.remove(n << 12, gone);
            // It is gone already.
            set.remove(n << 12, gone);
        }
        let sum =
            |sizes: &[u64]| sizes.iter().map(|&usable| set.interval.weigh(usable)).fold(Sums::default(), |a, b| a + b);
        let [all, small] = set.sums();
        assert_eq!(small, sum(&[48, 14336]));
        let expect = sum(&[48, 14336, 20 << 10, 16 << 10]);
        assert_eq!((all.objects, all.bytes), (expect.objects, expect.bytes));
        assert!((all.estimated_bytes / expect.estimated_bytes - 1.0).abs() < 1e-9, "{all:?} {expect:?}");
        assert!((all.variance_bytes / expect.variance_bytes - 1.0).abs() < 1e-6, "{all:?} {expect:?}");
        [48, 20 << 10, 14336, 16 << 10].into_iter().zip(5..).for_each(|(usable, n)| {
            set.remove(n << 12, usable);
        });
        assert_eq!(set.sums(), [Sums::default(); 2]);
        assert_eq!(set.samples(), 8);
    }

    #[test]
    fn what_was_not_asked_for_is_told_up_to_64_kib() {
        let set = set(1000);
        for (requested, usable) in [(1, 16), (4097, 8192), (1 << 20, 5 << 18)] {
            set.insert(&NewObject { requested, ..new(1 << 30 | usable, usable, 1) });
        }
        let mut asked: Vec<u64> = set.objects().into_iter().map(|object| object.requested).collect();
        asked.sort_unstable();
        assert_eq!(asked, [1, 4097, (5 << 18) - 0xffff]);
    }

    /// The order begins anew after 2^32, between two entries of one address.
    #[test]
    fn the_oldest_is_found_when_the_order_begins_anew() {
        let set = set(1000);
        set.shards.iter().for_each(|Padded(shard)| lock(shard).next_order = u32::MAX);
        set.insert(&new(4096, 64, 1));
        set.insert(&new(4096, 64, 2));
        set.remove(4096, 64);
        assert_eq!(contents(&set), [(4096, 64, 2, 0)]);
    }

    #[test]
    fn the_estimate_of_its_memory_follows_what_it_holds() {
        let set = set(100_000);
        assert_eq!(set.resident_bytes_estimate(), 0);
        (0..50_000).for_each(|n| set.insert(&new(n * 4096, 64, 1)));
        let held = 50_000 * size_of::<Entry>() as u64;
        let estimate = set.resident_bytes_estimate();
        // hashbrown's tables are between 7/16 and 7/8 full.
        assert!((held * 8 / 7..held * 3).contains(&estimate), "{estimate} of {held}");
        (0..50_000).for_each(|n| {
            set.remove(n * 4096, 64);
        });
        assert_eq!(set.resident_bytes_estimate(), estimate, "what is freed stays in memory");
    }

    #[test]
    fn an_object_is_born_in_the_epoch_of_its_insertion() {
        let set = set(1000);
        set.insert(&new(4096, 64, 1));
        assert_eq!(set.advance_epoch(), 0);
        set.insert(&new(8192, 64, 1));
        assert_eq!(contents(&set), [(4096, 64, 1, 0), (8192, 64, 1, 1)]);
        assert_eq!(set.epoch(), 1);
    }
}
