//! A gauge of the host's and growth since the last snapshot take real snapshots, which are linked as an episode.

mod common_http;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common_http::{Client, wait_for};
use heapward::{ByteSize, Growth, Profiler, Reason, Selector, SnapshotInfo};
use serde_json::Value;

// Freed pages go back at once, so that RSS falls when the host frees.
heapward::install!("dirty_decay_ms:0,muzzy_decay_ms:0");

static QUEUED: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicBool = AtomicBool::new(false);
static IS_SLOW: AtomicBool = AtomicBool::new(false);

const STEP: usize = 64 << 20;

#[test]
fn gauges_and_growth_take_snapshots_of_one_episode() {
    let profiler = Profiler::builder()
        .listen("127.0.0.1:0")
        .profiles_dir("off")
        .rss_threshold(ByteSize::gib(1 << 10))
        .trigger_growth(Growth::Bytes(ByteSize::bytes(STEP as u64 / 2)))
        .trigger_on_gauge("queue_bytes", 100.0, || Some(QUEUED.load(Relaxed) as f64))
        .trigger_on_gauge("broken", 1.0, || {
            assert!(!PANICS.load(Relaxed), "the host's function is broken");
            None
        })
        .trigger_on_gauge("slow", 1.0, || {
            let begun = Instant::now();
            while IS_SLOW.load(Relaxed) && begun.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            None
        })
        // This machine's troubles are not this test's.
        .trigger_prediction(None)
        .trigger_pressure(None)
        .trigger_events(false)
        .min_interval(Duration::from_millis(50))
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());

    wait_for("the rules to be read", || (rules(&client).len() == 8).then_some(()));
    assert_eq!(profiler.snapshots().len(), 0, "nothing has happened yet");
    what_the_kernel_tells_is_in_json_and_in_prometheus(&client);
    the_hosts_gauges_are_told(&client, 0.0);
    assert_eq!(metric(&client, "heapward_episodes_total"), Some(0.0));
    assert_eq!(metric(&client, "heapward_episode"), Some(0.0));
    let first = growth(&profiler);
    assert_eq!(metric(&client, "heapward_episodes_total"), Some(1.0));
    assert_eq!(metric(&client, "heapward_episode"), Some(1.0));
    settle(&client);
    a_gauge(&profiler, &client, &first);
    let held = a_rise_is_one_episode(&profiler, &client, &first);
    its_end(&profiler, &client, held);
    what_the_hosts_functions_do_wrong(&profiler, &client);
    profiler.shutdown();
}

fn latest(profiler: &Profiler) -> Option<SnapshotInfo> {
    profiler.snapshots().pop()
}

fn rules(client: &Client) -> Vec<Value> {
    client.get("/api/memory").expect(200).json()["triggers"].as_array().unwrap().clone()
}

fn rule(client: &Client, name: &str, gauge: Option<&str>) -> Value {
    let is_it = |rule: &Value| rule["rule"] == name && rule["gauge"].as_str() == gauge;
    rules(client).into_iter().find(is_it).unwrap_or_else(|| panic!("no rule {name}"))
}

fn metric(client: &Client, name: &str) -> Option<f64> {
    let metrics = client.get("/metrics").expect(200);
    let mut lines = metrics.text().lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(found, _)| *found == name).map(|(_, value)| value.parse().expect("a number"))
}

/// What it does not tell is absent in both, and never zero.
fn what_the_kernel_tells_is_in_json_and_in_prometheus(client: &Client) {
    let memory = client.get("/api/memory").expect(200).json();
    for (pointer, name) in [
        ("/memory/pressure/some/avg10_ratio", "heapward_memory_pressure_some_ratio"),
        ("/memory/pressure/full/avg10_ratio", "heapward_memory_pressure_full_ratio"),
        ("/memory/pressure/some/avg60_ratio", "heapward_memory_pressure_some_avg60_ratio"),
        ("/memory/pressure/full/avg60_ratio", "heapward_memory_pressure_full_avg60_ratio"),
        ("/memory/pressure/some/avg300_ratio", "heapward_memory_pressure_some_avg300_ratio"),
        ("/memory/pressure/full/avg300_ratio", "heapward_memory_pressure_full_avg300_ratio"),
        ("/memory/pressure/some/total_seconds", "heapward_memory_pressure_some_seconds_total"),
        ("/memory/pressure/full/total_seconds", "heapward_memory_pressure_full_seconds_total"),
        ("/memory/cgroup_events/low", "heapward_cgroup_events_total{event=\"low\"}"),
        ("/memory/cgroup_events/high", "heapward_cgroup_events_total{event=\"high\"}"),
        ("/memory/cgroup_events/max", "heapward_cgroup_events_total{event=\"max\"}"),
        ("/memory/cgroup_events/oom", "heapward_cgroup_events_total{event=\"oom\"}"),
        ("/memory/cgroup_events/oom_kill", "heapward_cgroup_events_total{event=\"oom_kill\"}"),
        ("/predicted_limit_seconds", "heapward_predicted_limit_seconds"),
    ] {
        let json = memory.pointer(pointer).and_then(Value::as_f64);
        assert_eq!(json.is_some(), metric(client, name).is_some(), "{pointer} is {json:?}");
    }
    let tells_pressure = std::fs::read("/proc/pressure/memory").is_ok();
    assert_eq!(memory["memory"]["pressure"].is_object(), tells_pressure, "{}", memory["memory"]);
    assert!(memory["memory"]["cgroup_events"].is_object());
    let of_cgroup = metric(client, "heapward_memory_pressure_of_cgroup");
    let of = memory["memory"]["pressure"]["of"].as_str();
    assert_eq!(of_cgroup, of.map(|of| f64::from(u8::from(of == "cgroup"))));
}

/// As numbers, each by its name; what has no value is `null` here and absent there.
fn the_hosts_gauges_are_told(client: &Client, queued: f64) {
    let expect = serde_json::json!([
        { "name": "queue_bytes", "value": queued, "above": 100.0 },
        { "name": "broken", "value": null, "above": 1.0 },
        { "name": "slow", "value": null, "above": 1.0 },
    ]);
    for path in ["/api/memory", "/api/monitoring/detailed-metrics"] {
        wait_for("the gauge's value", || (client.get(path).expect(200).json()["host_gauges"] == expect).then_some(()));
    }
    let metrics = client.get("/metrics").expect(200);
    let told: Vec<&str> = metrics.text().lines().filter(|line| line.starts_with("heapward_host_value")).collect();
    let value = told.first().and_then(|line| line.strip_prefix("heapward_host_value{name=\"queue_bytes\"} "));
    assert_eq!((told.len(), value.and_then(|value| value.parse().ok())), (1, Some(queued)), "{told:?}");
}

fn grow() -> Vec<u8> {
    black_box(vec![1u8; STEP])
}

/// Waits until RSS, which nobody changes, has no snapshot to come: pages may be written slowly, and count twice then.
fn settle(client: &Client) {
    let polls = || client.get("/api/memory").expect(200).json()["watcher"]["polls"].as_u64().unwrap();
    let seen = polls() + 3;
    wait_for("later polls", || (polls() > seen).then_some(()));
    wait_for("growth to hold", || {
        let why = rule(client, "rss_growth", None)["why"].as_str().unwrap().to_owned();
        why.contains(" is not ").then_some(())
    });
}

/// The first snapshot, of growth since the first reading.
fn growth(profiler: &Profiler) -> (SnapshotInfo, Vec<u8>) {
    let held = grow();
    let first = wait_for("a snapshot for growth", || profiler.snapshots().first().cloned());
    let Reason::RssGrowth { rss, from, since } = first.reason else { panic!("{:?}", first.reason) };
    assert!(rss >= from + STEP as u64 / 2 && since.is_none(), "{:?}", first.reason);
    assert_eq!((first.rss, first.episode), (rss, Some(1)));
    (first, held)
}

fn a_gauge(profiler: &Profiler, client: &Client, (first, _): &(SnapshotInfo, Vec<u8>)) {
    QUEUED.store(101, Relaxed);
    let by_gauge = wait_for("a snapshot for the gauge", || {
        latest(profiler).filter(|snapshot| matches!(snapshot.reason, Reason::GaugeAboveThreshold { .. }))
    });
    let expect = Reason::GaugeAboveThreshold { gauge: "queue_bytes", value: 101.0, threshold: 100.0 };
    assert_eq!(by_gauge.reason, expect);
    assert!(by_gauge.id > first.id);
    assert_eq!(by_gauge.episode, Some(1), "the rise goes on");
    let says = rule(client, "gauge_above_threshold", Some("queue_bytes"));
    assert_eq!((&says["says"], &says["why"]), (&"fires".into(), &"the gauge queue_bytes is 101, above 100".into()));
    the_hosts_gauges_are_told(client, 101.0);
    QUEUED.store(0, Relaxed);
    wait_for("the gauge to hold", || {
        (rule(client, "gauge_above_threshold", Some("queue_bytes"))["says"] == "holds").then_some(())
    });
    assert!(metric(client, "heapward_snapshots_total{reason=\"gauge_above_threshold\"}") >= Some(1.0));
    let text = client.get_with("/api/memory", &[("Accept", "text/plain")]).expect(200);
    let lines: Vec<&str> = text.text().lines().collect();
    assert!(lines[0].starts_with("snapshot not taken: RSS "), "{}", lines[0]);
    assert!(lines.contains(&"gauge_above_threshold queue_bytes holds: 0 is not above 100"), "{lines:?}");
    assert!(
        lines.contains(&"memory_pressure off: switched off; HEAPWARD_TRIGGER_PRESSURE switches it on"),
        "{lines:?}"
    );
}

fn a_rise_is_one_episode(profiler: &Profiler, client: &Client, first: &(SnapshotInfo, Vec<u8>)) -> Vec<Vec<u8>> {
    let mut held = Vec::new();
    for _ in 0..3 {
        let before = latest(profiler).unwrap();
        held.push(grow());
        wait_for("a snapshot for more growth", || latest(profiler).filter(|next| next.id > before.id));
        settle(client);
    }
    for snapshot in profiler.snapshots() {
        assert_eq!(snapshot.episode, Some(1), "{}", snapshot.reason);
        if let Reason::RssGrowth { since, .. } = snapshot.reason {
            assert_eq!(since, Some(snapshot.id - 1).filter(|&since| since > 0));
        }
    }
    let episodes = profiler.episodes();
    assert_eq!(episodes.len(), 1);
    let episode = &episodes[0];
    assert_eq!(episode.end, None);
    assert_eq!(episode.reason, first.0.reason);
    assert!(episode.start.rss < first.0.rss && episode.start.time <= first.0.time);
    let last = latest(profiler).unwrap();
    assert_eq!((episode.highest.id, episode.taken), (last.id, last.id));
    assert!(episode.peak.rss >= last.rss);
    assert!(episode.snapshots.iter().all(|snapshot| snapshot.is_kept));
    assert_eq!(client.get("/api/snapshots/latest").expect(200).json()["episode"], 1);
    held
}

fn its_end(profiler: &Profiler, client: &Client, held: Vec<Vec<u8>>) {
    drop(held);
    wait_for("the rise to end", || profiler.episodes()[0].end);
    let episode = &client.get("/api/episodes").expect(200).json()["episodes"][0];
    assert_eq!(episode["ended_by"], "fell");
    assert_eq!(metric(client, "heapward_episode"), Some(0.0), "none goes on");
    assert_eq!(metric(client, "heapward_episodes_total"), Some(1.0));
    let rss = |point: &str| episode[point]["rss_bytes"].as_u64().unwrap();
    assert!(rss("end") < rss("peak") && rss("start") < rss("peak"), "{episode}");
    assert!(episode["reasons"]["rss_growth"].as_u64() >= Some(4), "{episode}");

    // The ring gives the first of them up, and the episode says so. The baseline is pinned.
    for _ in 0..heapward::DEFAULT_HISTORY + 1 {
        let before = latest(profiler).unwrap().id;
        QUEUED.store(1000, Relaxed);
        wait_for("one more snapshot", || latest(profiler).filter(|next| next.id > before));
    }
    QUEUED.store(0, Relaxed);
    let episode = &profiler.episodes()[0];
    let kept: Vec<(u64, bool)> = episode.snapshots.iter().map(|snapshot| (snapshot.id, snapshot.is_kept)).collect();
    assert_eq!((kept[0], kept[1]), ((1, true), (2, false)), "{kept:?}");
    profiler.heap_prof(Selector::Id(1)).unwrap();
    assert!(profiler.heap_prof(Selector::Id(2)).is_err());
    let listed = client.get("/api/episodes").expect(200).json();
    assert_eq!(listed["episodes"][0]["snapshots"][1], serde_json::json!({ "id": 2, "kept": false }));
    assert_ne!(latest(profiler).unwrap().episode, Some(1), "it has ended");
}

fn what_the_hosts_functions_do_wrong(profiler: &Profiler, client: &Client) {
    IS_SLOW.store(true, Relaxed);
    wait_for("the slow one to be told", || {
        let why = rule(client, "gauge_above_threshold", Some("slow"))["why"].as_str().unwrap().to_owned();
        why.contains("its function took 0.0").then_some(())
    });
    IS_SLOW.store(false, Relaxed);
    PANICS.store(true, Relaxed);
    let why = wait_for("the broken one to be told", || {
        let said = rule(client, "gauge_above_threshold", Some("broken"));
        (said["says"] == "unknown" && said["why"] == "its function panicked").then_some(said)
    });
    assert_eq!(why["gauge"], "broken");
    let panics = || client.get("/api/memory").expect(200).json()["watcher"]["panics"].as_u64().unwrap();
    wait_for("three panics", || (panics() == 3).then_some(()));
    let before = latest(profiler).unwrap().id;
    QUEUED.store(1000, Relaxed);
    wait_for("the watcher to go on", || latest(profiler).filter(|next| next.id > before));
    assert_eq!(panics(), 3, "it is not asked any more");
}
