//! One object in sixteen outlives the others, and keeps its page.

mod common;
mod common_http;
mod common_rss;

use std::hint::black_box;

use common_rss::{MIB, Rss};

heapward::install!();

#[test]
fn pages_that_a_few_objects_keep_are_fragmentation() {
    common::fail_fast();
    let profiler = common::profiler().start().unwrap();
    let first = Rss::at_a_snapshot(&profiler);

    let mut kept: Vec<Option<Box<[u8; 128]>>> =
        (0..160 * MIB / 128).map(|_| Some(black_box(Box::new([7; 128])))).collect();
    for (index, object) in kept.iter_mut().enumerate() {
        if index % 16 != 0 {
            *object = None;
        }
    }
    let later = Rss::at_a_snapshot(&profiler);

    let grown = later.growth(&first, "/allocator_slack_bytes");
    assert!((120 * MIB..170 * MIB).contains(&grown), "{grown}: {later:#?}");
    assert_eq!(later.verdict(), "fragmentation", "{later:#?}");
    assert!(later.why().contains("Slack is free room"), "{}", later.why());
    assert_eq!(Rss::now(&profiler).verdict(), "fragmentation");

    // What was kept is gone: no page holds anything, and until jemalloc gives them back, dirty ones take the room.
    drop(kept);
    let later = Rss::at_a_snapshot(&profiler);
    assert!(later.bytes("/allocator_slack_bytes") < 32 * MIB, "{later:#?}");
    profiler.shutdown();
}
