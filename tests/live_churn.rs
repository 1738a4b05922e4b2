//! Ten thousand short threads, with snapshots taken all the while, into a live set that is too small for them: what
//! is lost is counted, each one, and when the last thread has ended and everything is freed, nothing is left.

mod common;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Block, Random, fail_fast, figures, sampled, set_sampled, step, try_snapshot};
use heapward::ByteSize;

heapward::install!("lg_prof_sample:10,prof_thread_active_init:false");

const THREADS: u64 = 10_000;
/// Threads that run at once.
const AT_ONCE: usize = 8;
/// The least that may be set.
const LIVE_SAMPLES: usize = 1024;
/// How many blocks gather until a thread frees them all. So the live set fills, drops, and empties, in turns.
const GATHERED: usize = 1800;

/// Blocks that threads leave for others to free.
static LEFT: Mutex<Vec<Block>> = Mutex::new(Vec::new());
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

#[test]
fn short_threads_leave_nothing_behind() {
    fail_fast();
    // Any RSS is above this threshold, so the watcher takes a snapshot of its own at every poll.
    let profiler = common::profiler()
        .max_live_samples(LIVE_SAMPLES)
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(10))
        .min_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let mut running: VecDeque<JoinHandle<()>> = VecDeque::new();
    let mut fullest = 0;
    step("starting and ending threads");
    for n in 0..THREADS {
        if running.len() == AT_ONCE {
            running.pop_front().into_iter().for_each(|thread| thread.join().unwrap());
        }
        running.push_back(std::thread::spawn(move || live_shortly(n)));
        if n % 100 == 0 {
            fullest = fullest.max(profiler.live_samples().len());
        }
        if n % 1000 == 0 {
            try_snapshot(&profiler);
            assert!(!profiler.live_heap_prof().unwrap().is_empty());
        }
    }
    running.into_iter().for_each(|thread| thread.join().unwrap());
    step("freeing what is left");
    lock(&LEFT).drain(..).for_each(Block::free);

    step("comparing");
    let alive = profiler.live_samples();
    assert_eq!(alive.len(), 0, "such as {:?}", alive.first());
    let figures = figures(&profiler);
    let taken = profiler.snapshots().last().map_or(0, |snapshot| snapshot.id);
    println!("{figures:?}, {} allocated, {taken} snapshots, {fullest} alive at most", ALLOCATED.load(Relaxed));
    assert_eq!(figures.live_samples, 0);
    assert_eq!(figures.unknown_frees, figures.dropped_samples, "each sample that was dropped was freed later");
    assert!(figures.dropped_samples > 0 && figures.dropped_samples < figures.samples, "{figures:?}");
    assert!(fullest > LIVE_SAMPLES / 2, "{fullest} is not much");
    assert!(taken > 20, "only {taken} snapshots");
    profiler.shutdown();
}

/// What one thread does: allocates, leaves some of it, frees the rest and now and then all that others have left.
fn live_shortly(number: u64) {
    let mut random = Random::of_thread(number);
    let mut blocks = Vec::with_capacity(128);
    set_sampled(true);
    for _ in 0..random.within(1..128) {
        blocks.push(Block::new(random.within(1..4096)));
    }
    set_sampled(false);
    ALLOCATED.fetch_add(blocks.len() as u64, Relaxed);
    let mut left = lock(&LEFT);
    left.extend(blocks.drain(..blocks.len() / 4));
    if left.len() > GATHERED {
        blocks.append(&mut left);
    }
    drop(left);
    sampled(|| blocks.drain(..).for_each(Block::free));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
