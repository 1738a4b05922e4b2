//! What is profiled: allocations of 16 to 1,040 bytes with as many frees, at the end of call chains.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::common::Result;
use crate::cpu_time::cpu_time;

/// Objects that a thread holds; the oldest is freed for the next.
const HELD: usize = 4096;
/// Allocations at the end of a call chain before the next one.
const AT_ONCE: usize = 512;
/// Different call chains: 2^6.
const TURNS: u32 = 6;
const SMALLEST: usize = 16;
const LARGEST: usize = 1040;

/// What one thread took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Took {
    pub wall: Duration,
    pub cpu: Duration,
}

/// The program's allocator.
pub struct Global;

// SAFETY: passes everything on to the program's allocator.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        unsafe { std::alloc::alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { std::alloc::dealloc(block, layout) }
    }
}

/// `threads` threads, each with `allocations` after some to get warm, `calls` functions deep.
pub fn run<A: GlobalAlloc + Sync>(allocator: &A, calls: u32, threads: usize, allocations: usize) -> Result<Vec<Took>> {
    let begin = Barrier::new(threads);
    let thread = |seed: u64| {
        let mut ring = Ring::new(allocator, seed);
        ring.allocate(calls, allocations / 8);
        begin.wait();
        let (cpu, begun) = (cpu_time(libc::CLOCK_THREAD_CPUTIME_ID), Instant::now());
        heapward_bench_counted(&mut || ring.allocate(calls, allocations));
        Took { wall: begun.elapsed(), cpu: cpu_time(libc::CLOCK_THREAD_CPUTIME_ID) - cpu }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads as u64).map(|number| scope.spawn(move || thread(number + 1))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".into())).collect()
    })
}

/// Found by callgrind by its name: what is counted.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "Rust" fn heapward_bench_counted(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// The chance that an allocation is sampled, at one sample every `interval` bytes.
pub fn chance(interval: f64) -> f64 {
    let sizes = SMALLEST..=LARGEST;
    let count = sizes.clone().count() as f64;
    // SAFETY: no size is zero, and no flags are given.
    let usable = sizes.map(|size| unsafe { tikv_jemalloc_sys::nallocx(size, 0) } as f64);
    usable.map(|usable| -(-usable / interval).exp_m1()).sum::<f64>() / count
}

struct Ring<'a, A: GlobalAlloc> {
    allocator: &'a A,
    held: Vec<Option<(*mut u8, Layout)>>,
    next: usize,
    random: u64,
}

impl<'a, A: GlobalAlloc> Ring<'a, A> {
    fn new(allocator: &'a A, seed: u64) -> Self {
        Self { allocator, held: vec![None; HELD], next: 0, random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    fn allocate(&mut self, calls: u32, allocations: usize) {
        for turn in 0..allocations.div_ceil(AT_ONCE) as u32 {
            descend(turn % (1 << TURNS), calls, &mut || self.churn());
        }
    }

    #[inline(always)]
    fn churn(&mut self) {
        for _ in 0..AT_ONCE {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let span = (LARGEST - SMALLEST + 1) as u64;
            let size = SMALLEST + (((self.random >> 32) * span) >> 32) as usize;
            let Ok(layout) = Layout::from_size_align(size, 8) else { return };
            // SAFETY: the size is not zero.
            let block = unsafe { self.allocator.alloc(layout) };
            assert!(!block.is_null(), "out of memory");
            // SAFETY: it is at least 16 bytes long, and nobody else has it.
            unsafe { block.write(1) };
            self.next = (self.next + 1) % HELD;
            if let Some((old, layout)) = self.held[self.next].replace((block, layout)) {
                // SAFETY: it was allocated by this allocator with this layout, and is no longer held.
                unsafe { self.allocator.dealloc(old, layout) };
            }
        }
    }
}

impl<A: GlobalAlloc> Drop for Ring<'_, A> {
    fn drop(&mut self) {
        for (block, layout) in self.held.drain(..).flatten() {
            // SAFETY: as above.
            unsafe { self.allocator.dealloc(block, layout) };
        }
    }
}

/// Calls `end` `calls` functions below, on the way that the bits of `turns` say.
#[inline(always)]
fn descend(turns: u32, calls: u32, end: &mut dyn FnMut()) {
    match (calls, turns & 1) {
        (0, _) => end(),
        (_, 0) => left(turns >> 1, calls - 1, end),
        _ => right(turns >> 1, calls - 1, end),
    }
}

// What `black_box` does after the call keeps it from becoming a jump, and the number keeps the two functions from being
// merged into one.

#[inline(never)]
fn left(turns: u32, calls: u32, end: &mut dyn FnMut()) {
    descend(turns, calls, end);
    black_box(0);
}

#[inline(never)]
fn right(turns: u32, calls: u32, end: &mut dyn FnMut()) {
    descend(turns, calls, end);
    black_box(1);
}
