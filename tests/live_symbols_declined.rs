//! `HEAPWARD_SYMBOLIZE`: a profile without names has what a viewer needs to find them itself, and says why it has none.

mod common;

use common::{decode, profiler};
use heapward::{Builder, ByteSize, Symbolize};
use http_body_util::BodyExt as _;
use pprof::protos;
use tower_service::Service as _;

heapward::install!("lg_prof_sample:0");

#[test]
fn a_profile_without_names_says_why() {
    let held = vec![vec![1u8; 5000]; 10];

    let profile = profile(profiler().symbolize(Symbolize::Never));
    assert_nameless(&profile, "names were not looked up: HEAPWARD_SYMBOLIZE is never");

    // More headroom than there is anywhere: it is too little where there is a limit.
    let huge = || profiler().symbolize_headroom(ByteSize::gib(1 << 30));
    let found = self::profile(huge());
    match limit() {
        Some(limit) => {
            let words = format!("to the memory limit of {}, below the", ByteSize::bytes(limit));
            assert_nameless(&found, &words);
        }
        None => assert_named(&found),
    }
    assert_named(&self::profile(huge().symbolize(Symbolize::Always)));
    assert_named(&self::profile(profiler().symbolize_headroom(ByteSize::bytes(0))));
    drop(held);
}

fn profile(builder: Builder) -> protos::Profile {
    let profiler = builder.start().unwrap();
    let held = std::hint::black_box(vec![vec![1u8; 5000]; 10]);
    // A reading, and with it the limit, is there after a snapshot.
    common::snapshot(&profiler);
    let profile = decode(&profiler.live_heap_prof().unwrap());
    profiler.shutdown();
    drop(held);
    profile
}

/// The memory limit, as heapward tells it.
fn limit() -> Option<u64> {
    let profiler = profiler().start().unwrap();
    common::snapshot(&profiler);
    let request = http::Request::get("/api/memory").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(async {
        let Ok(response) = profiler.routes().service().call(request).await;
        let Ok(body) = response.into_body().collect().await;
        body.to_bytes()
    });
    profiler.shutdown();
    let report: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let limit = report.pointer("/memory/cgroup_limit_bytes").unwrap_or_else(|| panic!("{report:#}"));
    assert!(limit.is_null() || limit.is_u64(), "{report:#}");
    limit.as_u64()
}

#[track_caller]
fn assert_nameless(profile: &protos::Profile, words: &str) {
    assert!(!profile.location.is_empty());
    assert!(profile.function.is_empty(), "{:?}", profile.function);
    assert!(profile.location.iter().all(|location| location.line.is_empty()));
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let text = |index: i64| profile.string_table[index as usize].as_str();
    let mapping =
        profile.mapping.iter().find(|mapping| text(mapping.filename) == program).expect("the program's mapping");
    assert!(mapping.memory_start < mapping.memory_limit);
    let libc = profile.mapping.iter().find(|mapping| text(mapping.filename).contains("libc.so")).expect("libc");
    assert!(text(libc.build_id).len() >= 16, "a viewer finds the files by build id");
    let comments: Vec<&str> = profile.comment.iter().map(|index| text(*index)).collect();
    assert!(comments.iter().any(|comment| comment.contains(words)), "{comments:?}");
}

#[track_caller]
fn assert_named(profile: &protos::Profile) {
    assert!(!profile.function.is_empty());
    let text = |index: &i64| profile.string_table[*index as usize].as_str();
    assert!(!profile.comment.iter().map(text).any(|comment| comment.contains("names were not looked up")));
}
