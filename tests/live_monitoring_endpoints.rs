//! `/api/monitoring/*`: what it tells, and that it is as its schemas say.

mod common_http;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common_http::{Client, wait_for};
use heapward::{ByteSize, Profiler};
use serde_json::{Map, Value};

heapward::install!("lg_prof_sample:12");

const READINGS: usize = 60;

const ENDPOINTS: [&str; 3] =
    ["/api/monitoring/detailed-metrics", "/api/monitoring/hotspots", "/api/monitoring/memory-leaks"];

#[test]
fn monitoring_keeps_its_promises() {
    let profiler = Profiler::builder()
        .listen("127.0.0.1:0")
        .profiles_dir("off")
        .poll_interval(Duration::from_millis(20))
        // Only snapshots that are asked for.
        .rss_threshold(ByteSize::mib(1 << 20))
        .readings(READINGS)
        .trigger_on_gauge("known", f64::MAX, || Some(7.0))
        .trigger_on_gauge("infinite", f64::MAX, || Some(f64::NEG_INFINITY))
        // Everything is slow.
        .slow_operation(Duration::ZERO)
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    wait_for("the first poll", || {
        (!client.get(ENDPOINTS[0]).expect(200).json()["reading_time"].is_null()).then_some(())
    });
    // Before the first snapshot.
    ENDPOINTS.iter().for_each(|path| check_schema(&client, path));

    let leak = leak_sessions();
    for id in 1..=2 {
        let taken = wait_for("a snapshot on request", || {
            let reply = client.send("POST", "/api/snapshots", &[]);
            (reply.status != 429).then(|| reply.expect(201).json())
        });
        assert_eq!(taken["id"], id);
    }
    ENDPOINTS.iter().for_each(|path| check_schema(&client, path));
    the_machine_is_as_the_kernel_says(&client);
    snapshots_show_their_largest_sites(&client);
    readings_show_what_rises(&client);
    a_walk_is_told_again_for_a_second(&client);
    slow_operations_are_told(&client);
    what_is_not_allowed_is_refused(&client);

    drop(black_box(leak));
    profiler.shutdown();
}

const LEAKED: (u64, u64) = (512, 16 * 1024);

#[inline(never)]
fn leak_sessions() -> Vec<Vec<u8>> {
    (0..LEAKED.0).map(|_| black_box(vec![1; LEAKED.1 as usize])).collect()
}

/// Holds the answer against the schema, and the schema against what it should refuse.
fn check_schema(client: &Client, path: &str) {
    let schema = client.get(&format!("{path}/schema")).expect(200);
    assert_eq!(schema.header("content-type"), Some("application/schema+json"), "{path}");
    let schema: Value = serde_json::from_slice(&schema.body).unwrap();
    assert!(jsonschema::meta::is_valid(&schema), "{path}");
    assert_is_strict(path, &schema);
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let answer = client.get(path).expect(200).json();
    let errors: Vec<String> =
        validator.iter_errors(&answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{path}: {errors:#?}");

    let fields = answer.as_object().unwrap();
    for name in fields.keys() {
        let mut less = fields.clone();
        less.remove(name);
        assert!(!validator.is_valid(&Value::Object(less)), "{path} without {name}");
        let mut other = fields.clone();
        other.insert(name.clone(), Value::Bool(true));
        assert!(!validator.is_valid(&Value::Object(other)), "{path} with another {name}");
    }
    let mut more = fields.clone();
    more.insert("more".to_owned(), Value::Null);
    assert!(!validator.is_valid(&Value::Object(more)), "{path} with more");
}

/// Every object names all that it has and needs all of it: what is not documented is not served, and the other way round.
fn assert_is_strict(path: &str, schema: &Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                let required: BTreeSet<&str> =
                    fields["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                assert_eq!(required, properties.keys().map(String::as_str).collect(), "{path}");
                assert_eq!(fields["additionalProperties"], Value::Bool(false), "{path}");
            }
            fields.values().for_each(|value| assert_is_strict(path, value));
        }
        Value::Array(values) => values.iter().for_each(|value| assert_is_strict(path, value)),
        _ => {}
    }
}

fn samples(client: &Client) -> Map<String, Value> {
    let metrics = client.get("/metrics").expect(200);
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse::<f64>().ok()?.into()))
    };
    metrics.text().lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn the_machine_is_as_the_kernel_says(client: &Client) {
    let metrics = client.get(ENDPOINTS[0]).expect(200).json();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kernel = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        1024.0 * line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap()
    };
    let number =
        |pointer: &str| metrics.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}"));
    assert_eq!(number("/system/total_bytes"), kernel("MemTotal"));
    assert_eq!(number("/swap/total_bytes"), kernel("SwapTotal"));
    assert_eq!(number("/system/used_bytes"), number("/system/total_bytes") - number("/system/available_bytes"));
    let percent = 100.0 * number("/system/used_bytes") / number("/system/total_bytes");
    assert!((number("/system/used_percent") - percent).abs() <= 0.05001, "{metrics}");
    // What others do meanwhile is little beside it.
    for (pointer, names) in [
        ("/system/available_bytes", &["MemAvailable"][..]),
        ("/system/free_bytes", &["MemFree"]),
        ("/system/buffers_bytes", &["Buffers"]),
        ("/system/cached_bytes", &["Cached", "SReclaimable"]),
        ("/system/slab_bytes", &["Slab"]),
    ] {
        let apart = (number(pointer) - names.iter().map(|name| kernel(name)).sum::<f64>()).abs();
        assert!(apart < 0.2 * kernel("MemTotal"), "{pointer}: {apart}");
    }
    // The same in every reading that is told, also that of a snapshot: there it is what one asks for after a kill.
    let memory = client.get("/api/memory").expect(200).json();
    let snapshot = client.get("/api/snapshots/latest").expect(200).json();
    for reading in [&memory["memory"], &snapshot["memory"]] {
        assert_eq!(reading["system"]["total_bytes"].as_f64(), Some(kernel("MemTotal")), "{reading}");
        assert_eq!(reading["swap"]["total_bytes"].as_f64(), Some(kernel("SwapTotal")), "{reading}");
        let names = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(names(&reading["system"]), names(&metrics["system"]));
    }
    assert_eq!(number("/process/pid"), f64::from(std::process::id()));
    assert!(number("/process/rss_bytes") > 0.0 && number("/process/cpu_seconds") > 0.0);
    assert!(number("/top_processes/walked") >= 1.0);
    let above = number("/top_processes/above_percent");
    let processes = metrics["top_processes"]["processes"].as_array().unwrap();
    assert!(processes.iter().all(|process| process["rss_percent"].as_f64().unwrap() >= above), "{processes:?}");

    let samples = samples(client);
    let sample = |name: &str| samples.get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(sample("heapward_system_memory_total_bytes"), kernel("MemTotal"));
    assert_eq!(sample("heapward_system_swap_total_bytes"), kernel("SwapTotal"));
    for name in ["used", "available", "free", "active", "inactive", "buffers", "cached", "shared", "slab"] {
        assert!(sample(&format!("heapward_system_memory_{name}_bytes")) > 0.0, "{name}");
    }
    let ratio = sample("heapward_system_memory_used_bytes") / sample("heapward_system_memory_total_bytes");
    assert!((sample("heapward_system_memory_used_ratio") - ratio).abs() < 1e-9);
    for name in
        ["heapward_system_swap_used_bytes", "heapward_system_swap_free_bytes", "heapward_system_swap_used_ratio"]
    {
        assert!(sample(name) >= 0.0, "{name}");
    }
    assert!(sample("heapward_process_cpu_seconds_total") >= number("/process/cpu_seconds"));
    assert!(sample("heapward_slow_operations_total") >= number("/sidecar/slow_operations"));
}

fn snapshots_show_their_largest_sites(client: &Client) {
    let report = client.get(ENDPOINTS[2]).expect(200).json();
    let snapshots = report["snapshots"].as_array().unwrap();
    assert_eq!((snapshots.len(), &report["baseline"], &report["snapshots_left_out"]), (2, &1.into(), &0.into()));
    for snapshot in snapshots {
        let top = snapshot["top_allocations"].as_array().unwrap();
        assert!(top.len() <= 10 && top.is_sorted_by_key(|site| std::cmp::Reverse(site["size"].as_u64())), "{top:?}");
        let leak = top.iter().find(|site| site["function"].as_str().unwrap().contains("leak_sessions")).unwrap();
        assert!(leak["file"].as_str().unwrap().ends_with("tests/live_monitoring_endpoints.rs"), "{leak}");
        assert!(leak["line"].as_u64().unwrap() > 0, "{leak}");
        for (name, truth) in [("size", LEAKED.0 * LEAKED.1), ("count", LEAKED.0)] {
            let figure = |suffix: &str| leak[format!("{name}{suffix}")].as_u64().unwrap();
            // Objects of four times the mean interval: nearly each is sampled.
            assert!(figure("").abs_diff(truth) < truth / 5, "{leak}");
            assert!(figure("_low") <= figure("") && figure("") <= figure("_high"), "{leak}");
        }
        // The same as the table of one snapshot.
        let table = client.get(&format!("/api/snapshots/{}/top?n=10", snapshot["id"])).expect(200).json();
        let sites = |rows: &Value, size: &str| -> Vec<(String, u64)> {
            let row = |row: &Value| (row["function"].as_str().unwrap().to_owned(), row[size].as_u64().unwrap());
            rows.as_array().unwrap().iter().map(row).collect()
        };
        let (these, those) = (sites(&snapshot["top_allocations"], "size"), sites(&table["top"], "inuse_bytes"));
        assert_eq!((these.len(), &these[0].0), (those.len(), &those[0].0));
        // Rounded for each stack there.
        assert!(these.iter().zip(&those).all(|(a, b)| a.1.abs_diff(b.1) <= 64), "{these:?} {those:?}");
    }
    assert_eq!(report["leaks"], client.get("/api/leaks").expect(200).json());
    let report = client.get(&format!("{}?n=2", ENDPOINTS[2])).expect(200).json();
    assert_eq!(report["snapshots"][0]["top_allocations"].as_array().unwrap().len(), 2);
}

fn readings_show_what_rises(client: &Client) {
    let mut grown = Vec::new();
    let report = wait_for("RSS to be seen to rise", || {
        grown.push(black_box(vec![1u8; 512 << 10]));
        let report = client.get(ENDPOINTS[1]).expect(200).json();
        (report["rss"]["trend"] == "rising" && report["rss"]["readings"] == READINGS).then_some(report)
    });
    assert!(report["rss"]["bytes_per_hour_low"].as_f64().unwrap() > 0.0, "{}", report["rss"]);
    let readings = report["readings"].as_array().unwrap();
    assert_eq!((readings.len(), &report["readings_limit"]), (READINGS, &READINGS.into()));
    let uptimes: Vec<f64> = readings.iter().map(|reading| reading["uptime_seconds"].as_f64().unwrap()).collect();
    assert!(uptimes.is_sorted() && uptimes[0] < uptimes[READINGS - 1], "{uptimes:?}");
    assert!(readings.iter().all(|reading| reading["cpu_percent"].as_f64().is_some_and(|cpu| cpu >= 0.0)));
    let top = report["top_sites"]["top"].as_array().unwrap();
    assert!(top.len() <= 10, "{top:?}");
    assert!(top.iter().any(|site| site["function"].as_str().unwrap().contains("readings_show_what_rises")), "{top:?}");
    drop(grown);
}

fn a_walk_is_told_again_for_a_second(client: &Client) {
    let walk = || {
        let walk = client.get(ENDPOINTS[0]).expect(200).json()["top_processes"].clone();
        (walk["age_seconds"].as_f64().unwrap(), walk["duration_seconds"].as_f64().unwrap())
    };
    let (first_age, first) = wait_for("a new walk", || Some(walk()).filter(|(age, _)| *age < 0.3));
    let begun = Instant::now();
    let (age, again) = walk();
    // Only if all of this took longer than a walk is told again.
    let is_late = begun.elapsed() > Duration::from_millis(600);
    assert!(again == first && age > first_age || is_late, "{age} {again} after {first_age} {first}");
    wait_for("the next walk", || {
        let begun = Instant::now();
        let (age, duration) = walk();
        // When it was taken; until it is told, a busy machine may take its time.
        assert!(age < 1.0 + begun.elapsed().as_secs_f64(), "{age}");
        (duration != first).then_some(())
    });
}

fn slow_operations_are_told(client: &Client) {
    let expected = [
        "poll",
        "snapshot",
        "pprof",
        "top",
        "flamegraph",
        "folded",
        "diff",
        "leaks",
        "monitoring",
        "processes",
        "naming",
        "other",
    ];
    let mut seen = BTreeSet::new();
    wait_for("every operation to be told of", || {
        for path in [
            "snapshots/latest/heap.prof",
            "snapshots/latest/top",
            "snapshots/latest/flamegraph.svg",
            "snapshots/latest/folded",
            "diff/1/2",
            "leaks",
            "snapshots",
            "monitoring/detailed-metrics",
        ] {
            client.get(&format!("/api/{path}")).expect(200);
            // Polls go on, and push out what is older than 32 of them.
            let report = client.get(ENDPOINTS[1]).expect(200).json();
            let slow = &report["slow_operations"];
            assert_eq!(slow["threshold_seconds"], 0.0);
            let last = slow["last"].as_array().unwrap();
            assert!(last.len() <= 32 && slow["count"].as_u64().unwrap() >= last.len() as u64, "{slow}");
            seen.extend(last.iter().map(|one| one["operation"].as_str().unwrap().to_owned()));
        }
        client.send("POST", "/api/snapshots", &[]);
        expected.iter().all(|operation| seen.contains(*operation)).then_some(())
    });
}

fn what_is_not_allowed_is_refused(client: &Client) {
    for path in &ENDPOINTS[1..] {
        for n in ["0", "101", "many"] {
            let error = client.get(&format!("{path}?n={n}")).expect(400).error();
            assert!(error.contains("allowed is a whole number from 1 to 100"), "{error}");
        }
    }
    for path in ["detailed-metrics?n=1", "hotspots?by=x", "memory-leaks/schema?n=1"] {
        client.get(&format!("/api/monitoring/{path}")).expect(400);
    }
    for path in ["", "other", "other/schema", "hotspots/other", "hotspots/schema/1"] {
        client.get(&format!("/api/monitoring/{path}")).expect(404);
    }
    for path in ["hotspots", "hotspots/schema"] {
        assert_eq!(client.post(&format!("/api/monitoring/{path}"), "").expect(405).header("allow"), Some("GET, HEAD"));
    }
}
