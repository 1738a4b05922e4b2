//! Trap: a hook that frees a sampled block of jemalloc's enters the free hook again, and one that allocates takes
//! from the service. The hooks' tables live in mapped memory instead.
//!
//! jemalloc counts what each thread allocates and frees. With every allocation sampled, a thread allocates, resizes
//! and frees so many blocks, from so many stacks, that all tables of the hooks fill and grow many times over; its
//! counts must move by these blocks, to the byte.

mod common;

use std::hint::black_box;

use common::{Block, fail_fast, figures, profiler, set_sampled, step};
use tikv_jemalloc_ctl::raw;

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

/// The 64 tables of the live set each grow from nothing to room for more than 448 objects, in eight steps.
const BLOCKS: usize = 30_000;

#[test]
fn hooks_neither_allocate_nor_free() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let before = figures(&profiler);
    let mut blocks = Vec::with_capacity(BLOCKS);
    let counted = Counted::of_this_thread();
    let (mut allocated, mut freed) = counted.bytes();
    set_sampled(true);

    step("allocating");
    for n in 0..BLOCKS {
        let block = at_depth(n % 100, 1 + n % 3000);
        allocated += block.usable();
        blocks.push(block);
    }
    assert_eq!(counted.bytes(), (allocated, freed), "(allocated, freed) by the thread, and by the test");

    step("resizing");
    for block in &mut blocks {
        freed += block.usable();
        block.resize(block.requested() as usize + 500);
        allocated += block.usable();
    }
    assert_eq!(counted.bytes(), (allocated, freed), "(allocated, freed) by the thread, and by the test");

    step("freeing");
    for block in blocks.drain(..) {
        freed += block.usable();
        block.free();
    }
    assert_eq!(counted.bytes(), (allocated, freed), "(allocated, freed) by the thread, and by the test");

    set_sampled(false);
    let after = figures(&profiler);
    assert_eq!(after.samples - before.samples, 2 * BLOCKS as u64, "each was a sample");
    assert_eq!((after.dropped_samples, after.dropped_stacks, after.unknown_frees), (0, 0, 0));
    profiler.shutdown();
}

/// A block from a stack that is `depth` deeper than here.
#[inline(never)]
fn at_depth(depth: usize, size: usize) -> Block {
    match depth {
        0 => Block::new(size),
        _ => black_box(at_depth(depth - 1, size)),
    }
}

/// jemalloc's counts of what one thread allocated and freed, in bytes.
struct Counted {
    allocated: *const u64,
    freed: *const u64,
}

impl Counted {
    fn of_this_thread() -> Self {
        // SAFETY: both names are `uint64_t *`, of the calling thread.
        unsafe {
            Self {
                allocated: raw::read(b"thread.allocatedp\0").unwrap(),
                freed: raw::read(b"thread.deallocatedp\0").unwrap(),
            }
        }
    }

    fn bytes(&self) -> (u64, u64) {
        // SAFETY: the pointers are good for as long as the thread that asked for them lives, which is this one: a
        // raw pointer cannot be sent to another.
        unsafe { (self.allocated.read_volatile(), self.freed.read_volatile()) }
    }
}
