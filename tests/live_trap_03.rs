//! Trap: a reallocation that moves frees the old block before its free is told. Until then another thread can be
//! given that address, and be sampled there.
//!
//! Threads that resize blocks, which small sampled ones always move for, race against threads that allocate and
//! keep: without thread caches, what one gives back the next one gets. All sizes are of one class, so that nothing
//! but the order tells two objects of an address apart. Whenever all threads stand still, the live set must have
//! each block once, as its owner knows it.

mod common;

use std::sync::{Barrier, Mutex};

use common::{Block, Random, fail_fast, figures, profiler, sampled, step};
use heapward::Profiler;

// One arena and no thread caches: all threads are given blocks from the same list of free ones.
heapward::install!("lg_prof_sample:0,prof_thread_active_init:false,narenas:1,tcache:false");

const ROUNDS: usize = 40;
const RESIZERS: usize = 4;
const KEEPERS: usize = 2;
const KEPT: usize = 400;

#[test]
fn an_address_that_is_given_out_again_before_its_free_is_told_keeps_its_new_object() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let barrier = Barrier::new(RESIZERS + KEEPERS + 1);
    let blocks: Vec<Mutex<Vec<Block>>> = (0..RESIZERS + KEEPERS).map(|_| Mutex::new(Vec::new())).collect();
    std::thread::scope(|scope| {
        for (thread, blocks) in blocks.iter().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                let mut random = Random::of_thread(thread as u64);
                for _ in 0..ROUNDS {
                    barrier.wait();
                    {
                        let mut blocks = blocks.lock().unwrap();
                        if thread < RESIZERS {
                            resize(&mut blocks, &mut random)
                        } else {
                            keep(&mut blocks, &mut random)
                        }
                    }
                    // The main thread compares.
                    barrier.wait();
                    barrier.wait();
                    let mut blocks = blocks.lock().unwrap();
                    sampled(|| blocks.drain(..).for_each(Block::free));
                }
            });
        }
        for _ in 0..ROUNDS {
            step("resizing and allocating");
            barrier.wait();
            barrier.wait();
            step("comparing");
            compare(&blocks, &profiler);
            barrier.wait();
        }
        step("ending the threads");
    });
    let figures = figures(&profiler);
    assert_eq!((figures.live_samples, figures.dropped_samples, figures.unknown_frees), (0, 0, 0));
    profiler.shutdown();
}

/// A size of the class that takes 2,560 bytes.
fn size(random: &mut Random) -> usize {
    random.within(2049..2561)
}

fn resize(blocks: &mut Vec<Block>, random: &mut Random) {
    let mut block = sampled(|| Block::new(size(random)));
    for _ in 0..KEPT {
        assert!(sampled(|| block.resize(size(random))), "a small sampled block moves");
    }
    blocks.push(block);
}

fn keep(blocks: &mut Vec<Block>, random: &mut Random) {
    blocks.reserve(KEPT);
    for _ in 0..KEPT {
        blocks.push(sampled(|| Block::new(size(random))));
    }
}

fn compare(blocks: &[Mutex<Vec<Block>>], profiler: &Profiler) {
    let mut expected: Vec<(u64, u64)> = Vec::new();
    for blocks in blocks {
        expected.extend(blocks.lock().unwrap().iter().map(|block| (block.address(), block.requested())));
    }
    let mut found: Vec<(u64, u64)> = profiler.live_samples().iter().map(|s| (s.address, s.requested)).collect();
    expected.sort_unstable();
    found.sort_unstable();
    let missing: Vec<_> = expected.iter().filter(|object| !found.contains(object)).collect();
    let wrong: Vec<_> = found.iter().filter(|object| !expected.contains(object)).collect();
    assert!(
        expected == found,
        "(address, requested) of those missing or told wrong: {missing:?}; of those that should not be there: {wrong:?}"
    );
}
