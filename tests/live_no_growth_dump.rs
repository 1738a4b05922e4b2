//! jemalloc's dumps cannot tell what is new: no pass.

mod common;

use common::fail_fast;
use heapward::testing::check_growth;
use heapward::{ErrorKind, Profiler};

heapward::install!("lg_prof_sample:12");

#[test]
fn dumps_are_refused() {
    fail_fast();
    // SAFETY: the only other thread is the harness's, which is waiting for this one.
    unsafe { std::env::set_var("HEAPWARD_COLLECTOR", "dump") };
    let _profiler = Profiler::builder().listen("off").profiles_dir("off").start().expect("it starts");
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let error = check_growth(400, || kept.push(vec![1; 2000]), 1024).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Allocator, "{error}");
    assert!(error.to_string().contains("HEAPWARD_COLLECTOR"), "{error}");
}
