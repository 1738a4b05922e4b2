//! The real trigger over real readings: snapshots above a threshold, their pace, and which are kept.

mod common_http;

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, SystemTime};

use common_http::{Client, decode, functions, string, values_at, wait_for};
use heapward::{ByteSize, Profiler, Reason, Selector, SnapshotInfo};

// Freed pages go back at once, so that RSS falls when the host frees.
heapward::install!("lg_prof_sample:12,dirty_decay_ms:0,muzzy_decay_ms:0");

const INTERVAL: Duration = Duration::from_millis(50);
const HISTORY: usize = heapward::DEFAULT_HISTORY;

#[test]
fn snapshots_are_taken_above_the_threshold() {
    if std::env::var_os("HEAPWARD_COLLECTOR").is_some() {
        return without_hooks();
    }
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::bytes(1))
        .min_interval(INTERVAL)
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    they_say_why(&profiler);
    the_first_the_highest_and_the_last_are_kept(&profiler, &client);
    they_come_at_most_once_an_interval(&profiler, &client);
    one_on_request_has_its_own_limit(&profiler);
    profiler.shutdown();

    below_the_threshold_there_are_none();
    jemallocs_dumps_stand_in_for_the_hooks();
}

fn ids(profiler: &Profiler) -> Vec<u64> {
    profiler.snapshots().iter().map(|snapshot| snapshot.id).collect()
}

fn latest(profiler: &Profiler) -> Option<SnapshotInfo> {
    profiler.snapshots().pop()
}

fn they_say_why(profiler: &Profiler) {
    let first = wait_for("a snapshot", || profiler.snapshots().first().cloned());
    assert_eq!(first.id, 1);
    let Reason::RssAboveThreshold { rss, threshold } = first.reason else { panic!("{:?}", first.reason) };
    assert_eq!((rss, threshold), (first.rss, 1));
    assert!(rss > 1 << 20);
    assert_eq!(first.partial, None);
    wait_for("a poll within the interval", || profiler.last_decision().contains("interval left").then_some(()));
}

fn the_first_the_highest_and_the_last_are_kept(profiler: &Profiler, client: &Client) {
    // Far above all else, also above what looking names up takes for a moment.
    const TALL: usize = 384 << 20;
    let tall = black_box(vec![1u8; TALL]);
    let next = |is_high: bool| {
        let what = if is_high { "a snapshot with the high RSS" } else { "a snapshot with the RSS down again" };
        wait_for(what, || latest(profiler).filter(|snapshot| (snapshot.rss > TALL as u64) == is_high)).id
    };
    let peak = next(true);
    drop(tall);
    let low = next(false);
    wait_for("the ring to have turned over", || {
        latest(profiler).is_some_and(|snapshot| snapshot.id > low + HISTORY as u64).then_some(())
    });

    let list = client.get("/api/snapshots").expect(200).json();
    let kept: Vec<u64> =
        list["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_u64().unwrap()).collect();
    let highest = list["peak"].as_u64().unwrap();
    assert!((peak..low).contains(&highest), "{highest} is one of {peak} to {low}");
    let last = *kept.last().unwrap();
    let ring: Vec<u64> = (last + 1 - HISTORY as u64..=last).collect();
    assert_eq!(kept, [&[1, highest][..], &ring].concat(), "the first, the highest, and the last {HISTORY}");
    assert_eq!(list["baseline"], 1);
    for snapshot in list["snapshots"].as_array().unwrap() {
        assert_eq!(snapshot["reason"], "rss_above_threshold");
        assert!(snapshot["why"].as_str().unwrap().ends_with("above the threshold 1 B"), "{}", snapshot["why"]);
    }
    let heights = profiler.snapshots();
    assert_eq!(heights.iter().max_by_key(|snapshot| snapshot.rss).unwrap().id, highest);

    // The pinned ones are still there to be read, and what was given up is not.
    for name in ["baseline", "peak", "latest", "1", &highest.to_string()] {
        client.get(&format!("/api/snapshots/{name}/heap.prof")).expect(200).profile();
    }
    let given_up = if highest == 2 { 3 } else { 2 };
    client.get(&format!("/api/snapshots/{given_up}")).expect(404);
    let memory = client.get("/api/memory").expect(200).json();
    assert_eq!(memory["snapshots"]["kept"], HISTORY);
    assert!(memory["snapshots"]["evicted"].as_u64().unwrap() >= last - HISTORY as u64);
    assert_eq!(memory["snapshots"]["requested"], 0);
}

fn they_come_at_most_once_an_interval(profiler: &Profiler, client: &Client) {
    let list = client.get("/api/snapshots").expect(200).json();
    let list = list["snapshots"].as_array().unwrap();
    // Of their readings, by which it is decided: when a snapshot is there is a matter of how busy the machine is.
    let uptime = |snapshot: &serde_json::Value| snapshot["memory"]["uptime_seconds"].as_f64().unwrap();
    for pair in list[list.len() - HISTORY..].windows(2) {
        let apart = uptime(&pair[1]) - uptime(&pair[0]);
        assert!(apart + 1e-6 >= INTERVAL.as_secs_f64(), "{apart} s apart: {pair:#?}");
    }
    let snapshots = profiler.snapshots();
    let ring = &snapshots[snapshots.len() - HISTORY..];
    assert!(ring.is_sorted_by_key(|snapshot| snapshot.time));
    assert!(ring.iter().all(|snapshot| snapshot.time <= SystemTime::now()));
}

fn one_on_request_has_its_own_limit(profiler: &Profiler) {
    let requested = profiler.snapshot().expect("the trigger's snapshots do not count");
    assert_eq!(requested.reason, Reason::Requested);
    profiler.snapshot().unwrap_err();
    wait_for("the trigger to go on", || (latest(profiler)?.id > requested.id + 1).then_some(()));
    assert!(ids(profiler).contains(&requested.id), "it is in the ring with the others");
}

fn below_the_threshold_there_are_none() {
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::mib(1 << 20))
        .min_interval(INTERVAL)
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    wait_for("many polls", || {
        (client.get("/api/memory").expect(200).json()["watcher"]["polls"].as_u64() > Some(20)).then_some(())
    });
    assert_eq!(ids(&profiler), [0; 0]);
    let decision = profiler.last_decision();
    assert!(decision.starts_with("not taken: RSS ") && decision.contains("is not above the threshold"), "{decision}");
    profiler.shutdown();
}

fn jemallocs_dumps_stand_in_for_the_hooks() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["snapshots_are_taken_above_the_threshold", "--exact", "--nocapture"])
        .env("HEAPWARD_COLLECTOR", "dump")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

#[inline(never)]
fn leak_sessions() -> Vec<Vec<u8>> {
    (0..1024).map(|_| black_box(vec![1; 16 * 1024])).collect()
}

/// The child's part: the same trigger with the fallback.
fn without_hooks() {
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::bytes(1))
        .min_interval(INTERVAL)
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    assert_eq!(client.get("/api/memory").expect(200).json()["collector"]["source"], "dump");
    let held = leak_sessions();
    let before = latest(&profiler).map_or(0, |snapshot| snapshot.id);
    // The one after this may have been begun before the leak.
    wait_for("snapshots with the leak", || latest(&profiler).filter(|snapshot| snapshot.id > before + 1));
    assert!(matches!(latest(&profiler).unwrap().reason, Reason::RssAboveThreshold { threshold: 1, .. }));

    let leaked = (held.len() * 16 * 1024) as i64;
    for profile in [profiler.heap_prof(Selector::Latest).unwrap(), profiler.live_heap_prof().unwrap()] {
        let profile = decode(&profile);
        assert!(functions(&profile).iter().any(|name| name.contains("leak_sessions")));
        let [alloc_objects, alloc_space, inuse_objects, inuse_space] = values_at(&profile, "leak_sessions");
        assert_eq!((alloc_objects, alloc_space), (0, 0));
        assert!((inuse_space - leaked).abs() < leaked / 5, "{inuse_space} of {leaked}");
        assert!((900..1150).contains(&inuse_objects), "{inuse_objects}");
        assert!(profile.sample.iter().all(|sample| sample.value[..2] == [0, 0]));
        let comments: Vec<&str> = profile.comment.iter().map(|&index| string(&profile, index)).collect();
        assert!(comments.iter().any(|comment| comment.starts_with("alloc_* are zero")), "{comments:?}");
    }
    let top = profiler.top(Selector::Latest, 1).unwrap();
    assert!(top[0].function.contains("leak_sessions"), "{top:?}");
    assert_eq!((top[0].alloc_bytes, top[0].alloc_objects), (0, 0));
    drop(held);
    profiler.shutdown();
}
