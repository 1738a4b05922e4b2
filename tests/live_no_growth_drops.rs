//! Samples that find no room are no pass.

mod common;

use common::{fail_fast, step};
use heapward::testing::check_growth;
use heapward::{ErrorKind, Profiler};

heapward::install!("lg_prof_sample:12");

#[test]
fn a_full_live_set_is_refused() {
    fail_fast();
    let _profiler =
        Profiler::builder().listen("off").profiles_dir("off").max_live_samples(1024).start().expect("it starts");
    step("a live set that is full before");
    let held: Vec<Vec<u8>> = (0..3000).map(|_| vec![1; 4096]).collect();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let error = check_growth(2000, || kept.push(vec![1; 2000]), 1024).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("HEAPWARD_MAX_LIVE_SAMPLES"), "{error}");

    step("dropped before, and room again");
    drop((held, kept));
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let check = check_growth(400, || kept.push(vec![1; 2000]), 1024).unwrap();
    assert!(check.growth().is_some(), "{check}");
}
