//! The kernel kills a service for memory in the middle of a rise: the next run says so, and names what leaked.

mod common_disk;
mod common_http;

use std::hint::black_box;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::Duration;

use common_disk::group::Group;
use common_disk::{Service, folder, get, leak_sessions, needs, role, say, writing_to};
use common_http::{ask, wait_for};
use heapward::ByteSize;

heapward::install!("lg_prof_sample:16");

const TEST: &str = "a_service_that_the_kernel_kills_leaves_its_evidence";
const LIMIT: u64 = 256 << 20;

#[test]
#[ignore = "needs root and a memory controller of cgroup v1; is skipped with a word without"]
fn a_service_that_the_kernel_kills_leaves_its_evidence() {
    if role().is_some() {
        return serve();
    }
    let parent = match needs::memory_group() {
        Ok(parent) => parent,
        Err(why) => return needs::skip(TEST, &why),
    };
    let below = tempfile::tempdir().unwrap();
    let folder = below.path().join("profiles");
    let group = Group::make(&parent, LIMIT);
    let tasks = group.folder.join("cgroup.procs");
    let service = Service::start_with(TEST, "service", &folder, |command| {
        let join = move || std::fs::write(&tasks, std::process::id().to_string());
        // SAFETY: between fork and exec the child writes its number into a file; it allocates, and jemalloc's fork handlers
        // make that good.
        unsafe { command.pre_exec(join) };
    });
    let pid = service.child.id();
    let status = service.wait();
    assert_eq!(status.signal(), Some(9), "{status}");

    let profiler = writing_to(&folder).start().unwrap();
    let runs = wait_for("the folder to be looked through", || {
        Some(get(&profiler, "/api/runs")).filter(|runs| runs["run"].is_string())
    });
    let run = &runs["runs"][0];
    println!("{}", run["ended"]);
    assert_eq!(run["ended"]["how"], "killed_for_memory", "{run}");
    let why = run["ended"]["why"].as_str().unwrap();
    let by_kernel = why.contains(&format!("Killed process {pid} ")) && run["ended"]["certainty"] == "sure";
    let by_group = why.contains("of its control group was killed for memory") && run["ended"]["certainty"] == "likely";
    assert!(by_kernel || by_group, "{}", run["ended"]);
    assert_eq!(run["last_reading"]["cgroup_limit_bytes"], LIMIT);
    let readings = run["last_readings"].as_array().unwrap();
    let usage = |reading: &serde_json::Value| reading["cgroup_usage_bytes"].as_u64().unwrap();
    assert!(usage(readings.last().unwrap()) > LIMIT / 2, "{}", readings.last().unwrap());
    assert_eq!(run["episodes"].as_array().unwrap().last().unwrap()["end"], serde_json::Value::Null, "{run}");

    let list = get(&profiler, "/api/snapshots?run=previous");
    let snapshots = list["snapshots"].as_array().unwrap();
    let rss = |snapshot: &serde_json::Value| snapshot["rss_bytes"].as_u64().unwrap();
    println!(
        "{} snapshots, the last at {:.1} MiB of {} MiB, {} last noted",
        snapshots.len(),
        rss(snapshots.last().unwrap()) as f64 / (1 << 20) as f64,
        LIMIT >> 20,
        run["last_reading"]["rss_bytes"]
    );
    assert!(rss(snapshots.last().unwrap()) > LIMIT / 2, "one of the rise: {}", snapshots.last().unwrap());
    let top = ask(&profiler.routes(), "GET", "/api/snapshots/latest/top?run=previous").expect(200).json();
    assert!(top["top"][0]["function"].as_str().unwrap().contains("leak_sessions"), "{}", top["top"][0]);
    let diff = get(&profiler, "/api/diff/baseline/latest?run=previous");
    assert!(diff["rows"][0]["function"].as_str().unwrap().contains("leak_sessions"), "{}", diff["rows"][0]);
    assert_eq!(diff["rows"][0]["significant"], true);
    profiler.shutdown();
}

/// Leaks until it is killed, a few MiB at a time, faster than snapshots come.
fn serve() {
    let profiler = writing_to(&folder())
        .rss_threshold(ByteSize::mib(32))
        .min_interval(Duration::from_millis(50))
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    say("leaks");
    let mut held = Vec::with_capacity(100_000);
    loop {
        leak_sessions(&mut held, 100);
        black_box(&held);
        // A service's pace: a GiB in some seconds.
        std::thread::sleep(Duration::from_millis(5));
        assert!(held.len() < 90_000, "not killed: {:?}", profiler.last_decision());
    }
}
