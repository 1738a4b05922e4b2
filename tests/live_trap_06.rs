//! Trap: `fork` while another thread holds the lock of a shard leaves it locked in the child, for ever. A hook that
//! runs there would wait for it.
//!
//! A thread copies a large live set without a pause, so that at any moment some shard is locked; others allocate and
//! free. Children forked meanwhile allocate enough to meet every shard, and must end.

mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{Block, Child, Random, fail_fast, fork, profiler, sampled, set_sampled, step, wait_until};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const CHILDREN: usize = 100;
/// Objects that make a copy of the live set take time.
const ALIVE: usize = 20_000;
/// Blocks that a child allocates: none of the 64 shards is likely to be missed.
const BLOCKS_OF_A_CHILD: usize = 1_000;

#[test]
fn a_child_forked_with_a_shard_locked_can_allocate() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let alive: Vec<Block> = (0..ALIVE).map(|_| sampled(|| Block::new(64))).collect();
    let stop = AtomicBool::new(false);
    let copied = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                assert!(profiler.live_samples().len() >= ALIVE);
                copied.store(true, Relaxed);
            }
        });
        for thread in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                set_sampled(true);
                let mut random = Random::of_thread(thread);
                while !stop.load(Relaxed) {
                    Block::new(random.within(1..5_000)).free();
                }
            });
        }
        wait_until("the live set being copied", || copied.load(Relaxed));
        step("forking");
        for n in 0..CHILDREN {
            let child = fork(|| {
                set_sampled(true);
                allocate_and_free();
                0
            });
            assert_eq!(child, Child::Exited(0), "child {n}");
        }
        stop.store(true, Relaxed);
    });

    step("comparing");
    // What the children did is theirs; here all is as before.
    assert_eq!(profiler.live_samples().len(), ALIVE);
    alive.into_iter().for_each(Block::free);
    assert_eq!(profiler.live_samples().len(), 0);
    profiler.shutdown();
}

fn allocate_and_free() {
    let blocks: Vec<Block> = (0..BLOCKS_OF_A_CHILD).map(|n| Block::new(n + 1)).collect();
    blocks.into_iter().for_each(Block::free);
}
