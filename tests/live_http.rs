//! heapward's own server on loopback: every endpoint, and every refusal.

mod common_http;

use std::hint::black_box;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common_http::{Client, Reply, functions, string, values_at, wait_for};
use heapward::{ByteSize, ErrorKind, Profiler};
use serde_json::Value;

heapward::install!("lg_prof_sample:12");

/// Every path of the listing, with its content type.
const ENDPOINTS: [(&str, &str); 25] = [
    ("/", "text/html; charset=utf-8"),
    ("/debug/pprof/", "text/html; charset=utf-8"),
    ("/debug/pprof/heap", "application/octet-stream"),
    ("/debug/pprof/allocs", "application/octet-stream"),
    ("/api/snapshots", "application/json"),
    ("/api/snapshots/latest", "application/json"),
    ("/api/snapshots/latest/heap.prof", "application/octet-stream"),
    ("/api/snapshots/baseline/heap.prof", "application/octet-stream"),
    ("/api/snapshots/peak/heap.prof", "application/octet-stream"),
    ("/api/snapshots/latest/top", "application/json"),
    ("/api/snapshots/latest/flamegraph.svg", "image/svg+xml"),
    ("/api/snapshots/latest/folded", "text/plain; charset=utf-8"),
    ("/api/runs", "application/json"),
    ("/api/diff/baseline/latest", "application/json"),
    ("/api/diff/baseline/latest/heap.prof", "application/octet-stream"),
    ("/api/diff/baseline/latest/flamegraph.svg", "image/svg+xml"),
    ("/api/leaks", "application/json"),
    ("/api/episodes", "application/json"),
    ("/api/alerts", "application/json"),
    ("/api/memory", "application/json"),
    ("/api/monitoring/detailed-metrics", "application/json"),
    ("/api/monitoring/hotspots", "application/json"),
    ("/api/monitoring/memory-leaks", "application/json"),
    ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ("/healthz", "text/plain; charset=utf-8"),
];

#[test]
fn the_server_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let profiler = Profiler::builder()
        .listen("127.0.0.1:0")
        .profiles_dir(folder.path())
        .poll_interval(Duration::from_millis(50))
        // Only snapshots that are asked for.
        .rss_threshold(ByteSize::mib(1 << 20))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    let leak = leak_sessions();

    before_the_first_snapshot(&client);
    snapshots_on_request_are_one_a_second(&client, &profiler);
    every_endpoint_has_its_type(&client);
    the_listing_leads_to_every_endpoint(&client);
    profiles_name_the_leak(&client);
    one_snapshot_is_shown_by_id_and_by_name(&client);
    top_shows_the_leak(&client);
    gauges_are_in_json_and_in_prometheus(&client);
    metrics_come_in_both_formats(&client);
    unknown_things_are_not_found(&client);
    bad_parameters_are_refused_with_what_is_allowed(&client);
    other_methods_are_refused(&client);
    foreign_hosts_and_origins_are_refused(&client);
    drawings_show_what_is_asked_for(&client);
    errors_are_marked_for_pprof_alone(&client);
    odd_clients_do_no_harm(&client);

    drop(black_box(leak));
    profiler.shutdown();
    assert!(common_http::heapward_threads().is_empty());
    let Client::Tcp(address) = client else { unreachable!() };
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

#[inline(never)]
fn leak_sessions() -> Vec<Vec<u8>> {
    (0..512).map(|_| black_box(vec![1; 16 * 1024])).collect()
}

#[inline(never)]
fn grow_after_the_first_snapshot() -> Vec<Vec<u8>> {
    (0..64).map(|_| black_box(vec![1; 16 * 1024])).collect()
}

fn ids(client: &Client) -> Vec<u64> {
    let list = client.get("/api/snapshots").expect(200).json();
    list["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_u64().unwrap()).collect()
}

fn before_the_first_snapshot(client: &Client) {
    let list = wait_for("the first poll", || {
        let list = client.get("/api/snapshots").expect(200).json();
        list["trigger"].as_str().unwrap().contains("is not above the threshold").then_some(list)
    });
    assert_eq!(list["snapshots"], Value::Array(Vec::new()));
    assert_eq!((&list["baseline"], &list["peak"]), (&Value::Null, &Value::Null));
    for path in ["latest", "baseline", "peak", "1", "latest/heap.prof", "latest/top"] {
        let error = client.get(&format!("/api/snapshots/{path}")).expect(404).error();
        assert!(error.contains("none has been taken yet; POST /api/snapshots takes one"), "{path}: {error}");
    }
}

fn snapshots_on_request_are_one_a_second(client: &Client, profiler: &Profiler) {
    const SECOND: Duration = Duration::from_secs(1);
    let post = || client.send("POST", "/api/snapshots", &[]);
    let begun = Instant::now();
    let taken = post().expect(201).json();
    assert_eq!((taken["id"].as_u64(), taken["reason"].as_str()), (Some(1), Some("requested")));

    // So that there is a difference to the next.
    std::mem::forget(grow_after_the_first_snapshot());
    // The handle and the server share the limit. Asked first: on a slow machine the second may be over any moment.
    let error = match profiler.snapshot() {
        Err(error) => error,
        Ok(taken) => panic!("{} was taken after {:?}", taken.id, begun.elapsed()),
    };
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(error.retry_after().unwrap() <= SECOND);
    assert_eq!(ids(client), [1], "what was refused was not taken");

    let mut refused = Vec::new();
    let taken = wait_for("a second snapshot on request", || {
        let reply = post();
        if reply.status != 429 {
            return Some(reply.expect(201).json());
        }
        refused.push(reply);
        None
    });
    assert!(begun.elapsed() >= SECOND, "{:?}", begun.elapsed());
    assert!(!refused.is_empty(), "the server does not share the handle's limit");
    for refused in &refused {
        assert!(refused.error().contains("less than 1 s ago"), "{refused:?}");
        assert_eq!(refused.header("retry-after"), Some("1"), "whole seconds");
    }
    assert_eq!(taken["id"], 2, "refused requests use up no ids");
    assert_eq!(ids(client), [1, 2]);

    // A client that obeys Retry-After is not refused again. On a machine so slow that a second has passed by now, it is not
    // refused at all.
    let reply = post();
    let third = match reply.status {
        429 => {
            std::thread::sleep(Duration::from_secs(reply.header("retry-after").unwrap().parse().unwrap()));
            post()
        }
        _ => reply,
    };
    assert_eq!(third.expect(201).json()["id"], 3);
}

fn every_endpoint_has_its_type(client: &Client) {
    for (path, content_type) in ENDPOINTS {
        let reply = client.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some(content_type), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        let disposition = match path {
            "/debug/pprof/allocs" => Some("attachment; filename=\"allocs.prof\""),
            path if content_type == "application/octet-stream" => {
                assert!(path.ends_with("heap") || path.ends_with("heap.prof"));
                Some("attachment; filename=\"heap.prof\"")
            }
            _ => None,
        };
        assert_eq!(reply.header("content-disposition"), disposition, "{path}");

        let head = client.send("HEAD", path, &[]).expect(200);
        assert_eq!(head.header("content-type"), Some(content_type), "HEAD {path}");
        assert_eq!(head.header("content-disposition"), disposition, "HEAD {path}");
    }
    assert_eq!(client.get("/healthz").text(), "ok\n");
    assert!(client.get("/api/snapshots/latest/flamegraph.svg").text().contains("leak_sessions"));
}

fn the_listing_leads_to_every_endpoint(client: &Client) {
    let page = client.get("/").expect(200);
    let links: Vec<&str> = page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let paths: Vec<String> = links.iter().map(|link| format!("/{link}")).collect();
    let expected: Vec<&str> = ENDPOINTS[1..].iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, expected, "links are relative, so that they work under a mount");
}

fn profiles_name_the_leak(client: &Client) {
    let leaked = 512 * 16 * 1024;
    for (path, default) in [
        ("/debug/pprof/heap", "inuse_space"),
        ("/debug/pprof/allocs", "alloc_space"),
        ("/api/snapshots/1/heap.prof", "inuse_space"),
        ("/api/snapshots/latest/heap.prof", "inuse_space"),
    ] {
        let profile = client.get(path).expect(200).profile();
        let types: Vec<(&str, &str)> =
            profile.sample_type.iter().map(|t| (string(&profile, t.ty), string(&profile, t.unit))).collect();
        assert_eq!(
            types,
            [
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes")
            ],
            "{path}"
        );
        assert_eq!(string(&profile, profile.default_sample_type), default, "{path}");
        assert_eq!(profile.period, 4096, "{path}");
        assert!(functions(&profile).iter().any(|name| name.contains("leak_sessions")), "{path}");
        let [_, alloc_space, inuse_objects, inuse_space] = values_at(&profile, "leak_sessions");
        // Objects of four times the mean interval: nearly each is sampled, so the estimate is close.
        assert!((inuse_space - leaked).abs() < leaked / 5, "{path}: {inuse_space}");
        assert!((400..=620).contains(&inuse_objects), "{path}: {inuse_objects}");
        assert!(alloc_space >= inuse_space, "{path}");
    }
}

fn one_snapshot_is_shown_by_id_and_by_name(client: &Client) {
    let list = client.get("/api/snapshots").expect(200).json();
    let all = list["snapshots"].as_array().unwrap();
    assert_eq!(ids(client), [1, 2, 3]);
    assert_eq!(list["baseline"], 1);
    let highest = all.iter().map(|snapshot| snapshot["rss_bytes"].as_u64().unwrap()).max();
    let peak = list["peak"].as_u64().unwrap();
    assert_eq!(all[peak as usize - 1]["rss_bytes"].as_u64(), highest);

    for (name, id) in [("1", 1), ("2", 2), ("latest", 3), ("baseline", 1), ("peak", peak)] {
        let snapshot = client.get(&format!("/api/snapshots/{name}")).expect(200).json();
        assert_eq!(snapshot["id"], id, "{name}");
        assert_eq!(snapshot, all[id as usize - 1], "{name} is the same as in the list");
        assert_eq!((&snapshot["reason"], &snapshot["why"]), (&"requested".into(), &"requested".into()));
        assert_eq!(snapshot["partial"], Value::Null);
        for field in [
            "rss_bytes",
            "live_bytes",
            "live_bytes_low",
            "live_objects",
            "live_objects_low",
            "sampled_objects",
            "stacks",
        ] {
            assert!(snapshot[field].as_u64().is_some_and(|value| value > 0), "{field} of {snapshot}");
        }
        for name in ["live_bytes", "live_objects"] {
            let value = |name: &str| snapshot[name].as_u64().expect("a number");
            let (low, high) = (value(&format!("{name}_low")), value(&format!("{name}_high")));
            assert!(low < value(name) && value(name) < high, "{snapshot}");
        }
        assert!(snapshot["epoch"].is_u64() && snapshot["dropped_samples"].is_u64());
        assert!(snapshot["duration_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
        assert_eq!(snapshot["memory"]["rss_bytes"], snapshot["rss_bytes"]);
        assert_is_utc(&snapshot["time"]);
    }
    let same = client.get("/api/snapshots/").expect(200).json();
    assert_eq!(same["snapshots"], list["snapshots"], "a slash at the end changes nothing");
}

#[track_caller]
fn assert_is_utc(time: &Value) {
    let time = time.as_str().expect("a time");
    let ok = chrono::DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z');
    assert!(ok, "{time} is RFC 3339 in UTC");
}

fn top_shows_the_leak(client: &Client) {
    let top = client.get("/api/snapshots/latest/top").expect(200).json();
    let rows = top["top"].as_array().unwrap();
    assert!((1..=20).contains(&rows.len()));
    assert!(rows[0]["function"].as_str().unwrap().contains("leak_sessions"), "{}", rows[0]);
    assert!(rows[0]["file"].as_str().unwrap().ends_with("live_http.rs"), "{}", rows[0]);
    assert!(rows[0]["line"].as_u64().unwrap() > 0);
    for field in ["alloc_objects", "alloc_bytes", "inuse_objects", "inuse_bytes"] {
        assert!(rows[0][field].as_i64().unwrap() > 0, "{field}");
        assert!(top[field].as_i64().unwrap() >= rows[0][field].as_i64().unwrap(), "{field}");
    }
    for value in [&top, &rows[0]] {
        for name in ["inuse_bytes", "inuse_objects"] {
            let bound = |side: &str| value[format!("{name}_{side}")].as_i64().expect("a bound");
            let estimate = value[name].as_i64().unwrap();
            assert!(bound("low") < estimate && estimate < bound("high"), "{value}");
        }
        // Not so the objects of all rows: one sample of a small size may stand for thousands.
        assert!(value["inuse_bytes_low"].as_i64() > value["inuse_bytes"].as_i64().map(|bytes| bytes / 2), "{value}");
    }
    assert!(rows[0]["samples"].as_u64().unwrap() > 400, "{}", rows[0]);
    assert!(top["samples"].as_u64() >= rows[0]["samples"].as_u64());
    assert!(top["sites"].as_u64().unwrap() >= rows.len() as u64);
    assert!(top["comments"][0].as_str().unwrap().starts_with("heapward "));
    assert_is_utc(&top["time"]);

    let one = client.get("/api/snapshots/latest/top?n=1&by=alloc_objects").expect(200).json();
    assert_eq!(one["top"].as_array().unwrap().len(), 1);

    let text = client.get_with("/api/snapshots/latest/top?n=3", &[("Accept", "text/plain")]).expect(200);
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(text.text().starts_with("3 of "), "{}", text.text());
    let first = text.text().lines().nth(1).unwrap();
    assert!(first.contains("leak_sessions") && first.contains("MiB ± "), "{}", text.text());
}

/// Every gauge that is promised: where it is in `/api/memory`, and its name in `/metrics`.
const GAUGES: [(&str, &str); 40] = [
    ("/memory/rss_bytes", "heapward_process_rss_bytes"),
    ("/memory/virtual_bytes", "heapward_process_virtual_bytes"),
    ("/memory/swap_bytes", "heapward_process_swap_bytes"),
    ("/memory/allocator/allocated_bytes", "heapward_allocator_allocated_bytes"),
    ("/memory/allocator/active_bytes", "heapward_allocator_active_bytes"),
    ("/memory/allocator/resident_bytes", "heapward_allocator_resident_bytes"),
    ("/memory/allocator/mapped_bytes", "heapward_allocator_mapped_bytes"),
    ("/memory/allocator/retained_bytes", "heapward_allocator_retained_bytes"),
    ("/memory/allocator/metadata_bytes", "heapward_allocator_metadata_bytes"),
    ("/memory/cgroup_limit_bytes", "heapward_cgroup_limit_bytes"),
    ("/memory/cgroup_usage_bytes", "heapward_cgroup_usage_bytes"),
    ("/rss/live_heap_bytes", "heapward_rss_live_heap_bytes"),
    ("/rss/allocator_slack_bytes", "heapward_rss_allocator_slack_bytes"),
    ("/rss/allocator_dirty_bytes", "heapward_rss_allocator_dirty_bytes"),
    ("/rss/allocator_metadata_bytes", "heapward_rss_allocator_metadata_bytes"),
    ("/rss/not_heap/mapped_files_bytes", "heapward_rss_mapped_files_bytes"),
    ("/rss/not_heap/shared_memory_bytes", "heapward_rss_shared_memory_bytes"),
    ("/rss/not_heap/heapward_bytes", "heapward_rss_heapward_bytes"),
    ("/rss/not_heap/other_bytes", "heapward_rss_other_bytes"),
    ("/rss/unaccounted_bytes", "heapward_rss_unaccounted_bytes"),
    ("/rss/counted_not_resident_bytes", "heapward_rss_counted_not_resident_bytes"),
    ("/collector/live_samples", "heapward_live_samples"),
    ("/collector/stacks", "heapward_stacks"),
    ("/collector/dropped_samples", "heapward_dropped_samples_total"),
    ("/collector/dropped_stacks", "heapward_dropped_stacks_total"),
    ("/collector/cached_symbols_bytes", "heapward_cached_symbols_bytes"),
    ("/unwinder/truncated_stacks", "heapward_truncated_stacks_total"),
    ("/unwinder/borrowed_stacks", "heapward_borrowed_stacks_total"),
    ("/unwinder/rule_lookups", "heapward_unwind_rule_lookups_total"),
    ("/unwinder/module_refreshes", "heapward_module_refreshes_total"),
    ("/snapshots/rss_above_threshold", "heapward_snapshots_total{reason=\"rss_above_threshold\"}"),
    ("/snapshots/requested", "heapward_snapshots_total{reason=\"requested\"}"),
    ("/snapshots/last_time", "heapward_last_snapshot_timestamp_seconds"),
    ("/snapshots/last_duration_seconds", "heapward_last_snapshot_duration_seconds"),
    ("/watcher/polls", "heapward_polls_total"),
    ("/watcher/heartbeat_age_seconds", "heapward_heartbeat_age_seconds"),
    ("/watcher/waiting_requests", "heapward_waiting_requests"),
    ("/watcher/unread_answer_bytes", "heapward_unread_answer_bytes"),
    ("/watcher/refused_requests", "heapward_refused_requests_total"),
    ("/watcher/read_failures", "heapward_read_failures_total"),
];

fn gauges_are_in_json_and_in_prometheus(client: &Client) {
    let memory = client.get("/api/memory").expect(200).json();
    let metrics = client.get("/metrics").expect(200);
    let sample = |name: &str| {
        let mut lines = metrics.text().lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value.parse::<f64>().expect("a number"))
    };
    for (pointer, name) in GAUGES {
        let json = memory.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing in {memory}"));
        match (json, sample(name)) {
            // Unknown in both: there is no such limit, or no swap accounting. Never a zero, which would be a lie.
            (Value::Null, None) => assert!(pointer.contains("cgroup") || pointer.contains("swap"), "{pointer}"),
            (Value::Null, Some(value)) => panic!("{pointer} is unknown, and {name} is {value}"),
            (_, None) => panic!("{pointer} is {json}, and {name} is missing"),
            (_, Some(value)) => assert!(value >= 0.0, "{name} {value}"),
        }
    }
    for (pointer, value) in [
        ("/snapshots/requested", 3),
        ("/snapshots/rss_above_threshold", 0),
        ("/snapshots/kept", 3),
        ("/snapshots/failures", 0),
        ("/collector/dropped_samples", 0),
        ("/collector/sample_interval_bytes", 4096),
        ("/watcher/read_failures", 0),
        ("/watcher/panics", 0),
    ] {
        assert_eq!(memory.pointer(pointer).and_then(Value::as_u64), Some(value), "{pointer}");
    }
    assert_eq!(sample("heapward_snapshots_total{reason=\"requested\"}"), Some(3.0));
    assert_eq!(memory["collector"]["source"], "hooks");
    let name = memory["unwinder"]["name"].as_str().unwrap();
    for unwinder in ["frame_pointers", "eh_frame", "jemalloc"] {
        let in_use = f64::from(u8::from(unwinder == name));
        assert_eq!(sample(&format!("heapward_unwinder{{name=\"{unwinder}\"}}")), Some(in_use), "{unwinder}");
    }
    for name in ["heapward_process_rss_bytes", "heapward_allocator_allocated_bytes", "heapward_live_samples"] {
        assert!(sample(name).unwrap() > 0.0, "{name}");
    }
    // The parts of RSS sum up to it, in one scrape.
    let parts = metrics.text().lines().filter_map(|line| line.strip_prefix("heapward_rss_"));
    let parts = parts.filter(|line| !line.starts_with("counted_not_resident")).filter_map(|line| line.rsplit_once(' '));
    let sum: f64 = parts.map(|(_, value)| value.parse::<f64>().expect("a number")).sum();
    assert_eq!(Some(sum), sample("heapward_process_rss_bytes"));
    // A time is a time in both.
    let last = chrono::DateTime::parse_from_rfc3339(memory["snapshots"]["last_time"].as_str().unwrap()).unwrap();
    let seconds = sample("heapward_last_snapshot_timestamp_seconds").unwrap();
    assert!((last.timestamp_millis() as f64 / 1000.0 - seconds).abs() < 0.01, "{last} and {seconds}");

    wait_for("the heartbeat to go on", || {
        let later = client.get("/api/memory").expect(200).json();
        (later["watcher"]["polls"].as_u64() > memory["watcher"]["polls"].as_u64()).then_some(())
    });
}

fn metrics_come_in_both_formats(client: &Client) {
    let text = client.get("/metrics").expect(200);
    assert_is_exposition(text.text(), "_total");
    assert!(!text.text().contains("# EOF") && !text.text().contains("# UNIT"), "{}", text.text());

    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let open_metrics = client.get_with("/metrics", &[("Accept", accept)]).expect(200);
    assert_eq!(open_metrics.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open_metrics.text().ends_with("# EOF\n"));
    assert_is_exposition(open_metrics.text(), "");
}

/// Every sample follows a `# TYPE` and a `# HELP` of its own name; counters end in `_total`. `suffix` is what a
/// counter's name has in the comments.
#[track_caller]
fn assert_is_exposition(text: &str, suffix: &str) {
    let mut help = "";
    let (mut name, mut kind) = ("", "");
    let mut samples = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').expect("words of help").0;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(help, name, "{line}");
            assert!(name.starts_with("heapward_") && ["gauge", "counter"].contains(&kind), "{line}");
        } else if !line.starts_with('#') {
            let sample = line.split(['{', ' ']).next().unwrap();
            let expected = match kind {
                "counter" => format!("{}_total", name.strip_suffix(suffix).unwrap_or_else(|| panic!("{line}"))),
                _ => name.to_owned(),
            };
            assert_eq!(sample, expected, "{line}");
            samples += 1;
        }
    }
    assert!(samples >= GAUGES.len() - 3, "{text}");
}

fn unknown_things_are_not_found(client: &Client) {
    for (method, path) in [
        ("GET", "/nothing"),
        ("HEAD", "/nothing"),
        ("POST", "/nothing"),
        ("GET", "/api"),
        ("GET", "/debug"),
        ("GET", "/api/snapshots/latest/nothing"),
        ("GET", "/api/snapshots/latest/top/nothing"),
        ("GET", "/api/snapshots/x/nothing"),
        ("GET", "/../etc/passwd"),
        ("GET", "/%2e%2e/etc/passwd"),
    ] {
        let reply = client.send(method, path, &[]).expect(404);
        for (known, _) in &ENDPOINTS[1..] {
            assert!(method == "HEAD" || reply.text().contains(&format!("{known}: ")), "{method} {path}: {reply:?}");
        }
    }
    for rest in ["", "/heap.prof", "/top", "/flamegraph.svg", "/folded"] {
        let error = client.get(&format!("/api/snapshots/99{rest}")).expect(404).error();
        assert_eq!(error, "no snapshot `99`: there are 1, 2, 3, and the names latest, baseline and peak", "{rest}");
    }
}

fn bad_parameters_are_refused_with_what_is_allowed(client: &Client) {
    #[track_caller]
    fn check(client: &Client, path: &str, words: &[&str]) {
        let error = client.get(path).expect(400).error();
        for word in words {
            assert!(error.contains(word), "{path}: {error}");
        }
    }
    for rest in ["", "/heap.prof", "/flamegraph.svg"] {
        for (path, word) in [("newest/1", "`newest`"), ("1/newest", "`newest`"), ("live/1", "`live`"), ("1/-1", "`-1`")]
        {
            let words = [word, "an id (a whole number), `latest`, `baseline` or `peak`"];
            check(client, &format!("/api/diff/{path}{rest}"), &words);
        }
        check(client, &format!("/api/diff/1/newest{rest}"), &["or here also `live`"]);
        client.get(&format!("/api/diff/1/live{rest}")).expect(200);
        for unknown in ["1/99", "99/1", "99/live"] {
            let error = client.get(&format!("/api/diff/{unknown}{rest}")).expect(404).error();
            assert_eq!(error, "no snapshot `99`: there are 1, 2, 3, and the names latest, baseline and peak", "{rest}");
        }
    }
    for (query, words) in [
        ("by=bytes", "`by` is `bytes`: allowed is stack, site, function"),
        ("by=site&by=site", "`by` is given twice"),
        ("n=0", "`n` is `0`: allowed is a whole number from 1 to 1000"),
        ("n=1001", "`n` is `1001`: allowed is a whole number from 1 to 1000"),
        ("sort=size", "`sort` is `size`: allowed is certain, net, born, freed, before, after, allocated"),
        ("trim=all", "`trim`"),
        ("all=yes", "`all` is `yes`: allowed is false, true"),
    ] {
        check(client, &format!("/api/diff/baseline/latest?{query}"), &[words]);
    }
    for rest in ["", "/heap.prof", "/top", "/flamegraph.svg", "/folded"] {
        for bad in ["newest", "-1", "1.5", "99999999999999999999", "%31"] {
            let words = [&format!("`{bad}`"), "an id (a whole number), `latest`, `baseline` or `peak`"];
            check(client, &format!("/api/snapshots/{bad}{rest}"), &words);
        }
    }
    for (path, _) in ENDPOINTS {
        if path.starts_with("/debug/pprof/") {
            // As Go's.
            client.get(&format!("{path}?x=1")).expect(200);
        } else if path.ends_with("/top") || path.ends_with(".svg") || path.ends_with("/folded") {
            check(client, &format!("{path}?z=1"), &["`z` is unknown: allowed is", "by"]);
            check(client, &format!("{path}?by=inuse_space&by=inuse_space"), &["`by` is given twice: allowed is once"]);
            check(
                client,
                &format!("{path}?by=bytes"),
                &["`by` is `bytes`: allowed is alloc_objects, alloc_space, inuse_objects, inuse_space"],
            );
        } else if path.ends_with("heap.prof") {
            check(client, &format!("{path}?x=1"), &["`x` is unknown: allowed is trim"]);
        } else if path == "/api/diff/baseline/latest" {
            check(client, &format!("{path}?x=1"), &["`x` is unknown: allowed is by, n, sort, trim, all"]);
            check(client, &format!("{path}?x"), &["`x` is unknown"]);
        } else if path.ends_with("/hotspots") || path.ends_with("/memory-leaks") {
            check(client, &format!("{path}?x=1"), &["`x` is unknown: allowed is n"]);
        } else if path == "/api/snapshots" || path == "/api/snapshots/latest" {
            check(client, &format!("{path}?x=1"), &["`x` is unknown: allowed is run"]);
        } else {
            check(client, &format!("{path}?x=1"), &["`x` is unknown: none is allowed here"]);
            check(client, &format!("{path}?x"), &["`x` is unknown"]);
        }
    }
    for bad in ["0", "10001", "-1", "many", ""] {
        let words = [&format!("`n` is `{bad}`"), "allowed is a whole number from 1 to 10000"];
        check(client, &format!("/api/snapshots/latest/top?n={bad}"), &words);
    }
    check(client, "/api/snapshots/latest/top?n=1&n=2", &["`n` is given twice: allowed is once"]);
    let before = ids(client);
    let error = client.send("POST", "/api/snapshots?force=1", &[]).expect(400).error();
    assert!(error.contains("`force` is unknown: none is allowed here"), "{error}");
    assert_eq!(ids(client), before, "none was taken");
    // As many parameters as fit into a request are refused as fast as one.
    let many: Vec<String> = (0..6_000).map(|index| format!("{index:x}")).collect();
    check(client, &format!("/healthz?{}", many.join("&")), &["`0` is unknown"]);
}

fn other_methods_are_refused(client: &Client) {
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for (path, _) in ENDPOINTS {
            let allow = if path == "/api/snapshots" { "GET, HEAD, POST" } else { "GET, HEAD" };
            if method == "POST" && path == "/api/snapshots" {
                continue;
            }
            let reply = client.send(method, path, &[]).expect(405);
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
            assert!(reply.text().contains(allow), "{method} {path}: {reply:?}");
        }
    }
}

fn foreign_hosts_and_origins_are_refused(client: &Client) {
    let Client::Tcp(address) = client else { unreachable!() };
    let get = |headers: &[(&str, &str)]| client.get_with("/healthz", headers);
    for host in ["localhost", "localhost:6060", "127.0.0.1", &address.to_string(), "[::1]:6060", "LOCALHOST"] {
        get(&[("Host", host)]).expect(200);
    }
    for host in ["example.org", "example.org:6060", "localhost.example.org", "10.0.0.1", "0.0.0.0:6060", ""] {
        let error = get(&[("Host", host)]).expect(403).error();
        assert!(error.contains(&format!("Host `{host}` is not this machine: allowed is localhost")), "{error}");
    }
    get(&[("Host", "localhost"), ("Host", "example.org")]).expect(403);
    for origin in ["http://localhost:3000", "http://127.0.0.1:6060"] {
        get(&[("Origin", origin)]).expect(200);
    }
    for origin in ["https://example.org", "null"] {
        let error = get(&[("Origin", origin)]).expect(403).error();
        assert!(error.contains(&format!("Origin `{origin}` is not this machine")), "{error}");
    }
    // Every path is guarded, the listing of the unknown ones as well, and nothing is done for who is refused.
    let before = ids(client);
    for (path, _) in ENDPOINTS.into_iter().chain([("/nothing", "")]) {
        client.get_with(path, &[("Host", "example.org")]).expect(403);
        client.send("POST", path, &[("Origin", "https://example.org")]).expect(403);
    }
    assert_eq!(ids(client), before);
    let old = client.send_raw(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.starts_with(b"HTTP/1.0 200"), "HTTP/1.0 has no Host: {}", String::from_utf8_lossy(&old));
}

fn drawings_show_what_is_asked_for(client: &Client) {
    let latest = "/api/snapshots/latest";
    let get = |path: &str| client.get(path).expect(200).text().to_owned();
    let all = get(&format!("{latest}/folded"));
    let largest = |text: &str| -> usize {
        let leaks = text.lines().filter(|line| line.contains("leak_sessions"));
        leaks.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).max().unwrap()
    };
    // Estimates: 98% of such blocks are sampled.
    assert!((450..570).contains(&(largest(&all) / (16 * 1024))), "{}", largest(&all));
    assert!(!all.contains("__rust_alloc") && !all.contains("alloc::vec::from_elem"), "trimmed: {all}");
    assert!(get(&format!("{latest}/folded?trim=none")).contains("__rust_alloc"));
    let allocator = get(&format!("{latest}/folded?trim=allocator"));
    let wrong: Vec<&str> = allocator.lines().filter(|line| line.contains("__rust_alloc")).collect();
    assert!(allocator.contains("alloc::") && wrong.is_empty(), "{wrong:?}");
    let objects = get(&format!("{latest}/folded?by=inuse_objects&site=leak_sessions"));
    assert!(objects.lines().all(|line| line.contains("leak_sessions")), "{objects}");
    assert!((450..570).contains(&largest(&objects)), "{objects}");
    assert!(get(&format!("{latest}/folded?min=100")).lines().count() < all.lines().count());

    let svg = get(&format!("{latest}/flamegraph.svg?site=leak_sessions&by=alloc_space&min=0&trim=none"));
    assert!(svg.contains("leak_sessions") && svg.contains("alloc_space, snapshot 3 ("), "{svg}");
    assert!(!svg.contains("grow_after_the_first_snapshot"));
    // What the picture's script adds when somebody clicks on a frame, and a reload sends.
    assert_eq!(get(&format!("{latest}/flamegraph.svg?x=12&y=34&s=leak")), get(&format!("{latest}/flamegraph.svg")));
    let diff = get("/api/diff/1/3/flamegraph.svg");
    assert!(diff.contains("grow_after_the_first_snapshot") && diff.contains("against 1"), "{diff}");
    assert!(client.get("/api/diff/1/1/flamegraph.svg").expect(404).error().contains("nothing differs"));

    for (trim, shown) in [("none", true), ("allocator", false), ("std", false)] {
        let top = client.get(&format!("{latest}/top?trim={trim}&n=1000")).expect(200).json();
        let rows = top["top"].as_array().unwrap();
        let named = |name: &str| rows.iter().any(|row| row["function"].as_str().unwrap().contains(name));
        assert_eq!(named("leak_sessions"), trim == "std", "{trim}: {rows:?}");
        assert_eq!(named("prof_backtrace") || named("imalloc"), shown, "{trim}: {rows:?}");
        let profile = client.get(&format!("{latest}/heap.prof?trim={trim}")).expect(200).profile();
        let drop = string(&profile, profile.drop_frames);
        assert_eq!((drop.is_empty(), drop.contains("::vec::")), (trim == "none", trim == "std"), "{drop}");
        let live = client.get(&format!("/debug/pprof/heap?trim={trim}")).expect(200).profile();
        assert_eq!(string(&live, live.drop_frames), drop);
    }
    for (path, why) in [
        ("flamegraph.svg?by=bytes", "allowed is alloc_objects, alloc_space, inuse_objects, inuse_space"),
        ("flamegraph.svg?min=x", "allowed is a number of percent from 0 to 100"),
        ("folded?trim=all", "`trim`"),
        ("folded?site=", "`site` is empty"),
        ("folded?title=x", "`title` is unknown: allowed is by, site, min, trim"),
        ("top?trim=all", "`trim`"),
        ("heap.prof?trim=all", "`trim`"),
    ] {
        let error = client.get(&format!("{latest}/{path}")).expect(400).error();
        assert!(error.contains(why), "{path}: {error}");
    }
    let nothing = client.get(&format!("{latest}/folded?site=no_such_function")).expect(404).error();
    assert!(nothing.contains("no_such_function") && nothing.contains("leak_sessions"), "{nothing}");
}

fn errors_are_marked_for_pprof_alone(client: &Client) {
    let marked = |reply: &Reply| reply.header("x-go-pprof").is_some();
    for (method, path, status) in [
        ("GET", "/debug/pprof/heap?debug=x", 400),
        ("GET", "/debug/pprof/allocs?seconds=0", 400),
        ("GET", "/debug/pprof/nothing", 404),
        ("PUT", "/debug/pprof/heap", 405),
    ] {
        let reply = client.send(method, path, &[]).expect(status);
        assert_eq!(reply.header("x-go-pprof"), Some("1"), "{method} {path}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"), "{method} {path}");
        assert_eq!(reply.header("content-disposition"), None, "{method} {path}");
    }
    assert!(marked(&client.get_with("/debug/pprof/heap", &[("Host", "example.org")]).expect(403)));
    for (path, _) in ENDPOINTS {
        assert!(!marked(&client.get(path).expect(200)), "{path}");
    }
    for path in ["/nothing", "/api/snapshots/99", "/api/snapshots/x", "/api/memory?x=1", "/metrics?x=1", "/?x=1"] {
        let reply = client.get(path);
        assert!(reply.status >= 400 && !marked(&reply), "{path}");
    }
}

fn odd_clients_do_no_harm(client: &Client) {
    let Client::Tcp(address) = client else { unreachable!() };
    // Clients that never finish their request: others are answered all the same.
    let slow: Vec<TcpStream> = (0..50)
        .map(|index| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&b"GET /healthz HTTP/1.1\r\nHost: local"[..index % 30]).unwrap();
            stream
        })
        .collect();
    client.get("/healthz").expect(200);
    drop(slow);
    // A target without a path, which is no reason to panic.
    let answer = client.send_raw(b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 405 "), "{}", String::from_utf8_lossy(&answer));

    // Clients that leave before their answer is there.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    for request in [
        &b"\r\n\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://localhost//?&&= HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nA: \x00\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        client.get("/healthz").expect(200);
    }
    // A line break that a client smuggles in stays in the body, escaped, and makes no header.
    let reply = client.get("/api/snapshots/x%0d%0aX-Evil:%201").expect(400);
    assert_eq!(reply.header("x-evil"), None);
    let reply = client.get_with("/", &[("Host", "a\tb")]).expect(403);
    assert!(reply.text().contains("a\\tb"), "{reply:?}");

    // What was read, or will never be, holds nothing.
    wait_for("no answer to be unread", || {
        let memory = client.get("/api/memory").expect(200).json();
        (memory["watcher"]["unread_answer_bytes"] == 0).then_some(())
    });
    let memory = wait_for("the renderer to be done with those who left", || {
        let reply = client.get("/debug/pprof/heap");
        (reply.status == 200).then(|| client.get("/api/memory").expect(200).json())
    });
    assert_eq!(memory["watcher"]["panics"], 0);
}
