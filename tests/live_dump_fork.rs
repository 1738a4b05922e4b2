//! With jemalloc's dumps in place of its hooks, a forked child is refused as well, at once.

mod common;

use std::time::Instant;

use common::{Child, fail_fast, fork};
use heapward::{ErrorKind, Profiler};

heapward::install!();

#[test]
fn a_child_is_refused_without_hooks_too() {
    fail_fast();
    // SAFETY: the only other thread is the harness's, which is waiting for this one.
    unsafe { std::env::set_var("HEAPWARD_COLLECTOR", "dump") };
    let profiler = Profiler::builder().profiles_dir("off").listen("off").start().unwrap();
    assert!(profiler.snapshot().is_ok());
    let begun = Instant::now();
    let child = fork(|| match profiler.snapshot().map_err(|error| error.kind()) {
        Err(ErrorKind::NotRunning) => 0,
        _ => 1,
    });
    assert_eq!(child, Child::Exited(0), "after {:?}", begun.elapsed());
    profiler.shutdown();
}
