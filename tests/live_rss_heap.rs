//! A service whose live heap grows: that part carries the growth of RSS, beside what the samples say.

mod common;
mod common_http;
mod common_rss;

use std::hint::black_box;

use common_rss::{MIB, Rss};

heapward::install!();

#[test]
fn growth_of_the_live_heap_is_told_as_such() {
    common::fail_fast();
    let profiler = common::profiler().start().unwrap();
    let first = Rss::at_a_snapshot(&profiler);
    assert!(first.why().starts_with("There is no earlier snapshot"), "{}", first.why());

    let kept: Vec<Box<[u8; 4096]>> = (0..160 * MIB / 4096).map(|_| black_box(Box::new([7; 4096]))).collect();
    let later = Rss::at_a_snapshot(&profiler);

    assert!(later.growth(&first, "/rss_bytes") > 150 * MIB, "{later:#?}");
    let grown = later.growth(&first, "/live_heap_bytes");
    assert!((155 * MIB..190 * MIB).contains(&grown), "{grown}: {later:#?}");
    // Without what the leak analysis finds, which takes more snapshots, the word says no more than is known.
    assert_eq!(later.verdict(), "unclear", "{later:#?}");
    assert!(later.why().contains("The live heap grew"), "{}", later.why());

    // Six standard deviations, of which the interval spans 3.92; and what is never sampled.
    let estimate = later.bytes("/live_heap_estimate/bytes");
    let (low, high) = (later.bytes("/live_heap_estimate/bytes_low"), later.bytes("/live_heap_estimate/bytes_high"));
    assert!(low <= estimate && estimate <= high, "{later:#?}");
    let tolerance = (high - low) * 6 / 3 + 16 * MIB;
    assert!(estimate.abs_diff(later.bytes("/live_heap_allocated_bytes")) < tolerance, "{later:#?}");

    // The same of the last reading, which is that of the snapshot or a later one.
    let now = Rss::now(&profiler);
    assert!(now.bytes("/live_heap_estimate/bytes").abs_diff(estimate) < 8 * MIB, "{now:#?} {later:#?}");
    assert!(now.growth(&first, "/live_heap_bytes") > 155 * MIB, "{now:#?}");
    drop(kept);
    profiler.shutdown();
}
