//! What others wait for while snapshots are taken.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use heapward::{ByteSize, Profiler};
use serde::{Deserialize, Serialize};

use crate::chain::call;
use crate::common::{Result, median};
use crate::heap::{heap, set};
use crate::histogram::{Histogram, Quantiles};
use crate::subject::{Subject, dump, dump_profile};

/// From the start of one snapshot to that of the next.
const EVERY: Duration = Duration::from_millis(100);
/// So large that each is sampled, whatever the interval; nobody writes to them, so they are not in memory.
const LARGE: usize = 64 << 10;
/// Objects that a busy thread holds.
const HELD: usize = 4096;
/// Call chains that a busy thread allocates from, and how many objects it allocates at the end of one.
const PATHS: u32 = 1 << 14;
const AT_ONCE: usize = 32;

/// Two busy threads.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disturbed {
    pub allocations: Quantiles,
    /// Those during which the scheduler gave the core to no other thread.
    pub undisturbed: Quantiles,
    pub frees: Quantiles,
    pub snapshots: u64,
    /// In the median.
    pub snapshot_nanos: u64,
}

/// A thread that forks and starts threads, beside a busy one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Forked {
    pub forks: Quantiles,
    pub spawns: Quantiles,
    pub snapshots: u64,
    pub snapshot_nanos: u64,
}

/// Each allocation and each free of two busy threads.
pub fn disturb(subject: Subject, stacks: u32, time: Duration) -> Result<Disturbed> {
    let (busy, (snapshots, snapshot_nanos)) = beside(subject, stacks, time, 2, |_| Ok(()))?;
    Ok(Disturbed {
        allocations: busy.allocations.quantiles(),
        undisturbed: busy.undisturbed.quantiles(),
        frees: busy.frees.quantiles(),
        snapshots,
        snapshot_nanos,
    })
}

/// Each `fork`, and each start and end of a thread.
pub fn fork(subject: Subject, stacks: u32, time: Duration) -> Result<Forked> {
    let (mut forks, mut spawns) = (Histogram::new(), Histogram::new());
    let (_, (snapshots, snapshot_nanos)) = beside(subject, stacks, time, 1, |stop| {
        while !stop.load(Relaxed) {
            let begun = Instant::now();
            // SAFETY: the child does nothing but to end, which a signal handler may do as well.
            let child = match unsafe { libc::fork() } {
                0 => unsafe { libc::_exit(0) },
                child => child,
            };
            forks.record(begun.elapsed().as_nanos() as u64);
            let mut status = 0;
            // SAFETY: waits for the child that was just made; the place for its status is ours.
            if child < 0 || unsafe { libc::waitpid(child, &mut status, 0) } != child || status != 0 {
                return Err("a child was not forked or did not end well".into());
            }
            let begun = Instant::now();
            // Allocates as threads do: some of it new to the profiler.
            std::thread::spawn(|| drop(black_box(vec![0u8; LARGE]))).join().map_err(|_| "a thread panicked")?;
            spawns.record(begun.elapsed().as_nanos() as u64);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    })?;
    Ok(Forked { forks: forks.quantiles(), spawns: spawns.quantiles(), snapshots, snapshot_nanos })
}

/// How many were taken, and what one took in the median.
type Taken = (u64, u64);

/// Runs `busy` busy threads and `work` for `time`, with a snapshot every [`EVERY`].
fn beside(
    subject: Subject,
    stacks: u32,
    time: Duration,
    busy: usize,
    work: impl FnOnce(&AtomicBool) -> Result<()>,
) -> Result<(Calls, Taken)> {
    let profiler = profiler(subject)?;
    // On a thread of its own, which `heap` leaves unsampled; this one must not be.
    let kept = std::thread::spawn(move || heap(stacks, || Vec::<u8>::with_capacity(LARGE)))
        .join()
        .map_err(|_| "the maker of the heap panicked")??;
    let before = newest(&profiler);
    let (stop, begin) = (AtomicBool::new(false), Barrier::new(busy + 1));
    let (calls, taken) = std::thread::scope(|scope| -> Result<_> {
        let busy: Vec<_> = (0..busy).map(|_| scope.spawn(|| allocate(&begin, &stop))).collect();
        let taker = scope.spawn(|| take(subject, &stop));
        let clock = scope.spawn(|| {
            std::thread::sleep(time);
            stop.store(true, Relaxed);
        });
        begin.wait();
        let worked = work(&stop);
        clock.join().map_err(|_| "the clock panicked")?;
        let mut all = Calls::new();
        for thread in busy {
            let calls = thread.join().map_err(|_| "a busy thread panicked")?;
            all.allocations.merge(&calls.allocations);
            all.undisturbed.merge(&calls.undisturbed);
            all.frees.merge(&calls.frees);
        }
        worked?;
        Ok((all, taker.join().map_err(|_| "the taker of snapshots panicked")??))
    })?;
    let mut taken: Vec<u64> = taken;
    if let Some(profiler) = &profiler {
        let snapshots = profiler.snapshots();
        let new = snapshots.iter().filter(|snapshot| snapshot.id > before);
        taken.extend(new.map(|snapshot| snapshot.duration.as_nanos() as u64));
        // A bar is not met by taking less.
        let complete = snapshots.last().is_none_or(|last| last.sampled_objects >= u64::from(stacks));
        if subject == Subject::Heapward && (!complete || taken.is_empty()) {
            return Err("no snapshot, or one that has not all stacks".into());
        }
    }
    drop(kept);
    let count = taken.len() as u64;
    Ok((calls, (count, if count > 0 { median(taken.into_iter()) } else { 0 })))
}

/// Heapward, where it is the subject, with or without snapshots.
fn profiler(subject: Subject) -> Result<Option<Profiler>> {
    let threshold = match subject {
        Subject::Heapward => ByteSize::bytes(1),
        Subject::Nothing => ByteSize::gib(1 << 20),
        Subject::Jemalloc | Subject::Dump | Subject::JemallocPprof => {
            set(b"prof.active\0", true)?;
            return Ok(None);
        }
    };
    // Ten a second are not what the disk is for: the thread that writes them would have a core to itself.
    let builder = Profiler::builder().listen("off").profiles_dir("off").rss_threshold(threshold).poll_interval(EVERY);
    Ok(Some(builder.min_interval(EVERY / 2).history(1000).history_bytes(ByteSize::gib(8)).start()?))
}

fn newest(profiler: &Option<Profiler>) -> u64 {
    profiler.as_ref().and_then(|profiler| Some(profiler.snapshots().last()?.id)).unwrap_or(0)
}

/// A dump every [`EVERY`], or as often as it can be had; of heapward, its own thread does that.
fn take(subject: Subject, stop: &AtomicBool) -> Result<Vec<u64>> {
    set(b"thread.prof.active\0", false)?;
    let mut taken = Vec::new();
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        match subject {
            Subject::Dump => drop(dump()?),
            Subject::JemallocPprof => drop(dump_profile()?),
            Subject::Nothing | Subject::Heapward | Subject::Jemalloc => {}
        }
        let took = begun.elapsed();
        if matches!(subject, Subject::Dump | Subject::JemallocPprof) {
            taken.push(took.as_nanos() as u64);
        }
        std::thread::sleep(EVERY.saturating_sub(took));
    }
    Ok(taken)
}

/// What the calls of busy threads took.
struct Calls {
    allocations: Histogram,
    undisturbed: Histogram,
    frees: Histogram,
}

impl Calls {
    fn new() -> Self {
        Self { allocations: Histogram::new(), undisturbed: Histogram::new(), frees: Histogram::new() }
    }
}

/// Slower calls are looked at: whether the scheduler took the core away meanwhile.
const SLOW: Duration = Duration::from_micros(20);

/// Allocates and frees until it is to stop; how long each took.
fn allocate(begin: &Barrier, stop: &AtomicBool) -> Calls {
    let mut calls = Calls::new();
    let mut held: Vec<Vec<u8>> = (0..HELD).map(|_| Vec::new()).collect();
    let mut random = 42u64;
    let mut at = 0;
    begin.wait();
    for path in (0..PATHS).cycle() {
        if stop.load(Relaxed) {
            break;
        }
        let mut preemptions = preemptions_so_far();
        call(path, &mut || {
            for _ in 0..AT_ONCE {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let size = 16 + (random % 1025) as usize;
                let begun = Instant::now();
                let object = black_box(Vec::with_capacity(size));
                let allocated = Instant::now();
                let old = std::mem::replace(&mut held[at % HELD], object);
                at += 1;
                let replaced = Instant::now();
                drop(black_box(old));
                calls.frees.record(replaced.elapsed().as_nanos() as u64);
                let took = allocated - begun;
                calls.allocations.record(took.as_nanos() as u64);
                let before = preemptions;
                if took > SLOW {
                    preemptions = preemptions_so_far();
                }
                if preemptions == before {
                    calls.undisturbed.record(took.as_nanos() as u64);
                }
            }
        });
    }
    calls
}

/// How often this thread lost its core without having to wait for anything.
fn preemptions_so_far() -> i64 {
    // SAFETY: all-zero is a valid value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in what is ours.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_nivcsw
}
