//! Trap: the free hook runs in late thread-local destructors, after the thread's own destructors ran. A thread-local
//! with a destructor is gone by then, and to use it is a panic inside of `free`.
//!
//! Threads leave sampled blocks to the last destructors that there are: one of Rust's, and one of pthread's that
//! puts itself off until the last round, when also jemalloc's own has run. What is freed there must leave the live
//! set, and what is allocated there must not disturb it.

mod common;

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::{Block, fail_fast, figures, profiler, sampled, set_sampled, step};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const THREADS: u64 = 500;
const SIZE: usize = 12_345;
/// How often pthread runs destructors that were set again meanwhile: PTHREAD_DESTRUCTOR_ITERATIONS.
const ROUNDS: u64 = 4;

static FREED_LATE: AtomicU64 = AtomicU64::new(0);
static FREED_LAST: AtomicU64 = AtomicU64::new(0);

/// Freed when the thread's Rust destructors run.
struct FreedLate(Option<Block>);

impl Drop for FreedLate {
    fn drop(&mut self) {
        set_sampled(true);
        // A destructor may allocate, too.
        let another = Block::new(SIZE);
        self.0.take().into_iter().for_each(Block::free);
        another.free();
        FREED_LATE.fetch_add(1, Relaxed);
    }
}

thread_local! {
    static FREED_LATE_HERE: RefCell<FreedLate> = const { RefCell::new(FreedLate(None)) };
}

/// What the pthread key holds.
struct FreedLast {
    block: Block,
    round: u64,
}

fn key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `free_last` fits what `set` stores.
        let code = unsafe { libc::pthread_key_create(&mut key, Some(free_last)) };
        assert_eq!(code, 0, "pthread_key_create");
        key
    })
}

fn set(last: Box<FreedLast>) {
    // SAFETY: the key is good, and its destructor takes the box back.
    let code = unsafe { libc::pthread_setspecific(key(), Box::into_raw(last).cast()) };
    assert_eq!(code, 0, "pthread_setspecific");
}

unsafe extern "C" fn free_last(value: *mut c_void) {
    // SAFETY: `set` stored it, and pthread gives it back once.
    let mut last = unsafe { Box::from_raw(value.cast::<FreedLast>()) };
    if last.round < ROUNDS {
        last.round += 1;
        return set(last);
    }
    // Whether jemalloc still samples a thread that it has taken leave of is its own affair.
    let another = Block::new(SIZE);
    last.block.free();
    another.free();
    FREED_LAST.fetch_add(1, Relaxed);
}

#[test]
fn blocks_freed_by_the_last_destructors_leave_the_live_set() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    step("ending threads that leave blocks to their destructors");
    for _ in 0..THREADS / 10 {
        let threads: Vec<_> = (0..10).map(|_| std::thread::spawn(leave_blocks)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    assert_eq!((FREED_LATE.load(Relaxed), FREED_LAST.load(Relaxed)), (THREADS, THREADS));
    step("comparing");
    assert_eq!(profiler.live_samples().len(), 0);
    let figures = figures(&profiler);
    assert_eq!((figures.dropped_samples, figures.unknown_frees), (0, 0));
    assert!(figures.samples >= 3 * THREADS, "{} samples", figures.samples);
    profiler.shutdown();
}

fn leave_blocks() {
    FREED_LATE_HERE.with_borrow_mut(|late| late.0 = Some(sampled(|| Block::new(SIZE))));
    set(Box::new(FreedLast { block: sampled(|| Block::new(SIZE)), round: 1 }));
}
