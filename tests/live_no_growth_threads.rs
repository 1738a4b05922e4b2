//! Threads that would have to ask for being sampled are not seen: no pass.

mod common;

use common::fail_fast;
use heapward::ErrorKind;
use heapward::testing::check_growth;

heapward::install!("lg_prof_sample:12,prof_thread_active_init:false");

#[test]
fn threads_that_are_not_sampled_are_refused() {
    fail_fast();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let error = check_growth(400, || kept.push(vec![1; 2000]), 1024).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Allocator, "{error}");
    assert!(error.to_string().contains("prof_thread_active_init"), "{error}");
}
