//! Trap: while sampling is paused, a reallocation in place tells the free of a block that stays alive. So a pause
//! leaves holes in the live set, and a snapshot that comes after one must say so, also after sampling went on.

mod common;

use common::{Block, fail_fast, profiler, sampled, set_sampled, snapshot, step};
use heapward::SnapshotInfo;

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const MIB: usize = 1 << 20;

#[test]
fn a_snapshot_after_a_pause_is_marked_partial() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let mut block = sampled(|| Block::new(MIB));
    let is_known = |block: &Block| profiler.live_samples().iter().any(|sample| sample.address == block.address());
    assert!(is_known(&block));
    let partial = snapshot(&profiler).partial.expect("this test has only some threads sampled, and that is told");
    assert!(!partial.contains("paused"), "nothing is missing for a pause yet: {partial}");

    step("resizing in place while paused");
    profiler.pause().unwrap();
    set_sampled(true);
    let moved = block.resize(MIB - 1000);
    set_sampled(false);
    assert!(!moved, "a large block stays where it is when its size class does not change");
    assert!(!is_known(&block), "jemalloc no longer tells of a free here: is the mark still needed?");
    says_so(&snapshot(&profiler));

    step("resuming");
    profiler.resume().unwrap();
    let other = sampled(|| Block::new(MIB));
    assert!(is_known(&other), "sampling goes on");
    assert!(!is_known(&block), "what was missed stays missed");
    says_so(&snapshot(&profiler));
    let profile = common::decode(&profiler.live_heap_prof().unwrap());
    let comments = profile.comment.iter().map(|&index| profile.string_table[index as usize].as_str());
    assert!(comments.clone().any(|comment| comment.starts_with("partial: ")), "{:?}", Vec::from_iter(comments));

    block.free();
    other.free();
    profiler.shutdown();
}

#[track_caller]
fn says_so(snapshot: &SnapshotInfo) {
    let partial = snapshot.partial.as_deref().expect("marked partial");
    assert!(partial.contains("paused"), "{partial}");
}
