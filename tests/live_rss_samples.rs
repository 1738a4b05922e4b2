//! Sampled small objects have pages of their own and are not in jemalloc's `allocated`: with fine samples, when that is
//! every object, the live heap is told all the same.

mod common;
mod common_http;
mod common_rss;

use std::hint::black_box;

use common_rss::{MIB, Rss};

heapward::install!("lg_prof_sample:6");

#[test]
fn objects_that_are_sampled_are_live_heap_and_no_slack() {
    common::fail_fast();
    let profiler = common::profiler().start().unwrap();
    let first = Rss::at_a_snapshot(&profiler);
    let kept: Vec<Box<[u8; 1024]>> = (0..32 * MIB / 1024).map(|_| black_box(Box::new([7; 1024]))).collect();
    for later in [Rss::at_a_snapshot(&profiler), Rss::now(&profiler)] {
        for part in ["/live_heap_bytes", "/live_heap_allocated_bytes", "/live_heap_estimate/bytes"] {
            let grown = later.growth(&first, part);
            assert!((31 * MIB..35 * MIB).contains(&grown), "{part} {grown}: {later:#?}");
        }
        assert_eq!(
            later.0["notes"].as_array().unwrap().iter().filter(|note| note.to_string().contains("samples say")).count(),
            0
        );
    }
    drop(kept);
    profiler.shutdown();
}
