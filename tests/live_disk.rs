//! Snapshots on disk, from the run that wrote them to the next one, which tells how it ended.

mod common_disk;
mod common_http;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use common_disk::{Service, disk, files, folder, get, leak_sessions, role, say, writing_to, written_snapshot};
use common_http::{ask, decode, functions, values_at, wait_for};
use heapward::Profiler;
use serde_json::Value;

heapward::install!("lg_prof_sample:12");

const TEST: &str = "evidence_of_earlier_runs_is_there";

#[test]
fn evidence_of_earlier_runs_is_there() {
    match role().as_deref() {
        Some("clean") => return serve(true),
        Some("killed") => return serve(false),
        Some("off") => return off(),
        _ => {}
    }
    let below = tempfile::tempdir().unwrap();
    let folder = below.path().join("profiles");
    assert!(Service::start(TEST, "clean", &folder).wait().success());
    files_are_for_their_owner_alone(&folder);
    let killed = Service::start(TEST, "killed", &folder);
    let address = killed.said.clone();
    a_run_that_goes_on_is_no_previous_one(&folder, &address);
    killed.kill();

    std::fs::write(folder.join("README.md"), "not ours").unwrap();
    let profiler = writing_to(&folder).start().unwrap();
    wait_for("the folder to be looked through", || get(&profiler, "/api/runs")["run"].as_str().map(|_| ()));
    runs_are_told_with_their_ends(&profiler);
    snapshots_of_the_previous_run_are_whole(&profiler);
    they_are_compared(&profiler);
    names_are_refused_with_what_there_is(&profiler);
    damage_is_set_aside(&profiler, &folder);
    profiler.shutdown();
    a_link_is_not_followed(below.path());
    off_writes_nothing(below.path());
    assert_eq!(std::fs::read_to_string(folder.join("README.md")).unwrap(), "not ours");
}

/// A service with two snapshots, the second after a leak.
fn serve(is_clean: bool) {
    let profiler = writing_to(&folder()).start().unwrap();
    let mut held = Vec::with_capacity(2000);
    leak_sessions(&mut held, 100);
    written_snapshot(&profiler);
    leak_sessions(&mut held, 1000);
    let last = written_snapshot(&profiler);
    wait_for("the last reading to be noted", || (disk(&profiler, "writes") == last).then_some(()));
    if is_clean {
        say("is done");
        profiler.shutdown();
        return;
    }
    say(&profiler.address().unwrap().to_string());
    // Until it is killed.
    loop {
        std::thread::park();
    }
}

fn files_are_for_their_owner_alone(folder: &Path) {
    assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
    let names = files(folder);
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].contains(".000001.requested.") && names[1].contains(".000002.requested."), "{names:?}");
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        assert!(!entry.file_name().to_string_lossy().ends_with(".tmp"));
    }
}

fn a_run_that_goes_on_is_no_previous_one(folder: &Path, address: &str) {
    let profiler = writing_to(folder).start().unwrap();
    let runs = wait_for("the folder to be looked through", || {
        Some(get(&profiler, "/api/runs")).filter(|runs| runs["run"].is_string())
    });
    let [clean, running] = runs["runs"].as_array().unwrap().as_slice() else { panic!("{runs}") };
    assert_eq!((&clean["ended"]["how"], &running["ended"]["how"]), (&"clean".into(), &"running".into()), "{runs}");
    assert_eq!(runs["previous"], clean["run"], "{runs}");
    assert!(!address.is_empty());
    profiler.shutdown();
}

fn runs_are_told_with_their_ends(profiler: &Profiler) {
    let list = get(profiler, "/api/runs");
    // The third is this process's own, which was shut down above.
    let [clean, killed, own] = list["runs"].as_array().unwrap().as_slice() else { panic!("{list}") };
    let ended = |run: &Value| (run["ended"]["how"].as_str().unwrap().to_owned(), run["ended"]["certainty"].clone());
    assert_eq!(ended(clean), ("clean".to_owned(), "sure".into()));
    assert_eq!(ended(own), ("clean".to_owned(), "sure".into()));
    assert_eq!(ended(killed), ("not_clean".to_owned(), "sure".into()), "{killed}");
    let why = killed["ended"]["why"].as_str().unwrap();
    assert!(why.starts_with("it ended without a word: by a signal, `exit` or `abort`"), "{why}");
    for run in [clean, killed] {
        assert_eq!(run["snapshots"], 2);
        assert_eq!((&run["last_snapshot"]["id"], &run["last_snapshot"]["reason"]), (&2.into(), &"requested".into()));
        assert!(run["last_reading"]["rss_bytes"].as_u64().unwrap() > 1 << 20, "{run}");
        assert!(run["last_reading"]["system"]["total_bytes"].as_u64().unwrap() > 1 << 20, "{run}");
        assert!(run["build_id"].is_string() && run["pid"].is_u64(), "{run}");
        assert_eq!(run["heapward_version"], env!("CARGO_PKG_VERSION"));
    }
    assert_eq!(list["set_aside"].as_array().map(Vec::len), Some(0));
}

/// The run that was killed.
fn killed(profiler: &Profiler) -> String {
    get(profiler, "/api/runs")["runs"][1]["run"].as_str().unwrap().to_owned()
}

fn snapshots_of_the_previous_run_are_whole(profiler: &Profiler) {
    let killed = killed(profiler);
    let list = get(profiler, &format!("/api/snapshots?run={killed}"));
    assert_eq!((&list["baseline"], &list["run"]["run"]), (&1.into(), &killed.as_str().into()));
    let [_, second] = list["snapshots"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&second["id"], &second["why"]), (&2.into(), &"requested".into()));
    let (low, high) = (second["live_bytes_low"].as_u64().unwrap(), second["live_bytes_high"].as_u64().unwrap());
    assert!(low < 1100 * 16384 + (1 << 20) && high > 1100 * 16384, "{low} to {high}");
    assert_eq!(&get(profiler, &format!("/api/snapshots/latest?run={killed}")), second);

    let fetched = |target: &str| ask(&profiler.routes(), "GET", &format!("{target}?run={killed}")).expect(200);
    let profile = decode(&fetched("/api/snapshots/2/heap.prof").body);
    let [.., bytes] = values_at(&profile, "common_disk::leak_sessions");
    assert!((1100 * 16384 / 2..1100 * 16384 * 2).contains(&bytes), "{bytes}: {:?}", functions(&profile));
    assert!(profile.mapping[0].build_id > 0);
    let top = fetched("/api/snapshots/2/top").json();
    assert!(top["top"][0]["function"].as_str().unwrap().contains("leak_sessions"), "{}", top["top"][0]);
    assert!(top["top"][0]["file"].as_str().unwrap().ends_with("tests/common_disk/mod.rs"), "{}", top["top"][0]);
    let svg = fetched("/api/snapshots/peak/flamegraph.svg");
    assert!(svg.text().contains("leak_sessions") && svg.text().contains(&format!("of run {killed}")));
    assert!(fetched("/api/snapshots/baseline/folded").text().contains("leak_sessions"));
}

fn they_are_compared(profiler: &Profiler) {
    let killed = killed(profiler);
    let row = |diff: &Value| {
        let is_leak = |row: &&Value| row["function"].as_str().unwrap().contains("leak_sessions");
        let rows = diff["rows"].as_array().unwrap();
        rows.iter().find(is_leak).unwrap_or_else(|| panic!("{diff:#}")).clone()
    };
    let within = |amount: &Value, bytes: i64| {
        let bound = |bound: &str| amount[bound].as_i64().unwrap();
        // Twice the interval's width, as one in twenty misses by chance.
        let room = bound("bytes_high") - bound("bytes_low");
        assert!(bound("bytes_low") - room < bytes && bytes < bound("bytes_high") + room, "{bytes}: {amount}");
    };
    // Of one run, where it is known what survived.
    let diff = get(profiler, &format!("/api/diff/baseline/latest?run={killed}"));
    assert_eq!((&diff["base"]["run"], &diff["later"]["id"]), (&killed.as_str().into(), &2.into()));
    let leak = row(&diff);
    within(&leak["born"], 1000 * 16384);
    within(&leak["survived"], 100 * 16384);
    assert_eq!(leak["freed"]["bytes"], 0, "{leak}");

    // With this run, which has none of these sessions; then with some.
    let mut held = Vec::new();
    leak_sessions(&mut held, 400);
    let diff = get(profiler, &format!("/api/diff/latest/live?base_run={killed}"));
    assert_eq!((&diff["base"]["run"], diff["later"].get("run")), (&killed.as_str().into(), None));
    let leak = row(&diff);
    within(&leak["before"], 1100 * 16384);
    within(&leak["after"], 400 * 16384);
    within(&leak["net"], -700 * 16384);
    assert_eq!(leak["survived"]["samples"], 0);
    assert_eq!(leak["allocated_bytes"], Value::Null);
    let remarks = diff["remarks"].to_string();
    assert!(remarks.contains("of two runs: nothing is alive at both"), "{remarks}");
    let profile = format!("/api/diff/latest/live/heap.prof?base_run={killed}");
    let profile = decode(&ask(&profiler.routes(), "GET", &profile).expect(200).body);
    let [.., bytes] = values_at(&profile, "common_disk::leak_sessions");
    assert!((-1100 * 16384..-300 * 16384).contains(&bytes), "{bytes}");
    let svg = format!("/api/diff/latest/live/flamegraph.svg?base_run={killed}");
    assert!(ask(&profiler.routes(), "GET", &svg).expect(200).text().contains("leak_sessions"));

    // Two earlier runs that did the same.
    let clean = get(profiler, "/api/runs")["runs"][0]["run"].as_str().unwrap().to_owned();
    let diff = get(profiler, &format!("/api/diff/latest/latest?base_run={clean}&run={killed}"));
    let leak = row(&diff);
    within(&leak["before"], 1100 * 16384);
    within(&leak["after"], 1100 * 16384);
    drop(held);
}

fn names_are_refused_with_what_there_is(profiler: &Profiler) {
    let killed = killed(profiler);
    let refused = |target: &str, status, expect: &str| {
        let error = ask(&profiler.routes(), "GET", target).expect(status).error();
        assert!(error.contains(expect), "{error}");
    };
    refused("/api/snapshots?run=9-00000000", 404, "no run `9-00000000`: there are ");
    refused(&format!("/api/snapshots/7/top?run={killed}"), 404, "no snapshot `7` of run");
    refused("/api/snapshots?run=yesterday", 400, "does not name a run");
    refused(&format!("/api/diff/1/live?run={killed}"), 400, "the live heap is of this run");
    refused(&format!("/api/snapshots/1/heap.prof?base_run={killed}"), 400, "parameter `base_run` is unknown");
    let own = get(profiler, "/api/runs")["run"].as_str().unwrap().to_owned();
    refused(&format!("/api/snapshots?run={own}"), 400, "is this one: leave the parameter out");
}

/// One that its ends do not give away; the others are found at start.
fn damage_is_set_aside(profiler: &Profiler, folder: &Path) {
    let killed = killed(profiler);
    let name = files(folder).into_iter().find(|name| name.contains(&killed)).unwrap();
    let mut bytes = std::fs::read(folder.join(&name)).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    std::fs::write(folder.join(&name), bytes).unwrap();
    let answer = ask(&profiler.routes(), "GET", &format!("/api/snapshots/baseline/top?run={killed}")).expect(400);
    assert!(answer.error().contains("is damaged, and was set aside: at byte "), "{}", answer.error());
    let list = get(profiler, "/api/runs");
    assert_eq!(list["set_aside"][0]["file"], name.as_str());
    assert!(list["set_aside"][0]["reason"].as_str().unwrap().contains("the checksum of the body"), "{list}");
    assert_eq!(disk(profiler, "set_aside"), 1);
    assert_eq!(list["runs"][1]["snapshots"], 1);
}

fn a_link_is_not_followed(below: &Path) {
    let victim = below.join("victim");
    std::fs::create_dir(&victim).unwrap();
    let link = below.join("link");
    symlink(&victim, &link).unwrap();
    let error = writing_to(&link).start().unwrap_err().to_string();
    assert!(error.contains("profiles_dir (HEAPWARD_PROFILES_DIR)") && error.contains("a symbolic link"), "{error}");
    assert!(std::fs::read_dir(&victim).unwrap().next().is_none());
}

fn off_writes_nothing(below: &Path) {
    let folder = below.join("none");
    let change = |command: &mut std::process::Command| {
        command.env("HEAPWARD_PROFILES_DIR", "off");
    };
    assert!(Service::start_with(TEST, "off", &folder, change).wait().success());
    assert!(!folder.exists());
}

fn off() {
    let profiler = writing_to(&folder()).start().unwrap();
    wait_for("a snapshot", || profiler.snapshot().ok());
    assert!(!common_http::thread_names().contains(&"heapward-disk".to_owned()));
    assert_eq!(get(&profiler, "/api/memory")["disk"], Value::Null);
    assert_eq!(get(&profiler, "/api/runs")["runs"].as_array().map(Vec::len), Some(0));
    let error = ask(&profiler.routes(), "GET", "/api/snapshots?run=previous").expect(404).error();
    assert_eq!(error, "no snapshots are kept on disk: profiles_dir (HEAPWARD_PROFILES_DIR) is off");
    let metrics = ask(&profiler.routes(), "GET", "/metrics").expect(200);
    assert!(!metrics.text().contains("heapward_disk_"));
    say("is done");
}
