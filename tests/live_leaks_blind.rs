//! What is told of a leak that samples do not show: when they find no room, when sampling is switched off, when they come
//! from jemalloc's dumps, when too few snapshots are kept. Never that all is well. A process for each.

mod common;
mod common_http;

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use common_http::{Client, wait_for};
use heapward::{Builder, ByteSize, Profiler};
use serde_json::Value;
use tikv_jemalloc_ctl::raw;

heapward::install!("lg_prof_sample:12");

const MIB: u64 = 1 << 20;

/// Of one block: small, so that jemalloc's count misses the sampled ones.
const BYTES: usize = 2000;

#[inline(never)]
fn leak(kept: &mut Vec<Vec<u8>>, bytes: u64) {
    (0..bytes / BYTES as u64).for_each(|_| kept.push(black_box(vec![1; BYTES])));
}

#[test]
fn dropped() {
    in_a_child("dropped", || {
        let service = Service::start(Profiler::builder().max_live_samples(1024));
        let mut kept = Vec::new();
        service.snapshots(12, || leak(&mut kept, 8 * MIB));
        let why = "samples found no room since snapshot ";
        let report = service.is_inconclusive(why);
        assert!(report["inconclusive"].as_str().unwrap().contains("HEAPWARD_MAX_LIVE_SAMPLES"), "{report:#}");
        service.memory_is_unclear(why);
        // What passes for slack is named with its bytes.
        let memory = service.client.get("/api/memory").json();
        assert!(memory["rss"]["slack_maybe_live_bytes"].as_u64().unwrap() > 4 * MIB, "{memory:#}");
        let notes = memory["rss"]["notes"].to_string();
        assert!(notes.contains("found no room in the live set so far"), "{notes}");
        let metrics = service.client.get("/metrics").text().to_string();
        assert!(metrics.contains("heapward_rss_slack_maybe_live_bytes "), "{metrics}");

        let diff = service.client.get("/api/diff/baseline/latest").json();
        assert_eq!(diff["is_lower_bound"], true, "{diff:#}");
        let first = diff["remarks"][0].as_str().unwrap();
        assert!(first.starts_with("a lower bound: in between ") && first.contains("found no room"), "{first}");
        let text = service.client.get_with("/api/diff/baseline/latest", &[("Accept", "text/plain")]).text().to_string();
        assert!(text.contains("in all: at least +"), "{text}");
        kept.len()
    });
}

#[test]
fn paused() {
    in_a_child("paused", || {
        let service = Service::start(Profiler::builder());
        let mut kept = Vec::new();
        service.snapshots(6, || leak(&mut kept, 8 * MIB));
        // The host's own doing.
        set_active(false);
        service.snapshots(6, || leak(&mut kept, 8 * MIB));
        let why = "sampling was switched off between the snapshots ";
        service.is_inconclusive(why);
        service.memory_is_unclear(why);
        let partial = service.profiler.snapshots().last().unwrap().partial.clone().unwrap();
        assert!(partial.contains("sampling was paused"), "{partial}");
        // A pause is no reason to be blind for ever.
        set_active(true);
        service.snapshots(12, || leak(&mut kept, 8 * MIB));
        let report = service.leaks();
        assert_eq!(report["suspects"][0]["function"], "live_leaks_blind::leak", "{report:#}");
        assert!(report["summary"].as_str().unwrap().contains("judged from snapshot 1"), "{report:#}");
        kept.len()
    });
}

#[test]
fn switched_off_since_the_last_snapshot() {
    in_a_child("switched_off_since_the_last_snapshot", || {
        let service = Service::start(Profiler::builder());
        service.snapshots(8, || drop(black_box(vec![1; BYTES])));
        let report = service.leaks();
        assert_eq!(report["inconclusive"], Value::Null, "{report:#}");
        set_active(false);
        service.is_inconclusive("sampling was switched off since snapshot 8");
        0
    });
}

#[test]
fn dump() {
    in_a_child_with("dump", &[("HEAPWARD_COLLECTOR", "dump")], || {
        let service = Service::start(Profiler::builder());
        let mut kept = Vec::new();
        service.snapshots(10, || leak(&mut kept, 8 * MIB));
        let why = "tell no birthdays";
        let report = service.is_inconclusive(why);
        // That it rose is known, and not whether what is freed lived long.
        let rose = report["let_go"].as_array().unwrap();
        let found = rose.iter().find(|site| site["function"] == "live_leaks_blind::leak");
        let found = found.unwrap_or_else(|| panic!("{report:#}"));
        assert!(found["rise_bytes"].as_f64().unwrap() > 50.0 * MIB as f64, "{found:#}");
        for share in ["survivor_share", "old_share", "alive_share", "not_freed", "freed_samples", "bytes_per_second"] {
            assert_eq!(found[share], Value::Null, "{share}: {found:#}");
        }
        service.memory_is_unclear(why);
        // The same sources now as at the first snapshot: what was leaked is live heap, and no slack. (72 MiB after it.)
        let first = service.client.get("/api/snapshots/baseline").json();
        let now = service.client.get("/api/memory").json();
        let grown = |part: &str| now["rss"][part].as_i64().unwrap() - first["rss"][part].as_i64().unwrap();
        assert!(grown("live_heap_bytes") > 60 * MIB as i64, "{:#} {:#}", first["rss"], now["rss"]);
        kept.len()
    });
}

#[test]
fn two_snapshots() {
    in_a_child("two_snapshots", || {
        let service = Service::start(Profiler::builder().history(2));
        let mut kept = Vec::new();
        service.snapshots(6, || leak(&mut kept, 4 * MIB));
        service.is_inconclusive("HEAPWARD_HISTORY is 2, and it takes 3 or more");
        service.memory_is_unclear("HEAPWARD_HISTORY is 2");
        kept.len()
    });
}

struct Service {
    profiler: Profiler,
    client: Client,
}

impl Service {
    fn start(builder: Builder) -> Self {
        let profiler = builder
            .listen("127.0.0.1:0")
            .rss_threshold(ByteSize::bytes(1))
            .poll_interval(Duration::from_millis(20))
            .min_interval(Duration::from_millis(120))
            .start()
            .unwrap();
        let client = Client::Tcp(profiler.address().unwrap());
        wait_for("the first snapshot", || (!profiler.snapshots().is_empty()).then_some(()));
        Self { profiler, client }
    }

    /// Works until so many more have been taken, once before each.
    fn snapshots(&self, count: u64, mut work: impl FnMut()) {
        let last = || self.profiler.snapshots().last().map_or(0, |last| last.id);
        let from = last();
        while last() < from + count {
            let before = last();
            work();
            wait_for("a snapshot", || (last() > before).then_some(()));
        }
    }

    fn leaks(&self) -> Value {
        self.client.get("/api/leaks").json()
    }

    #[track_caller]
    fn is_inconclusive(&self, why: &str) -> Value {
        let report = self.leaks();
        assert_eq!(report["suspects"].as_array().unwrap().len(), 0, "{report:#}");
        let summary = report["summary"].as_str().unwrap();
        assert!(summary.starts_with("cannot tell whether anything grows without bound: "), "{summary}");
        assert!(summary.contains(why), "{summary}");
        assert!(report["inconclusive"].as_str().unwrap_or_default().contains(why), "{report:#}");
        let text = self.client.get_with("/api/leaks", &[("Accept", "text/plain")]).text().to_string();
        for fine in ["nothing is seen", "stays", "stopped", "not accused"] {
            assert!(!summary.contains(fine), "{fine}: {summary}");
        }
        assert!(text.starts_with(summary), "{text}");
        report
    }

    #[track_caller]
    fn memory_is_unclear(&self, why: &str) {
        let memory = self.client.get("/api/memory").json();
        let rss = &memory["rss"];
        assert_eq!(rss["verdict"], "unclear", "{rss:#}");
        let words = rss["why"].as_str().unwrap();
        let says = words.contains(why) || words.contains("may be live heap");
        assert!(says && !words.contains("Nothing here asks") && !words.contains("a cache, a warm-up"), "{words}");
    }
}

fn set_active(active: bool) {
    // SAFETY: `prof.active` is a bool.
    unsafe { raw::write(b"prof.active\0", active) }.unwrap();
}

/// Runs `work` in a process of its own: this test alone, in this binary once more.
fn in_a_child(test: &str, work: impl FnOnce() -> usize) {
    in_a_child_with(test, &[], work);
}

fn in_a_child_with(test: &str, variables: &[(&str, &str)], work: impl FnOnce() -> usize) {
    const CHILD: &str = "HEAPWARD_TEST_CHILD";
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        common::fail_fast();
        black_box(work());
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", test, "--nocapture"]).env(CHILD, test).envs(variables.iter().copied());
    let child = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{test}:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{test} did not run:\n{out}");
}
