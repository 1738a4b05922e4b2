//! Trap: jemalloc tells of a reallocation in place as sample(new), then free(old), both of one address. A live set
//! that knows one object an address forgets the block that goes on living, and one that takes away the newest keeps
//! what it was before.
//!
//! Large blocks change their size where they are, within their size class and out of it, through `realloc` and
//! through `xallocx`; after each change the live set must have the address once, as what it is now.

mod common;

use common::{Block, Random, fail_fast, figures, profiler, step};
use heapward::Profiler;

heapward::install!("lg_prof_sample:0");

const KIB: usize = 1024;

#[test]
fn a_block_resized_in_place_stays_in_the_live_set_as_what_it_is_now() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let mut random = Random::of_thread(0);

    step("resizing with realloc");
    let mut in_place = 0;
    for _ in 0..50 {
        // Above 896 KiB the class is that of 1 MiB; below, shrinking gives pages back and the rest stays.
        let mut block = Block::new(1024 * KIB);
        for (low, high) in [(900, 1024), (900, 1024), (770, 896), (900, 1024), (400, 512), (20, 24), (500, 1024)] {
            let before = block.address();
            let moved = block.resize(random.within(low * KIB..high * KIB));
            in_place += usize::from(!moved);
            check(&profiler, block.address(), Some((block.requested(), block.usable())));
            if moved {
                check(&profiler, before, None);
            }
        }
        let address = block.address();
        block.free();
        check(&profiler, address, None);
    }
    assert!(in_place >= 50 * 4, "only {in_place} were in place, which is what this is about");

    step("resizing with xallocx");
    for _ in 0..50 {
        let block = Block::new(512 * KIB);
        let address = block.address();
        let mut usable = block.usable();
        for size in [300 * KIB, 512 * KIB, 200 * KIB, 100 * KIB, 512 * KIB, 40 * KIB] {
            // SAFETY: the block is alive and was not allocated with flags.
            let now = unsafe { tikv_jemalloc_sys::xallocx(address as *mut _, size, 0, 0) } as u64;
            // What could not be resized is as it was, and jemalloc tells nothing.
            if now != usable {
                usable = now;
                check(&profiler, address, Some((size as u64, usable)));
            }
        }
        // Freed with the size that it has now, and not with the one that it was allocated with.
        // SAFETY: the block is alive, and `block` is never used again.
        unsafe { tikv_jemalloc_sys::dallocx(address as *mut _, 0) };
        check(&profiler, address, None);
    }

    assert_eq!(figures(&profiler).unknown_frees, 0);
    profiler.shutdown();
}

/// The live set must have exactly this (requested, usable) at `address`.
#[track_caller]
fn check(profiler: &Profiler, address: u64, expect: Option<(u64, u64)>) {
    let samples = profiler.live_samples();
    let found: Vec<_> = samples.iter().filter(|s| s.address == address).map(|s| (s.requested, s.usable)).collect();
    assert_eq!(found, Vec::from_iter(expect), "at {address:#x}");
}
