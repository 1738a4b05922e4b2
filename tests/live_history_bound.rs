//! Snapshots are small: twenty of a heap with 8,192 live samples, each at a stack of its own, take at most 8 MiB, with
//! the pinned first and highest; and objects whose births no kept snapshot tells apart are one cohort.

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{Block, Random, fail_fast, profiler, sampled, step, wait_until};
use heapward::{ByteSize, Profiler, Selector};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const SAMPLES: usize = 8192;
const HISTORY: usize = 20;
const BAR: u64 = 8 << 20;

/// Calls itself from one of two places for each bit, so that each number has a stack of its own.
#[inline(never)]
fn allocate(number: usize, bits: u32, size: usize) -> Block {
    if bits == 0 {
        return sampled(|| Block::new(size));
    }
    // Not the last thing that it does: a tail call leaves no frame.
    if number & 1 == 0 {
        black_box(allocate(number >> 1, bits - 1, size))
    } else {
        black_box(allocate(number >> 1, bits - 1, black_box(size)))
    }
}

#[test]
fn twenty_snapshots_of_a_full_heap_take_eight_mebibytes_at_most() {
    fail_fast();
    let profiler = profiler()
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(10))
        .min_interval(Duration::from_millis(10))
        .history(HISTORY)
        .start()
        .unwrap();
    let mut random = Random::of_thread(0);
    let mut size = || random.within(1..20_000);
    step("filling the heap");
    let mut blocks: Vec<Block> = (0..SAMPLES).map(|number| allocate(number, 13, size())).collect();
    let mut random = Random::of_thread(1);
    let mut last = newest(&profiler);
    for _ in 0..HISTORY + 10 {
        // Some die and are born again in every epoch.
        for _ in 0..SAMPLES / 40 {
            let at = random.within(0..SAMPLES);
            std::mem::replace(&mut blocks[at], allocate(at, 13, size())).free();
        }
        wait_until("waiting for the next snapshot", || newest(&profiler) > last);
        last = newest(&profiler);
    }
    // At most what the kept ones tell apart, though objects of all epochs are alive.
    let epochs = profiler.snapshot_epochs(Selector::Latest).unwrap();
    assert!(epochs.len() > HISTORY / 2 && epochs.len() <= HISTORY + 2, "{epochs:?}");
    let mut births: Vec<u32> = profiler.live_samples().iter().map(|object| object.epoch).collect();
    births.sort_unstable();
    births.dedup();
    assert!(births.len() > HISTORY + 2, "{births:?}");

    let report = report(&profiler);
    let snapshots = &report["snapshots"];
    println!("{} bytes in {} snapshots and those pinned", snapshots["kept_bytes"], snapshots["kept"]);
    assert_eq!(snapshots["kept"], HISTORY);
    let kept = snapshots["kept_bytes"].as_u64().unwrap();
    assert!(kept <= BAR, "{kept} bytes");
    // That it was this heap: all samples alive, each at a stack of its own.
    let live = profiler.live_samples();
    assert_eq!(live.len(), SAMPLES);
    let newest = profiler.heap_profile(Selector::Latest).unwrap();
    assert!(newest.totals().inuse_objects.unsigned_abs().abs_diff(SAMPLES as u64) <= SAMPLES as u64 / 20);
    assert_eq!(report["collector"]["dropped_stacks"], 0);
    assert!(report["collector"]["stacks"].as_u64().unwrap() >= SAMPLES as u64);
    blocks.into_iter().for_each(Block::free);
    profiler.shutdown();
}

fn newest(profiler: &Profiler) -> u64 {
    profiler.snapshots().last().map_or(0, |snapshot| snapshot.id)
}

fn report(profiler: &Profiler) -> serde_json::Value {
    let request = http::Request::get("/api/memory").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(async {
        let Ok(response) = profiler.routes().service().call(request).await;
        let Ok(body) = response.into_body().collect().await;
        body.to_bytes()
    });
    serde_json::from_slice(&body).unwrap()
}
