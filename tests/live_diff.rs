//! What changed between two snapshots of a service that leaks, caches and churns: over HTTP and by the handle.

mod common_http;

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use common_http::{Client, wait_for};
use heapward::{ByteSize, ErrorKind, Grouping, HeapProfile, Profiler, Selector};
use serde_json::Value;

heapward::install!("lg_prof_sample:12");

const BLOCK: usize = 16 * 1024;
const DUMP: &str = "HEAPWARD_COLLECTOR";

type Blocks = Vec<Vec<u8>>;

#[inline(never)]
fn leak_sessions(count: usize) -> Blocks {
    (0..count).map(|_| black_box(vec![1; BLOCK])).collect()
}

#[inline(never)]
fn fill_cache(count: usize) -> Blocks {
    (0..count).map(|_| black_box(vec![1; BLOCK])).collect()
}

/// A function that leaks by way of itself.
#[inline(never)]
fn recurse(depth: usize) -> Blocks {
    if depth == 0 { leak_sessions(64) } else { black_box(recurse(depth - 1)) }
}

#[test]
fn a_diff_says_what_changed_and_how_sure_it_is() {
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .poll_interval(Duration::from_millis(50))
        // Only snapshots that are asked for.
        .rss_threshold(ByteSize::mib(1 << 20))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    if std::env::var_os(DUMP).is_some() {
        return without_birthdays(&profiler, &client);
    }
    assert_eq!(
        profiler.diff(Selector::Baseline, Selector::Latest, Grouping::Site, 1).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let kept = leak_sessions(256);
    let mut cache = fill_cache(512);
    snapshot(&client);
    let leak = recurse(5);
    cache.truncate(128);
    snapshot(&client);
    let later = leak_sessions(128);
    snapshot(&client);

    rows_are_sites_stacks_or_functions(&client);
    ages_and_the_baseline_are_told(&client);
    a_diff_reads_backwards_and_of_itself_is_nothing(&client);
    the_live_heap_is_a_later_moment(&client, &profiler);
    what_is_asked_for_is_listed(&client);
    the_table_is_for_people(&client);
    the_handle_says_the_same(&profiler, &client);
    the_dump_has_no_birthdays();

    drop(black_box((kept, cache, leak, later)));
    profiler.shutdown();
}

fn snapshot(client: &Client) -> u64 {
    let taken = wait_for("a snapshot on request", || {
        let reply = client.send("POST", "/api/snapshots", &[]);
        (reply.status != 429).then(|| reply.expect(201).json())
    });
    taken["id"].as_u64().unwrap()
}

fn get(client: &Client, path: &str) -> Value {
    client.get(&format!("/api/diff/{path}")).expect(200).json()
}

/// The one row of the function `name`; where rows are sites, the first in it or in a closure of it.
#[track_caller]
fn row(diff: &Value, name: &str) -> Value {
    let is_named = |row: &&Value| {
        let function = row["function"].as_str().unwrap();
        function.ends_with(&format!("::{name}")) || diff["by"] == "site" && function.contains(name)
    };
    let rows: Vec<&Value> = diff["rows"].as_array().unwrap().iter().filter(is_named).collect();
    assert!(rows.len() == 1 || diff["by"] == "site" && rows.len() > 1, "{name} in {diff}");
    rows[0].clone()
}

/// That the amount holds so many blocks between its bounds, of which nearly each is sampled.
#[track_caller]
fn holds(amount: &Value, blocks: i64) {
    let number = |name: &str| amount[name].as_i64().unwrap_or_else(|| panic!("{name} in {amount}"));
    for (name, truth) in [("bytes", blocks * BLOCK as i64), ("objects", blocks)] {
        let (value, low, high) = (number(name), number(&format!("{name}_low")), number(&format!("{name}_high")));
        assert!(low <= value && value <= high, "{amount}");
        // Wider than 95%, as this test is run more often than twenty times.
        let slack = (high - low) + truth.abs() / 50;
        assert!(low - slack <= truth && truth <= high + slack, "{truth} in {amount}");
    }
}

fn rows_are_sites_stacks_or_functions(client: &Client) {
    let diff = get(client, "1/2");
    assert_eq!((&diff["base"]["id"], &diff["later"]["id"], &diff["by"]), (&1.into(), &2.into(), &"site".into()));
    assert_eq!(diff["sample_interval_bytes"], 4096);
    assert_eq!(diff["detection_limit_bytes"], 9 * 4096);
    assert_eq!(diff["no_trace_bytes"], 12_269, "ln 20 · R");
    let cache = row(&diff, "fill_cache");
    assert!(cache["file"].as_str().unwrap().ends_with("live_diff.rs") && cache["line"].as_u64() > Some(0), "{cache}");
    holds(&cache["net"], -384);
    holds(&cache["freed"], 384);
    holds(&cache["survived"], 128);
    holds(&cache["before"], 512);
    holds(&cache["after"], 128);
    assert_eq!(cache["born"]["samples"], 0);
    assert_eq!((&cache["significant"], &cache["stack"]), (&true.into(), &Value::Array(Vec::new())));
    assert!(cache["adjusted_p_value"].as_f64() >= cache["p_value"].as_f64());
    let leak = row(&diff, "leak_sessions");
    holds(&leak["net"], 64);
    holds(&leak["survived"], 256);
    assert!(leak["allocated_objects"].as_i64() >= leak["born"]["objects"].as_i64());
    // Certain first, whichever way.
    assert_eq!((&diff["rows"][0], &diff["rows"][1]), (&cache, &leak));

    let functions = get(client, "1/2?by=function&n=1000");
    // Cumulative, and once however deep.
    holds(&row(&functions, "recurse")["net"], 64);
    // With the vector of the blocks, where that was sampled.
    holds(&row(&functions, "leak_sessions")["net"], 64);
    assert_eq!(row(&functions, "leak_sessions")["line"], 0);
    let stacks = get(client, "1/2?by=stack&n=1000");
    let rows = stacks["rows"].as_array().unwrap();
    let of_leak: Vec<&Value> = rows.iter().filter(|row| row["function"] == leak["function"]).collect();
    let recursive = |row: &&&Value| {
        let frames = row["stack"].as_array().unwrap().iter();
        frames.filter(|frame| frame["function"].as_str().unwrap().ends_with("::recurse")).count() == 6
    };
    assert_eq!(of_leak.iter().filter(recursive).count(), 1, "{of_leak:?}");
    let untrimmed = get(client, "1/2?by=function&n=1000&trim=none");
    let named = |diff: &Value, name: &str| diff.to_string().contains(name);
    assert!(named(&untrimmed, "__rust_alloc") && !named(&functions, "__rust_alloc"));
}

fn ages_and_the_baseline_are_told(client: &Client) {
    let diff = get(client, "2/3");
    let leak = row(&diff, "leak_sessions");
    holds(&leak["net"], 128);
    holds(&leak["since_baseline"], 192);
    let ages = leak["ages"].as_array().unwrap();
    let ids: Vec<&Value> = ages.iter().map(|age| &age["before_snapshot"]).collect();
    assert_eq!(ids, [1, 2, 3]);
    for (age, blocks) in ages.iter().zip([256, 64, 128]) {
        let bytes = age["bytes"].as_f64().unwrap();
        assert!((bytes / (blocks * BLOCK) as f64 - 1.0).abs() < 0.2 && age["time"].is_string(), "{age}");
    }
    assert!(get(client, "1/3")["rows"].as_array().unwrap().iter().all(|row| row["since_baseline"].is_null()));
}

fn a_diff_reads_backwards_and_of_itself_is_nothing(client: &Client) {
    let (there, back) = (get(client, "1/3"), get(client, "3/1"));
    assert_eq!((&there["total"]["born"], &there["total"]["freed"]), (&back["total"]["freed"], &back["total"]["born"]));
    let net = |diff: &Value| diff["total"]["net"]["bytes"].as_i64().unwrap();
    assert_eq!(net(&there), -net(&back));
    let says = |diff: &Value| diff["remarks"].to_string().contains("read backwards");
    assert!(says(&back) && !says(&there));
    let leak = row(&back, "leak_sessions");
    holds(&leak["net"], -192);
    for field in ["allocated_bytes", "allocated_objects"] {
        assert_eq!((&back["total"][field], &leak[field]), (&Value::Null, &Value::Null), "nobody knows {field}");
        assert!(there["total"][field].as_u64() > Some(0), "{field}");
    }
    assert_eq!(there["seconds"], back["seconds"]);
    let text = |path: &str| client.get_with(path, &[("Accept", "text/plain")]).expect(200).text().to_owned();
    assert!(text("/api/diff/1/3").contains("; allocated in between "));
    assert!(!text("/api/diff/3/1").contains("allocated in between"));

    let nothing = get(client, "2/2");
    assert_eq!((&nothing["rows"], &nothing["changed"]), (&Value::Array(Vec::new()), &0.into()));
    for name in ["net", "born", "freed"] {
        for field in ["bytes", "bytes_low", "bytes_high", "objects", "samples"] {
            assert_eq!(nothing["total"][name][field], 0, "{name} {field}");
        }
    }
    assert_eq!(nothing["total"]["survived"], nothing["total"]["after"]);
    assert!(nothing["total"]["after"]["bytes"].as_i64().unwrap() > 300 * BLOCK as i64);
}

fn the_live_heap_is_a_later_moment(client: &Client, profiler: &Profiler) {
    let now = leak_sessions(64);
    let diff = get(client, "latest/live");
    assert_eq!((&diff["base"]["id"], &diff["later"]["id"]), (&3.into(), &Value::Null));
    let leak = row(&diff, "leak_sessions");
    holds(&leak["net"], 64);
    assert_eq!(leak["ages"].as_array().unwrap().last().unwrap()["before_snapshot"], Value::Null);
    let by_handle = profiler.diff_live(Selector::Latest, Grouping::Site, 5).unwrap();
    assert_eq!((by_handle.base.snapshot, by_handle.later.snapshot), (Some(3), None));
    assert!(by_handle.rows.iter().any(|row| row.place.function.contains("leak_sessions") && row.significant));
    let profile = HeapProfile::read(&client.get("/api/diff/latest/live/heap.prof").expect(200).body).unwrap();
    let grown = profile.totals().inuse_bytes;
    assert!((grown - (64 * BLOCK) as i64).abs() < (40 * BLOCK) as i64, "{grown}");
    let svg = client.get("/api/diff/latest/live/flamegraph.svg").expect(200);
    assert!(svg.text().contains("the live heap") && svg.text().contains("leak_sessions"));
    assert_eq!(client.get("/api/snapshots").json()["snapshots"].as_array().unwrap().len(), 3, "and takes none");
    drop(black_box(now));
}

fn what_is_asked_for_is_listed(client: &Client) {
    for (sort, field) in
        [("net", "net"), ("born", "born"), ("freed", "freed"), ("before", "before"), ("after", "after")]
    {
        let diff = get(client, &format!("1/3?sort={sort}&n=1000"));
        let bytes = |row: &Value| row[field]["bytes"].as_i64().unwrap().abs();
        assert!(diff["rows"].as_array().unwrap().is_sorted_by(|a, b| bytes(a) >= bytes(b)), "{sort}");
    }
    let allocated = get(client, "1/3?sort=allocated&n=1000");
    let bytes = |row: &Value| row["allocated_bytes"].as_i64();
    assert!(allocated["rows"].as_array().unwrap().is_sorted_by(|a, b| bytes(a) >= bytes(b)));
    let one = get(client, "1/3?n=1");
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);
    assert_eq!(one["changed"], allocated["changed"], "what is not listed is counted");
}

fn the_table_is_for_people(client: &Client) {
    let table = |query: &str| {
        let path = format!("/api/diff/baseline/2{query}");
        client.get_with(&path, &[("Accept", "text/plain")]).expect(200).text().to_owned()
    };
    let text = table("");
    assert!(text.starts_with("snapshot 2 (") && text.contains("against snapshot 1 ("), "{text}");
    let line = text.lines().find(|line| line.contains("fill_cache")).unwrap_or_else(|| panic!("{text}"));
    // 384 blocks, give or take what the sample interval leaves open.
    let net: f64 =
        line.trim_start().split(' ').next().and_then(|net| net.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!((-6.3..-5.7).contains(&net) && line.contains(" MiB ± "), "{text}");
    assert!(line.contains("  freed ") && line.contains("live_diff.rs:"), "{text}");
    assert!(!text.contains("(may be noise)"), "{text}");
    let noise = get(client, "baseline/2")["not_significant"].as_u64().unwrap();
    let told = format!("{noise} rows whose change cannot be told from sampling noise are not listed; ?all=true");
    assert_eq!(text.contains(&told), noise > 0, "{text}");
    assert_eq!(table("?all=true").contains("(may be noise)"), noise > 0);
    assert!(table("?by=stack").contains("recurse"));
}

fn the_handle_says_the_same(profiler: &Profiler, client: &Client) {
    let diff = profiler.diff(Selector::Id(1), Selector::Id(2), Grouping::Site, 20).unwrap();
    let json = get(client, "1/2");
    assert_eq!(diff.rows.len(), json["rows"].as_array().unwrap().len());
    for (row, json) in diff.rows.iter().zip(json["rows"].as_array().unwrap()) {
        assert_eq!(
            (&row.place.function, row.significant),
            (&json["function"].as_str().unwrap().into(), json["significant"] == true)
        );
        assert_eq!(Some(row.amounts.net.bytes.value.round() as i64), json["net"]["bytes"].as_i64());
        assert_eq!(Some(row.amounts.net.bytes.low.round() as i64), json["net"]["bytes_low"].as_i64());
    }
    let shown = diff.rows[0].amounts.net.bytes.to_string();
    assert!(["-5.", "-6."].iter().any(|start| shown.starts_with(start)) && shown.contains(" MiB ± "), "{shown}");

    // The same of a file is about the same.
    let known = &profiler.top(Selector::Id(2), 1).unwrap()[0];
    let read = HeapProfile::read(&profiler.heap_prof(Selector::Id(2)).unwrap()).unwrap();
    let about = &read.top(1)[0];
    assert_eq!((&known.function, known.inuse_bytes), (&about.function, about.inuse_bytes));
    let (known, about) = (known.inuse.unwrap(), about.inuse.unwrap());
    assert!(!known.bytes.is_about() && about.bytes.is_about());
    assert!(about.bytes.to_string().starts_with("about ") && !known.bytes.to_string().starts_with("about "));
    let width = |bytes: heapward::Estimate| bytes.high - bytes.low;
    assert!((width(known.bytes) / width(about.bytes) - 1.0).abs() < 0.2, "{known:?} {about:?}");
    assert!(known.samples.abs_diff(about.samples) <= 5, "{known:?} {about:?}");
}

fn the_dump_has_no_birthdays() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["a_diff_says_what_changed_and_how_sure_it_is", "--exact", "--nocapture"])
        .env(DUMP, "dump")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

/// The child's part.
fn without_birthdays(profiler: &Profiler, client: &Client) {
    let kept = leak_sessions(256);
    snapshot(client);
    let more = leak_sessions(256);
    snapshot(client);
    let diff = get(client, "1/2");
    assert!(diff["remarks"].to_string().contains("survivors are unknown"), "{}", diff["remarks"]);
    let leak = row(&diff, "leak_sessions");
    holds(&leak["net"], 256);
    assert_eq!(leak["survived"]["samples"], 0);
    assert_eq!((&diff["total"]["allocated_bytes"], &leak["allocated_objects"]), (&Value::Null, &Value::Null));
    assert_eq!((&leak["ages"], &leak["since_baseline"]), (&Value::Array(Vec::new()), &Value::Null));
    let nothing = get(client, "2/2");
    assert_eq!((&nothing["changed"], &nothing["total"]["net"]["bytes_high"]), (&0.into(), &0.into()));
    assert!(profiler.diff_live(Selector::Baseline, Grouping::Function, 9).is_ok());
    drop(black_box((kept, more)));
}
