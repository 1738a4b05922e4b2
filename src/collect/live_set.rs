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
use super::stack_table::StackId;
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
}

#[derive(Debug)]
struct Entry {
    object: LiveObject,
    /// Rises with every entry of the shard.
    order: u64,
}

struct Shard {
    table: HashTable<Entry, MmapAllocator>,
    next_order: u64,
}

/// A shard on cache lines of its own: the locks of neighbours do not disturb each other.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// The live set.
pub(crate) struct LiveSet {
    shards: [Padded; SHARDS],
    capacity_per_shard: usize,
    epoch: AtomicU32,
    dropped_objects: AtomicU64,
    dropped_bytes: AtomicU64,
    unknown_frees: AtomicU64,
}

impl LiveSet {
    /// A set of about `capacity` objects at most: a shard that has its share drops, and the shares fill unevenly.
    pub(crate) fn new(capacity: usize) -> Self {
        let shard = || Padded(Mutex::new(Shard { table: HashTable::new_in(MmapAllocator), next_order: 0 }));
        Self {
            shards: std::array::from_fn(|_| shard()),
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

    /// Adds an object. One that does not fit is counted with its bytes.
    pub(crate) fn insert(&self, new: &NewObject) {
        let hash = hash_address(new.address);
        let mut shard = self.shard(hash);
        let full = shard.table.len() >= self.capacity_per_shard
            || shard.table.try_reserve(1, |entry| hash_address(entry.object.address)).is_err();
        if full {
            drop(shard);
            self.dropped_objects.fetch_add(1, Ordering::Relaxed);
            self.dropped_bytes.fetch_add(new.usable, Ordering::Relaxed);
            return;
        }
        let order = shard.next_order;
        shard.next_order = order.wrapping_add(1);
        let object = LiveObject {
            address: new.address,
            requested: new.requested,
            usable: new.usable,
            birth_millis: new.birth_millis,
            stack: new.stack,
            // Read under the lock: a snapshot advances the epoch before it walks the shards, so whatever is added
            // to a shard after the walk was there is of the new epoch.
            epoch: self.epoch.load(Ordering::Relaxed),
        };
        shard.table.insert_unique(hash, Entry { object, order }, |entry| hash_address(entry.object.address));
    }

    /// Takes away the oldest object of this address and usable size, and returns it. One that was never added is
    /// counted.
    pub(crate) fn remove(&self, address: u64, usable: u64) -> Option<LiveObject> {
        let hash = hash_address(address);
        let mut shard = self.shard(hash);
        let is_it = |entry: &Entry| entry.object.address == address && entry.object.usable == usable;
        let oldest = shard.table.iter_hash(hash).filter(|entry| is_it(entry)).map(|entry| entry.order).min();
        let found =
            oldest.and_then(|order| shard.table.find_entry(hash, |entry| is_it(entry) && entry.order == order).ok());
        match found {
            Some(entry) => Some(entry.remove().0.object),
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
    pub(crate) fn walk<S>(
        &self,
        state: &mut S,
        mut before: impl FnMut(&mut S, usize),
        mut visit: impl FnMut(&mut S, &LiveObject),
    ) {
        for Padded(shard) in &self.shards {
            let mut room = 0;
            loop {
                let guard = lock(shard);
                let len = guard.table.len();
                if len <= room {
                    guard.table.iter().for_each(|entry| visit(state, &entry.object));
                    break;
                }
                drop(guard);
                // An eighth more than is there now: a shard that grows faster than this loop turns is no heap.
                room = len + len / 8 + 16;
                before(state, room);
            }
        }
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
        NewObject { address, requested: usable - 1, usable, birth_millis: 5, stack: StackId(stack) }
    }

    fn contents(set: &LiveSet) -> Vec<(u64, u64, u32, u32)> {
        let mut all = Vec::new();
        set.walk(
            &mut all,
            |all, room| all.reserve(room),
            |all, o| {
                assert_eq!((o.requested, o.birth_millis), (o.usable - 1, 5));
                all.push((o.address, o.usable, o.stack.0, o.epoch));
            },
        );
        all.sort_unstable();
        all
    }

    #[test]
    fn a_free_takes_the_oldest_entry_of_its_address() {
        let set = LiveSet::new(1000);
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
        let set = LiveSet::new(1000);
        set.insert(&new(4096, 128, 2));
        set.remove(4096, 64);
        assert_eq!(contents(&set), [(4096, 128, 2, 0)], "an object whose sample was dropped");
        assert_eq!(set.unknown_frees(), 1);
    }

    #[test]
    fn objects_that_do_not_fit_are_counted_with_their_bytes() {
        let set = LiveSet::new(64);
        for n in 0..1000 {
            set.insert(&new(n * 4096, 100, 1));
        }
        let (objects, bytes) = set.dropped();
        assert_eq!(set.len() + objects, 1000);
        assert_eq!(bytes, objects * 100);
        assert!(set.len() <= set.capacity());
    }

    #[test]
    fn the_estimate_of_its_memory_follows_what_it_holds() {
        let set = LiveSet::new(100_000);
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
        let set = LiveSet::new(1000);
        set.insert(&new(4096, 64, 1));
        assert_eq!(set.advance_epoch(), 0);
        set.insert(&new(8192, 64, 1));
        assert_eq!(contents(&set), [(4096, 64, 1, 0), (8192, 64, 1, 1)]);
        assert_eq!(set.epoch(), 1);
    }
}
