//! The live set is exact. With every allocation sampled, eight threads do a million random operations on blocks of
//! their own and of each other, some of these threads ending and being replaced all the while; twenty times they
//! stop, and the live set must be what the test knows to be alive, to the object: each block once, with its address,
//! what was asked for, what it takes and the epoch of its birth, and nothing besides.
//!
//! Each stack is its own object's: calls of different depths lead to the operations, and each object must have those of its own.
//!
//! So must the diffs of each snapshot with all before it: what was born, what was freed and what survived, to the byte.
//!
//! "Nothing besides" can be asked because threads are unsampled by default here and switch sampling on around each
//! operation, so that no allocation of the runtime's or of the test's own books is ever sampled. And because each
//! operation is a sample, the number of samples must be that of the allocations and reallocations.

mod common;

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

use common::{Block, Random, fail_fast, figures, profiler, sampled, step, try_snapshot};
use heapward::{Amount, Grouping, Profiler, Selector};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const LANES: usize = 8;
const CHECKPOINTS: usize = 20;
const OPERATIONS: usize = 1_000_000;
/// What a lane does between two checkpoints.
const ROUND: usize = OPERATIONS / LANES / CHECKPOINTS;
/// How many blocks a lane keeps.
const KEPT: usize = 400;
/// Places where lanes leave blocks for each other.
const PLACES: usize = 256;
/// The largest block, in bytes.
const LARGEST: usize = 2_000_000;

/// A block with what the live set must say of it.
struct Known {
    block: Block,
    /// The epoch in which it was allocated, or reallocated last.
    epoch: u32,
    /// The thread that did that.
    thread: u64,
    /// And by which calls.
    way: Way,
}

/// How an object came to be: the calls above and below are the same for all of one call.
#[derive(Clone, Copy, Debug)]
struct Way {
    call: Call,
    /// So many calls more.
    calls: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Call {
    operation: Operation,
    /// Whether jemalloc is told of an alignment, for which it has other functions.
    with_flags: bool,
    /// In a thread of a thread.
    nested: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Malloc,
    Calloc,
    Realloc,
}

const CALLS: [usize; 4] = [0, 7, 19, 40];

/// One object, as the oracle and the live set both tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Object {
    address: u64,
    requested: u64,
    usable: u64,
    epoch: u32,
}

impl Known {
    fn object(&self) -> Object {
        let Self { block, epoch, .. } = self;
        Object { address: block.address(), requested: block.requested(), usable: block.usable(), epoch: *epoch }
    }
}

/// One of the eight threads, or the threads that take each other's place.
struct Lane {
    random: Random,
    blocks: Vec<Known>,
    nested: bool,
}

#[derive(Default)]
struct Counts {
    allocated: AtomicU64,
    resized_in_place: AtomicU64,
    moved: AtomicU64,
    freed_by_another: AtomicU64,
    threads: AtomicU64,
}

struct World {
    lanes: Vec<Mutex<Lane>>,
    places: Vec<Mutex<Option<Known>>>,
    counts: Counts,
    /// What was alive at each snapshot, with its id.
    snapshots: Mutex<Vec<(u64, Vec<Object>)>>,
    /// Changes only while all threads stand still.
    epoch: AtomicU32,
    barrier: Barrier,
}

#[test]
fn the_live_set_is_what_an_oracle_says() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let world = World {
        lanes: (0..LANES)
            .map(|n| {
                let (random, nested) = (Random::of_thread(n as u64), n >= LANES / 2);
                Mutex::new(Lane { random, blocks: Vec::new(), nested })
            })
            .collect(),
        places: (0..PLACES).map(|_| Mutex::new(None)).collect(),
        counts: Counts::default(),
        snapshots: Mutex::new(Vec::new()),
        epoch: AtomicU32::new(0),
        barrier: Barrier::new(LANES + 1),
    };
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let world = &world;
            scope.spawn(move || world.run(lane));
        }
        for _ in 0..CHECKPOINTS {
            step("running up to a checkpoint");
            world.barrier.wait();
            step("comparing at a checkpoint");
            let alive = world.check(&profiler);
            world.end_epoch(&profiler, alive);
            world.barrier.wait();
        }
    });

    step("freeing everything");
    let counts = &world.counts;
    let [allocated, in_place, moved, by_another, threads] =
        [&counts.allocated, &counts.resized_in_place, &counts.moved, &counts.freed_by_another, &counts.threads]
            .map(|count| count.load(Relaxed));
    println!(
        "{allocated} allocated, {in_place} resized in place, {moved} moved, {by_another} freed by another thread, {threads} threads, {} epochs",
        world.epoch.load(Relaxed)
    );
    let left = world.lanes.into_iter().flat_map(|lane| lane.into_inner().unwrap().blocks);
    let placed = world.places.into_iter().filter_map(|place| place.into_inner().unwrap());
    left.chain(placed).for_each(|known| known.block.free());
    compare(Vec::new(), &profiler);
    let figures = figures(&profiler);
    assert_eq!(figures.samples, allocated + in_place + moved, "each operation is one sample");
    assert_eq!((figures.live_samples, figures.dropped_samples, figures.unknown_frees), (0, 0, 0));
    assert_eq!(figures.dropped_stacks, 0);
    // That it was this that was tried, and not a few kinds of operation only.
    assert!(allocated > 200_000 && in_place > 20_000 && moved > 50_000 && by_another > 50_000 && threads > 1_000);
    assert!(world.epoch.load(Relaxed) > 2, "too few snapshots for a diff that skips one");
    profiler.shutdown();
}

impl World {
    /// A lane's whole life. The first half of the lanes are one thread each; in the others, threads end and are
    /// replaced in the middle of a round, and leave their blocks to the next one.
    fn run(&self, lane: usize) {
        for _ in 0..CHECKPOINTS {
            if lane < LANES / 2 {
                self.operate(lane, ROUND);
            } else {
                let mut left = ROUND;
                while left > 0 {
                    let some = lock(&self.lanes[lane]).random.within(50..700).min(left);
                    std::thread::scope(|scope| scope.spawn(|| self.operate(lane, some)).join()).expect("no panic");
                    left -= some;
                }
            }
            self.barrier.wait();
            // The main thread compares.
            self.barrier.wait();
        }
    }

    /// What one thread does.
    fn operate(&self, lane: usize, operations: usize) {
        let mut lane = lock(&self.lanes[lane]);
        let thread = self.counts.threads.fetch_add(1, Relaxed);
        let epoch = self.epoch.load(Relaxed);
        for _ in 0..operations {
            self.operation(&mut lane, epoch, thread);
        }
    }

    fn operation(&self, Lane { random, blocks, nested }: &mut Lane, epoch: u32, thread: u64) {
        let nested = *nested;
        let choice = random.within(0..100);
        let is_full = blocks.len() >= KEPT;
        let Some(at) = (!blocks.is_empty()).then(|| random.within(0..blocks.len())) else {
            return blocks.push(self.allocate(random, nested, epoch, thread));
        };
        match choice {
            0..35 if !is_full => blocks.push(self.allocate(random, nested, epoch, thread)),
            // The same size class: large blocks stay where they are.
            35..50 => {
                let usable = blocks[at].block.usable() as usize;
                let size = usable - random.within(0..usable / 10 + 1);
                self.resize(&mut blocks[at], size, random, nested, epoch, thread);
            }
            // Smaller: large blocks shrink where they are.
            50..60 => {
                let requested = blocks[at].block.requested() as usize;
                let size = requested - random.within(0..requested / 2 + 1);
                self.resize(&mut blocks[at], size, random, nested, epoch, thread);
            }
            // Back to what it shrank from: large blocks grow where they are if what follows is free.
            60..65 => {
                let size = (blocks[at].block.requested() as usize * 5 / 4).min(LARGEST);
                self.resize(&mut blocks[at], size, random, nested, epoch, thread);
            }
            65..75 => {
                let size = size(random);
                self.resize(&mut blocks[at], size, random, nested, epoch, thread);
            }
            75..85 => {
                let other = lock(&self.places[random.within(0..PLACES)]).replace(blocks.swap_remove(at));
                blocks.extend(other);
            }
            _ => {
                let known = blocks.swap_remove(at);
                self.counts.freed_by_another.fetch_add(u64::from(known.thread != thread), Relaxed);
                sampled(|| known.block.free());
            }
        }
    }

    // Never inlined, so that what calls it makes no difference to the stack's depth.
    #[inline(never)]
    fn allocate(&self, random: &mut Random, nested: bool, epoch: u32, thread: u64) -> Known {
        self.counts.allocated.fetch_add(1, Relaxed);
        let (size, calls) = (size(random), CALLS[random.within(0..CALLS.len())]);
        let (operation, align) = match random.within(0..6) {
            0 => (Operation::Calloc, 8),
            1 => (Operation::Malloc, 1 << random.within(0..14)),
            _ => (Operation::Malloc, 8),
        };
        let mut made = None;
        sampled(|| {
            deep(calls, &mut || {
                made = Some(match operation {
                    Operation::Calloc => Block::zeroed(size),
                    _ => Block::aligned(size, align),
                });
            });
        });
        let block = made.expect("it was made");
        assert!(operation != Operation::Calloc || block.is_zero());
        assert_eq!(block.address() % align as u64, 0);
        let call = Call { operation, with_flags: with_flags(size, align), nested };
        Known { block, epoch, thread, way: Way { call, calls } }
    }

    #[inline(never)]
    fn resize(&self, known: &mut Known, size: usize, random: &mut Random, nested: bool, epoch: u32, thread: u64) {
        let calls = CALLS[random.within(0..CALLS.len())];
        let mut moved = false;
        sampled(|| deep(calls, &mut || moved = known.block.resize(size)));
        if moved {
            self.counts.moved.fetch_add(1, Relaxed);
            self.counts.freed_by_another.fetch_add(u64::from(known.thread != thread), Relaxed);
        } else {
            self.counts.resized_in_place.fetch_add(1, Relaxed);
        }
        known.epoch = epoch;
        known.thread = thread;
        let call = Call { operation: Operation::Realloc, with_flags: with_flags(size, known.block.align()), nested };
        known.way = Way { call, calls };
    }

    /// Compares all that is alive, and gives it. All threads stand still.
    fn check(&self, profiler: &Profiler) -> Vec<Object> {
        let mut expected = Vec::new();
        for lane in &self.lanes {
            expected.extend(lock(lane).blocks.iter().map(Known::object));
        }
        for place in &self.places {
            expected.extend(lock(place).iter().map(Known::object));
        }
        compare(expected.clone(), profiler);
        self.compare_stacks(profiler);
        expected
    }

    /// Each object of a call has the same stack but for the calls more that led to it. All threads stand still.
    fn compare_stacks(&self, profiler: &Profiler) {
        let depths: HashMap<u64, usize> =
            profiler.live_samples().iter().map(|sample| (sample.address, sample.depth)).collect();
        let mut shortest: HashMap<Call, usize> = HashMap::new();
        let mut check = |known: &Known| {
            let Way { call, calls } = known.way;
            let depth = depths[&known.block.address()];
            let without =
                depth.checked_sub(calls).unwrap_or_else(|| panic!("{depth} frames: {call:?} by {calls} more"));
            let expect = *shortest.entry(call).or_insert(without);
            assert_eq!(without, expect, "{depth} frames: {call:?} by {calls} calls more");
        };
        for lane in &self.lanes {
            lock(lane).blocks.iter().for_each(&mut check);
        }
        for place in &self.places {
            lock(place).iter().for_each(&mut check);
        }
        // Of all that there are, but for a calloc with flags: so small ones are seldom.
        assert!(shortest.len() >= 8, "{shortest:?}");
    }

    /// Has a snapshot end the epoch, when it is time for one. It must hold exactly what is alive as well.
    fn end_epoch(&self, profiler: &Profiler, alive: Vec<Object>) {
        let live = profiler.live_samples();
        assert_eq!(live.len(), alive.len());
        let Some(snapshot) = try_snapshot(profiler) else { return };
        assert_eq!(snapshot.sampled_objects, live.len() as u64);
        // A sample of an interval of one byte stands for itself.
        let bytes: u64 = live.iter().map(|object| object.usable).sum();
        assert!((snapshot.live_bytes - bytes as f64).abs() < 1.0, "{} for {bytes}", snapshot.live_bytes);
        let partial = snapshot.partial.expect("this test has only some threads sampled, and that is told");
        assert!(partial.contains("prof_thread_active_init"), "{partial}");
        let mut snapshots = lock(&self.snapshots);
        snapshots.push((snapshot.id, alive));
        for base in 0..snapshots.len() {
            compare_diffs(&snapshots[base..], base as u32, profiler);
        }
        self.epoch.fetch_add(1, Relaxed);
    }
}

/// Compares the diff from the first to the last of `snapshots`, and back. The first ended epoch `epoch`.
fn compare_diffs(snapshots: &[(u64, Vec<Object>)], epoch: u32, profiler: &Profiler) {
    let [(base, before), .., (later, after)] = snapshots else { return };
    let is_old = |object: &&Object| object.epoch <= epoch;
    let survived: Vec<Object> = after.iter().filter(is_old).copied().collect();
    let survivors: HashSet<&Object> = survived.iter().collect();
    let born = after.iter().filter(|object| !is_old(object));
    let freed = before.iter().filter(|object| !survivors.contains(object));
    // What is told as old must have been there.
    assert_eq!(before.len() - freed.clone().count(), survived.len());
    let sums = |objects: &mut dyn Iterator<Item = &Object>| {
        objects.fold((0, 0), |(count, bytes), object| (count + 1, bytes + object.usable))
    };
    let expect = [sums(&mut born.clone()), sums(&mut freed.clone()), sums(&mut survived.iter())];

    let amount = |amount: Amount| {
        for estimate in [amount.bytes, amount.objects] {
            assert_eq!((estimate.low, estimate.high), (estimate.value, estimate.value), "every object is sampled");
        }
        assert_eq!(amount.samples as f64, amount.objects.value);
        (amount.samples, amount.bytes.value as u64)
    };
    let (base, later) = (Selector::Id(*base), Selector::Id(*later));
    let diff = profiler.diff(base, later, Grouping::Site, 3).unwrap();
    let total = diff.total;
    assert_eq!([total.born, total.freed, total.survived].map(amount), expect, "{base} to {later}");
    assert_eq!(total.net.bytes.value, expect[0].1 as f64 - expect[1].1 as f64);
    assert_eq!(amount(total.before), sums(&mut before.iter()));
    assert_eq!(amount(total.after), sums(&mut after.iter()));
    assert!(total.allocated_objects >= Some(expect[0].0) && total.allocated_bytes >= Some(expect[0].1));
    assert_eq!((diff.detection_limit, diff.no_trace), (0, 0));

    let back = profiler.diff(later, base, Grouping::Stack, 3).unwrap();
    let [born, freed, survived] = expect;
    assert_eq!([back.total.born, back.total.freed, back.total.survived].map(amount), [freed, born, survived]);
    assert!(back.remarks.iter().any(|remark| remark.starts_with("read backwards")), "{:?}", back.remarks);
    assert_eq!((back.base.snapshot, back.later.snapshot), (diff.later.snapshot, diff.base.snapshot));
}

/// Does `work` after so many calls.
#[inline(never)]
fn deep(calls: usize, work: &mut dyn FnMut()) {
    match calls {
        0 => work(),
        _ => deep(calls - 1, work),
    }
    // So that the call above is none that ends this one.
    black_box(calls);
}

/// When tikv-jemallocator asks with flags: for what `malloc` does not align by itself.
fn with_flags(size: usize, align: usize) -> bool {
    align > 16 || align > size
}

/// Mostly small, as programs are; some large, which jemalloc resizes in place.
fn size(random: &mut Random) -> usize {
    match random.within(0..100) {
        0..60 => random.within(1..512),
        60..80 => random.within(512..16_384),
        80..97 => random.within(16_384..200_000),
        _ => random.within(200_000..LARGEST),
    }
}

#[track_caller]
fn compare(mut expected: Vec<Object>, profiler: &Profiler) {
    let samples = profiler.live_samples();
    // One frame is what jemalloc is told of all.
    let stackless = samples.iter().filter(|sample| sample.depth <= 1).count();
    assert_eq!(stackless, 0, "of {} samples", samples.len());
    let object = |sample: &heapward::LiveSample| Object {
        address: sample.address,
        requested: sample.requested,
        usable: sample.usable,
        epoch: sample.epoch,
    };
    let mut found: Vec<Object> = samples.iter().map(object).collect();
    expected.sort_unstable();
    found.sort_unstable();
    if expected != found {
        let missing: Vec<_> = expected.iter().filter(|object| !found.contains(object)).collect();
        let wrong: Vec<_> = found.iter().filter(|object| !expected.contains(object)).collect();
        panic!(
            "{} alive, {} in the live set; {} missing or told wrong, such as {:?}; {} that should not be there, such as {:?}",
            expected.len(),
            found.len(),
            missing.len(),
            &missing[..missing.len().min(5)],
            wrong.len(),
            &wrong[..wrong.len().min(5)],
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
