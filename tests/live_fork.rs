//! A thousand children, forked while threads allocate, resize and free, with every allocation sampled. Each child
//! allocates, and some ask heapward for something, which must be refused and not wait for ever. In the parent the
//! live set stays exact.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use common::{Block, Child, Random, fail_fast, figures, fork, profiler, set_sampled, step, wait_until};
use heapward::{ErrorKind, Profiler, Selector};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const CHILDREN: usize = 1000;
const THREADS: usize = 3;
/// How many blocks each thread keeps.
const KEPT: usize = 200;

#[test]
fn children_forked_from_a_busy_process_allocate_and_end() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let stop = AtomicBool::new(false);
    let operations = AtomicU64::new(0);
    let blocks = std::thread::scope(|scope| {
        let spawn = |thread| {
            let (stop, operations) = (&stop, &operations);
            scope.spawn(move || allocate_resize_and_free(thread, stop, operations))
        };
        let threads: Vec<_> = (0..THREADS as u64).map(spawn).collect();
        wait_until("threads filling what they keep", || operations.load(Relaxed) > 5_000);
        step("forking");
        let before = operations.load(Relaxed);
        for n in 0..CHILDREN {
            let child = fork(|| {
                allocate_in_child();
                if n % 50 == 0 { ask_in_child(&profiler) } else { 0 }
            });
            assert_eq!(child, Child::Exited(0), "child {n}");
        }
        assert!(operations.load(Relaxed) > before + 1_000, "the threads did not get on meanwhile");
        stop.store(true, Relaxed);
        step("ending the threads");
        Vec::from_iter(threads.into_iter().flat_map(|thread| thread.join().unwrap()))
    });

    step("comparing");
    let mut expected: Vec<_> =
        blocks.iter().map(|block| (block.address(), block.requested(), block.usable())).collect();
    let mut found: Vec<_> = profiler.live_samples().iter().map(|s| (s.address, s.requested, s.usable)).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(expected, found, "(address, requested, usable) of the blocks that are alive, and of the live set");
    blocks.into_iter().for_each(Block::free);
    let figures = figures(&profiler);
    assert_eq!((figures.live_samples, figures.dropped_samples, figures.unknown_frees), (0, 0, 0));
    assert!(profiler.snapshot().is_ok(), "the parent's own threads go on");
    profiler.shutdown();
}

/// What a thread of the parent does until it is told to stop; returns what it has not freed.
fn allocate_resize_and_free(thread: u64, stop: &AtomicBool, operations: &AtomicU64) -> Vec<Block> {
    let mut random = Random::of_thread(thread);
    let mut blocks: Vec<Block> = Vec::with_capacity(KEPT);
    set_sampled(true);
    while !stop.load(Relaxed) {
        let size = random.within(1..20_000);
        match random.within(0..3) {
            0 if blocks.len() < KEPT => blocks.push(Block::new(size)),
            1 if !blocks.is_empty() => {
                let at = random.within(0..blocks.len());
                blocks[at].resize(size);
            }
            _ if !blocks.is_empty() => blocks.swap_remove(random.within(0..blocks.len())).free(),
            _ => {}
        }
        if operations.fetch_add(1, Relaxed).is_multiple_of(8) {
            // On few processors a child would wait its turn for most of the test.
            std::thread::yield_now();
        }
    }
    set_sampled(false);
    blocks
}

fn allocate_in_child() {
    set_sampled(true);
    let mut blocks: Vec<Block> = (0..64).map(|n| Block::new(n * 200 + 1)).collect();
    blocks.iter_mut().for_each(|block| {
        block.resize(3_000);
    });
    blocks.into_iter().for_each(Block::free);
}

/// 0 if everything that is asked of heapward is refused, else which was not. Nothing is printed: who knows which
/// locks of the harness were held.
fn ask_in_child(profiler: &Profiler) -> i32 {
    let refused = |kind| kind == Some(ErrorKind::NotRunning);
    let kinds = [
        profiler.snapshot().err().map(|error| error.kind()),
        profiler.live_heap_prof().err().map(|error| error.kind()),
        profiler.heap_prof(Selector::Latest).err().map(|error| error.kind()),
        profiler.pause().err().map(|error| error.kind()),
        profiler.resume().err().map(|error| error.kind()),
    ];
    let answered = kinds.into_iter().position(|kind| !refused(kind)).map_or(0, |at| at as i32 + 1);
    let showed = !profiler.snapshots().is_empty() || !profiler.live_samples().is_empty();
    if answered == 0 && showed { 100 } else { answered }
}
