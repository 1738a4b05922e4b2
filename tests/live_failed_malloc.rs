//! An allocation that fails has had its stack walked already, and no sample comes of it: the stack that waits for that sample
//! must not become that of the next object, and the object that could not be resized keeps its own.

mod common;

use std::alloc::{Layout, alloc, alloc_zeroed, realloc};
use std::cell::Cell;
use std::hint::black_box;

use common::{Block, fail_fast, figures, memory, profiler, sampled, step};
use heapward::{LiveSample, Profiler};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

/// More than there are addresses, and less than what jemalloc refuses before it draws a sample.
const HUGE: usize = 1 << 50;
const SIZE: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Failing {
    Malloc,
    Calloc,
    Realloc,
    /// jemalloc's own, which says that the object cannot grow where it is.
    Xallocx,
}

#[test]
fn a_stack_is_that_of_its_own_object_after_one_that_failed() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let lookups = || memory(&profiler)["unwinder"]["rule_lookups"].as_u64().expect("an unwinder of heapward's own");

    // Of 5 and 30 calls more, without a failure. No failure may change the number of the stack, and so none of its frames.
    let mut expect: Option<[(u32, usize); 2]> = None;
    let failures = [Failing::Malloc, Failing::Calloc, Failing::Realloc, Failing::Xallocx];
    for failing in [None].into_iter().chain(failures.map(Some)) {
        step("allocating");
        let before = lookups();
        for failing_depth in [0, 12, 60] {
            let found = [5, 30].map(|depth| look(&profiler, depth, failing.map(|failing| (failing, failing_depth))));
            let found = found.map(|object| (object.stack, object.depth));
            assert_eq!(found, *expect.get_or_insert(found), "after {failing:?} failed {failing_depth} calls deep");
            assert_eq!(found[1].1, found[0].1 + 25, "one frame a call");
        }
        // Its code was new, so that it was walked at all.
        assert!(lookups() > before, "{failing:?}: no stack was walked");
    }
    let figures = figures(&profiler);
    // Six without a failure, six after each of four, and the one that a resize leaves where it was.
    assert_eq!((figures.samples, figures.live_samples), (6 + 6 * 4 + 6 * 2, 0));
    assert_eq!((figures.dropped_samples, figures.unknown_frees), (0, 0));
    profiler.shutdown();
}

/// What is told of an object that is allocated `depth` calls deep, right after a failure, which is so many calls deep.
fn look(profiler: &Profiler, depth: usize, failing: Option<(Failing, usize)>) -> LiveSample {
    let kept = match failing {
        Some((failing @ (Failing::Realloc | Failing::Xallocx), _)) => {
            // It stays, with its own stack.
            let block = sampled(|| Block::new(SIZE));
            Some((failing, of(profiler, &block), block))
        }
        _ => None,
    };
    let address = kept.as_ref().map_or(0, |(_, _, block)| block.address());
    if let Some((failing, at)) = failing {
        sampled(|| deep(at, &|| fail(failing, address)));
    }
    let allocated = Cell::new(None);
    sampled(|| deep(depth, &|| allocated.set(Some(Block::new(SIZE)))));
    let block = allocated.take().expect("it was allocated");
    let found = of(profiler, &block);
    sampled(|| block.free());
    if let Some((failing, before, block)) = kept {
        let after = of(profiler, &block);
        assert_eq!((after.stack, after.depth), (before.stack, before.depth), "{failing:?} failed");
        sampled(|| block.free());
    }
    found
}

fn of(profiler: &Profiler, block: &Block) -> LiveSample {
    let samples = profiler.live_samples();
    let mut at = samples.iter().filter(|sample| sample.address == block.address());
    let found = *at.next().expect("it is sampled");
    assert!(found.requested == SIZE as u64 && at.next().is_none(), "{samples:?}");
    found
}

/// Calls `work` through so many calls.
#[inline(never)]
fn deep(calls: usize, work: &dyn Fn()) {
    match calls {
        0 => work(),
        _ => deep(calls - 1, work),
    }
    // So that the call above is none that ends this one.
    black_box(calls);
}

fn fail(failing: Failing, address: u64) {
    match failing {
        Failing::Malloc => malloc_fails(),
        Failing::Calloc => calloc_fails(),
        Failing::Realloc => realloc_fails(address),
        Failing::Xallocx => xallocx_fails(address),
    }
    black_box(address);
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a size and a power of two")
}

#[inline(never)]
fn malloc_fails() {
    // SAFETY: not of size zero.
    assert!(black_box(unsafe { alloc(layout(HUGE)) }).is_null());
}

#[inline(never)]
fn calloc_fails() {
    // SAFETY: not of size zero.
    assert!(black_box(unsafe { alloc_zeroed(layout(HUGE)) }).is_null());
}

#[inline(never)]
fn realloc_fails(address: u64) {
    // SAFETY: a block of that layout, which stays as it is.
    assert!(black_box(unsafe { realloc(address as *mut u8, layout(SIZE), HUGE) }).is_null());
}

#[inline(never)]
fn xallocx_fails(address: u64) {
    // SAFETY: a block, which stays as it is.
    let (now, before) = unsafe {
        let address = address as *mut _;
        (tikv_jemalloc_sys::xallocx(address, 1 << 20, 0, 0), tikv_jemalloc_sys::malloc_usable_size(address))
    };
    assert_eq!(now, before, "it cannot grow here");
}
