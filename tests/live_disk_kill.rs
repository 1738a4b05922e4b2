//! A service that is killed at random moments while it writes a snapshot every 50 ms: every file that has its name is whole.

mod common;
mod common_disk;
mod common_http;

use std::hint::black_box;
use std::time::Duration;

use common::Random;
use common_disk::{SHORT, Service, folder, get, leak_sessions, role, say, writing_to};
use common_http::{ask, decode, values_at, wait_for};
use heapward::ByteSize;

// Everything is sampled, so that a snapshot is large and writing it takes its time.
heapward::install!("lg_prof_sample:6");

const TEST: &str = "a_kill_at_any_moment_leaves_whole_files";
const KILLS: usize = 100;

#[test]
fn a_kill_at_any_moment_leaves_whole_files() {
    if role().is_some() {
        return serve();
    }
    let below = tempfile::tempdir().unwrap();
    let folder = below.path().join("profiles");
    let mut random = Random::of_thread(1);
    // Snapshots that were being written. The record of a run that was killed before it had one stays for a minute: it could
    // be that of one that begins.
    let left_over = || {
        let Ok(entries) = std::fs::read_dir(&folder) else { return 0 };
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".tmp") && !name.ends_with(".run.tmp")).count()
    };
    let (mut kills, mut within_a_write) = (0, 0);
    // More where the disk is so fast that none fell within a write.
    while kills < KILLS || within_a_write == 0 && kills < 10 * KILLS {
        kills += 1;
        let service = Service::start(TEST, "service", &folder);
        // What is random is the moment of the kill: within some five snapshots.
        std::thread::sleep(Duration::from_micros(random.within(0..250_000) as u64));
        service.kill();
        within_a_write += usize::from(left_over() > 0);
    }

    let profiler = writing_to(&folder).profiles_count(100_000).start().unwrap();
    wait_for("the folder to be looked through", || get(&profiler, "/api/runs")["run"].as_str().map(|_| ()));
    let list = get(&profiler, "/api/runs");
    let runs = list["runs"].as_array().unwrap();
    assert_eq!(list["set_aside"].as_array().map(Vec::len), Some(0), "{}", list["set_aside"]);
    // Killed before it looked into the folder: that leaves nothing.
    assert!((kills * 9 / 10..=kills).contains(&runs.len()), "{} runs", runs.len());
    let (mut opened, mut named, mut bytes) = (0, 0, 0);
    for run in runs {
        assert_eq!(run["ended"]["how"], "not_clean", "{run}");
        let id = run["run"].as_str().unwrap();
        let snapshots = get(&profiler, &format!("/api/snapshots?run={id}"));
        let snapshots = snapshots["snapshots"].as_array().unwrap();
        assert_eq!(run["snapshots"].as_u64(), Some(snapshots.len() as u64), "each is listed");
        // Nothing is missing before the last one.
        let ids: Vec<u64> = snapshots.iter().map(|snapshot| snapshot["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
        for snapshot in ids {
            let target = format!("/api/snapshots/{snapshot}/heap.prof?run={id}");
            let profile = decode(&ask(&profiler.routes(), "GET", &target).expect(200).body);
            let [.., held] = values_at(&profile, "common_disk::leak_sessions");
            named += usize::from(held > 0);
            opened += 1;
        }
        bytes += run["bytes"].as_u64().unwrap();
    }
    println!(
        "{kills} kills, {within_a_write} within a write, {} runs, {opened} snapshots opened, {bytes} bytes",
        runs.len()
    );
    assert!(within_a_write > 0, "no kill fell within a write");
    assert!(opened >= kills, "{opened} snapshots");
    // The first of a run may come before anything was held.
    assert!(named > opened / 2, "{named} of {opened} name what was held");
    assert_eq!(left_over(), 0, "temporary files of the dead are gone");
    profiler.shutdown();
}

fn serve() {
    let mut held = Vec::with_capacity(4000);
    let profiler = writing_to(&folder())
        .rss_threshold(ByteSize::bytes(1))
        .min_interval(SHORT)
        .poll_interval(Duration::from_millis(10))
        .profiles_count(100_000);
    let profiler = profiler.start().unwrap();
    leak_sessions(&mut held, 500);
    let mut paths = Vec::with_capacity(1 << DEPTH);
    left(DEPTH, &mut paths);
    right(DEPTH, &mut paths);
    say(&profiler.address().unwrap().to_string());
    loop {
        std::thread::park();
    }
}

/// Each path down to the leaves is a stack of its own.
const DEPTH: u32 = 9;

#[inline(never)]
fn left(depth: u32, held: &mut Vec<Vec<u8>>) {
    descend(depth, held);
    black_box(depth);
}

#[inline(never)]
fn right(depth: u32, held: &mut Vec<Vec<u8>>) {
    descend(depth, held);
    black_box(depth + 1);
}

#[inline(never)]
fn descend(depth: u32, held: &mut Vec<Vec<u8>>) {
    if depth == 0 {
        held.push(black_box(vec![1; 512]));
        return;
    }
    left(depth - 1, held);
    right(depth - 1, held);
}
