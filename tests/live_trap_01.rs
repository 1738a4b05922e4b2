//! Trap: a thread that holds one of heapward's locks and allocates can be sampled, and its own hook then waits for
//! that lock for ever.
//!
//! With every allocation sampled, sampled threads allocate, copy the live set, and ask for snapshots and profiles,
//! all at once: it hangs if a lock that a hook takes is held across an allocation. And heapward's own threads, which
//! do most of that in a service, must not be sampled at all: once the service stands still, nothing that they do
//! adds to the live set.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use common::{Block, Random, fail_fast, profiler, set_sampled, snapshot, step, try_snapshot, wait_until};

heapward::install!("lg_prof_sample:0");

#[test]
fn no_lock_of_a_hook_is_held_across_an_allocation() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    step("allocating, copying, taking snapshots and building profiles at once");
    let stop = AtomicBool::new(false);
    let [blocks, copies, snapshots, profiles] = [const { AtomicU64::new(0) }; 4];
    let until_stopped = |count: &AtomicU64, work: &mut dyn FnMut() -> usize| {
        while !stop.load(Relaxed) {
            count.fetch_add(work() as u64, Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (until_stopped, blocks) = (&until_stopped, &blocks);
            scope.spawn(move || {
                let mut random = Random::of_thread(thread);
                until_stopped(blocks, &mut || allocate_and_free(&mut random));
            });
        }
        scope.spawn(|| until_stopped(&copies, &mut || usize::from(!profiler.live_samples().is_empty())));
        scope.spawn(|| until_stopped(&snapshots, &mut || usize::from(try_snapshot(&profiler).is_some())));
        scope.spawn(|| until_stopped(&profiles, &mut || usize::from(!profiler.live_heap_prof().unwrap().is_empty())));
        wait_until("every thread getting on", || {
            let enough = [(&blocks, 100_000), (&copies, 300), (&snapshots, 2), (&profiles, 3)];
            enough.iter().all(|(count, enough)| count.load(Relaxed) >= *enough)
        });
        stop.store(true, Relaxed);
        step("ending the threads");
    });

    step("looking for samples of heapward's own threads");
    // Nobody is left who could be sampled: the harness waits, and this thread is not.
    set_sampled(false);
    let objects = || -> HashSet<(u64, u64, u64)> {
        profiler.live_samples().iter().map(|s| (s.address, s.requested, s.birth_millis)).collect()
    };
    let before = objects();
    // The watcher keeps the snapshots, and the renderer the names.
    for _ in 0..2 {
        snapshot(&profiler);
        profiler.live_heap_prof().unwrap();
    }
    let new: Vec<_> = objects().difference(&before).copied().collect();
    assert_eq!(new, [], "(address, requested, birth) of what heapward's own threads allocated");
    profiler.shutdown();
}

fn allocate_and_free(random: &mut Random) -> usize {
    let some: Vec<Block> = (0..random.within(1..100)).map(|n| Block::new(n + 1)).collect();
    let count = some.len();
    some.into_iter().for_each(Block::free);
    count
}
