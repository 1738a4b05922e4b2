//! A thousand kept snapshots are listed by a thread of heapward's own, and not by the one that serves: that one may be a
//! host's. What it allocates meanwhile says who did the work, however fast the machine is.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{fail_fast, profiler, step, wait_until};
use heapward::{ByteSize, Profiler};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

heapward::install!("lg_prof_sample:19");

const HISTORY: usize = 1000;

#[test]
fn a_thousand_snapshots_are_listed_elsewhere() {
    fail_fast();
    let profiler = profiler()
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(10))
        .min_interval(Duration::from_millis(10))
        .history(HISTORY)
        .start()
        .unwrap();
    step("taking a thousand snapshots");
    wait_until("waiting for the ring to fill", || profiler.snapshots().len() >= HISTORY);
    let newest = || profiler.snapshots().last().unwrap().id;
    let before = newest();

    step("listing them");
    let (list, by_this_thread) = get(&profiler, "/api/snapshots");
    let snapshots = list["snapshots"].as_array().unwrap();
    assert!(snapshots.len() >= HISTORY && snapshots.last().unwrap()["id"].as_u64() >= Some(before));
    assert!(snapshots.iter().all(|snapshot| snapshot["rss"]["why"].is_string() && snapshot["stacks"].is_u64()));
    let size = list.to_string().len() as u64;
    println!("{size} bytes of JSON, {by_this_thread} allocated by the thread that serves");
    assert!(size > 1 << 20 && by_this_thread < size / 20, "{by_this_thread} of {size}");

    // One of them takes no walk through the others.
    for (path, most) in [(format!("/api/snapshots/{before}"), 64 << 10), ("/api/memory".to_owned(), 64 << 10)] {
        let (_, by_this_thread) = get(&profiler, &path);
        println!("{path}: {by_this_thread}");
        assert!(by_this_thread < most, "{path}: {by_this_thread}");
    }
    profiler.shutdown();
}

/// The answer, and how many bytes this thread allocated until it was there.
fn get(profiler: &Profiler, path: &str) -> (serde_json::Value, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut service = profiler.routes().service();
    let request = http::Request::get(path).body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().unwrap();
    let (body, by_this_thread) = runtime.block_on(async {
        let before = allocated.get();
        let Ok(response) = service.call(request).await;
        let by_this_thread = allocated.get() - before;
        (response.into_body().collect().await.unwrap().to_bytes(), by_this_thread)
    });
    (serde_json::from_slice(&body).unwrap(), by_this_thread)
}
