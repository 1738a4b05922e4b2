//! At the usual sample interval, `assert_no_growth!` says what it could not see instead of passing.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::step;
use heapward::testing::{assert_no_growth, check_growth};

heapward::install!();

#[test]
fn an_interval_that_is_too_coarse_is_refused_with_the_remedy() {
    step("400 rounds of 1 KiB");
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut rounds = 0;
    let leak = || {
        rounds += 1;
        kept.push(vec![1; 2000]);
    };
    let panic = catch_unwind(AssertUnwindSafe(|| assert_no_growth!(400, leak))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("cannot tell") && message.contains("install!(\"lg_prof_sample:13\")"), "{message}");
    assert!(message.contains("run 18432 rounds") && message.contains("47186 bytes a round matter"), "{message}");
    assert_eq!(rounds, 0, "it is told before the first round");

    step("what the test says matters");
    assert_no_growth!(400, || {}, 47_186);
    let check = check_growth(64, || kept.push(vec![1; 1 << 20]), 1 << 20).unwrap();
    assert!(check.growth().is_some(), "64 MiB: {check}");
}
