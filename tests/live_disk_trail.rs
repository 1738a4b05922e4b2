//! What a run that was killed in a rise noted until then: its last readings, and the rise, told by the next run.

mod common_disk;
mod common_http;

use std::hint::black_box;
use std::time::Duration;

use common_disk::{SHORT, Service, folder, get, leak_sessions, role, say, writing_to};
use common_http::wait_for;
use heapward::ByteSize;
use serde_json::Value;

heapward::install!("lg_prof_sample:16");

const TEST: &str = "the_last_readings_and_the_rise_are_there_after_a_kill";

#[test]
fn the_last_readings_and_the_rise_are_there_after_a_kill() {
    if role().is_some() {
        return serve();
    }
    let below = tempfile::tempdir().unwrap();
    let folder = below.path().join("profiles");
    Service::start(TEST, "service", &folder).kill();

    let profiler = writing_to(&folder).start().unwrap();
    let runs = wait_for("the folder to be looked through", || {
        Some(get(&profiler, "/api/runs")).filter(|runs| runs["run"].is_string())
    });
    let run = &runs["runs"][0];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}"));
    let readings = run["last_readings"].as_array().unwrap();
    assert_eq!(readings.len(), 100, "{run}");
    assert!(readings.is_sorted_by_key(|reading| reading["uptime_seconds"].as_f64().unwrap()), "{run}");
    let rss = |reading: &Value| number(&reading["rss_bytes"]);
    assert!(readings.iter().all(|reading| rss(reading) > 1 << 20 && reading["time"].is_string()));
    assert!(readings.iter().all(|reading| reading["cpu_percent"].is_number()), "{run}");
    assert!(readings.iter().any(|reading| rss(reading) > 64 << 20), "{run}");

    let [episode] = run["episodes"].as_array().unwrap().as_slice() else { panic!("{run}") };
    assert_eq!((number(&episode["id"]), &episode["end"], &episode["ended_by"]), (1, &Value::Null, &Value::Null));
    assert!(rss(&episode["peak"]) > rss(&episode["start"]) + (32 << 20), "{episode}");
    assert!(number(&episode["taken"]) >= 2, "{episode}");
    let list = get(&profiler, "/api/snapshots?run=previous");
    let highest = list["snapshots"].as_array().unwrap().iter().find(|one| one["id"] == episode["highest"]);
    assert_eq!(highest.unwrap_or_else(|| panic!("{list}"))["episode"], 1);
    assert_eq!(list["run"]["last_readings"], run["last_readings"]);
    profiler.shutdown();
}

/// Leaks until there is something to tell, and waits until that is noted; then until it is killed.
fn serve() {
    let profiler = writing_to(&folder())
        .rss_threshold(ByteSize::mib(32))
        .min_interval(SHORT)
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let mut held = Vec::with_capacity(100_000);
    wait_for("a rise with three snapshots", || {
        leak_sessions(&mut held, 250);
        black_box(&held);
        let episodes = get(&profiler, "/api/episodes");
        (episodes["episodes"][0]["taken"].as_u64() >= Some(3) && held.len() > 6000).then_some(())
    });
    let readings = || get(&profiler, "/api/monitoring/hotspots")["readings"].as_array().map(Vec::len);
    wait_for("a hundred readings", || (readings() >= Some(100)).then_some(()));
    // All that there was is noted with the next snapshot, if not before.
    let last = wait_for("a snapshot", || profiler.snapshot().ok()).id;
    wait_for("it to be written", || (common_disk::disk(&profiler, "writes") >= last).then_some(()));
    common_disk::written_snapshot(&profiler);
    say("leaked");
    loop {
        std::thread::park();
    }
}
