//! What is told of a leak that samples do not show: when they find no room, when sampling is switched off, when they come
//! from jemalloc's dumps, when too few snapshots are kept. Never that all is well. A process for each.

mod common;
mod common_http;

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common_http::{Client, wait_for};
use heapward::{ByteSize, Profiler};
use serde_json::Value;
use tikv_jemalloc_ctl::raw;

heapward::install!("lg_prof_sample:12");

const MIB: u64 = 1 << 20;

/// Of one block: small, so that jemalloc's count misses the sampled ones.
const BYTES: usize = 2000;

/// How much of it is kept.
static LEAKED: AtomicU64 = AtomicU64::new(0);

/// Leaks about 50 MiB a second until it is told to end; less on a busy machine.
#[inline(never)]
fn leak(ended: &AtomicBool) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    while !ended.load(Relaxed) {
        for _ in 0..MIB / 2 / BYTES as u64 {
            kept.push(black_box(vec![1; BYTES]));
        }
        LEAKED.fetch_add(MIB / 2, Relaxed);
        std::thread::sleep(Duration::from_millis(10));
    }
    kept
}

#[test]
fn dropped() {
    beside_a_leak("dropped", &[("HEAPWARD_MAX_LIVE_SAMPLES", "1024")], |service| {
        service.snapshots_of(32 * MIB);
        let why = " found no room since snapshot ";
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
        let text = service.text("/api/diff/baseline/latest");
        assert!(text.contains("in all: at least +"), "{text}");
        let profile = service.client.get("/api/diff/baseline/latest/heap.prof").profile();
        let comments: Vec<&str> = profile.comment.iter().map(|&at| common_http::string(&profile, at)).collect();
        assert!(comments.iter().any(|comment| comment.starts_with("a lower bound: ")), "{comments:?}");
    });
}

#[test]
fn paused() {
    beside_a_leak("paused", &[], |service| {
        service.snapshots(6);
        // The host's own doing.
        set_active(false);
        service.snapshots(6);
        let why = "sampling was switched off between the snapshots ";
        service.is_inconclusive(why);
        service.memory_is_unclear(why);
        let partial = service.profiler.snapshots().last().unwrap().partial.clone().unwrap();
        assert!(partial.contains("sampling was paused"), "{partial}");
        let diff = service.client.get("/api/diff/baseline/latest").json();
        assert!(diff["remarks"][0].as_str().unwrap().contains("sampling was switched off for a while"), "{diff:#}");
        // A pause is no reason to be blind for ever.
        set_active(true);
        service.snapshots(12);
        let report = wait_for("the leak to be told again", || {
            Some(service.leaks()).filter(|report| !report["suspects"].as_array().unwrap().is_empty())
        });
        assert_eq!(report["suspects"][0]["function"], "live_leaks_blind::leak", "{report:#}");
        assert!(report["summary"].as_str().unwrap().contains("(judged from snapshot "), "{report:#}");
        assert_eq!(report["inconclusive"], Value::Null);
    });
}

/// Whether a snapshot has been taken since or not.
#[test]
fn switched_off_just_now() {
    beside_a_leak("switched_off_just_now", &[], |service| {
        service.end_the_leak();
        service.snapshots(20);
        let report = service.leaks();
        assert_eq!(report["inconclusive"], Value::Null, "{report:#}");
        set_active(false);
        service.is_inconclusive("sampling was switched off ");
    });
}

#[test]
fn dump() {
    beside_a_leak("dump", &[("HEAPWARD_COLLECTOR", "dump")], |service| {
        service.snapshots_of(48 * MIB);
        let why = "tell no birthdays";
        let report = service.is_inconclusive(why);
        // That it rose is known, and not whether what is freed lived long.
        let rose = report["let_go"].as_array().unwrap();
        let found = rose.iter().find(|site| site["function"] == "live_leaks_blind::leak");
        let found = found.unwrap_or_else(|| panic!("{report:#}"));
        assert!(found["rise_bytes"].as_f64().unwrap() > 16.0 * MIB as f64, "{found:#}");
        for share in ["survivor_share", "old_share", "alive_share", "not_freed", "freed_samples", "bytes_per_second"] {
            assert_eq!(found[share], Value::Null, "{share}: {found:#}");
        }
        service.memory_is_unclear(why);
        // The same sources now as at the first snapshot: what was leaked is live heap, and no slack.
        let first = service.client.get("/api/snapshots/baseline").json();
        let now = service.client.get("/api/memory").json();
        let grown = |part: &str| now["rss"][part].as_i64().unwrap() - first["rss"][part].as_i64().unwrap();
        let (live, slack) = (grown("live_heap_bytes"), grown("allocator_slack_bytes"));
        let told = format!("{live} {slack}: {:#} {:#}", first["rss"], now["rss"]);
        assert!(live > 16 * MIB as i64 && slack < 2 * live, "{told}");
    });
}

#[test]
fn two_snapshots() {
    beside_a_leak("two_snapshots", &[("HEAPWARD_HISTORY", "2")], |service| {
        service.snapshots(6);
        service.is_inconclusive("HEAPWARD_HISTORY is 2, and it takes 3 or more");
        service.memory_is_unclear("HEAPWARD_HISTORY is 2");
    });
}

struct Service<'a> {
    profiler: Profiler,
    client: Client,
    ended: &'a AtomicBool,
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        self.end_the_leak();
    }
}

impl Service<'_> {
    fn end_the_leak(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Waits until so many more have been taken.
    fn snapshots(&self, count: u64) {
        let last = || self.profiler.snapshots().last().map_or(0, |last| last.id);
        let from = last();
        wait_for("snapshots", || (last() >= from + count).then_some(()));
    }

    /// Waits for ten of them, and until the last has so many bytes of the leak's.
    fn snapshots_of(&self, bytes: u64) {
        self.snapshots(10);
        wait_for("the leak", || (LEAKED.load(Relaxed) >= bytes).then_some(()));
        // One that was begun before may come after.
        self.snapshots(2);
    }

    fn leaks(&self) -> Value {
        self.client.get("/api/leaks").json()
    }

    fn text(&self, target: &str) -> String {
        self.client.get_with(target, &[("Accept", "text/plain")]).text().to_string()
    }

    #[track_caller]
    fn is_inconclusive(&self, why: &str) -> Value {
        let report = self.leaks();
        assert_eq!(report["suspects"].as_array().unwrap().len(), 0, "{report:#}");
        let text = self.text("/api/leaks");
        for summary in [report["summary"].as_str().unwrap(), text.lines().next().unwrap()] {
            assert!(summary.starts_with("cannot tell whether anything grows without bound: "), "{summary}");
            assert!(summary.contains(why), "{summary}");
        }
        assert!(report["inconclusive"].as_str().unwrap_or_default().contains(why), "{report:#}");
        report
    }

    #[track_caller]
    fn memory_is_unclear(&self, why: &str) {
        let memory = self.client.get("/api/memory").json();
        let rss = &memory["rss"];
        assert_eq!(rss["verdict"], "unclear", "{rss:#}");
        let words = rss["why"].as_str().unwrap();
        assert!(words.contains(why) || words.contains("may be live heap"), "{words}");
    }
}

fn set_active(active: bool) {
    // SAFETY: `prof.active` is a bool.
    unsafe { raw::write(b"prof.active\0", active) }.unwrap();
}

/// Runs `work` beside a leak, in a process of its own: this test alone, in this binary once more, with these variables.
fn beside_a_leak(test: &str, variables: &[(&str, &str)], work: impl FnOnce(&Service<'_>)) {
    const CHILD: &str = "HEAPWARD_TEST_CHILD";
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        common::fail_fast();
        let profiler = Profiler::builder()
            .profiles_dir("off")
            .listen("127.0.0.1:0")
            .rss_threshold(ByteSize::bytes(1))
            .poll_interval(Duration::from_millis(20))
            .min_interval(Duration::from_millis(120))
            .start()
            .unwrap();
        let client = Client::Tcp(profiler.address().unwrap());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Also when something is not as it should be, the leak ends.
            let service = Service { profiler, client, ended: &ended };
            service.snapshots(1);
            let leaking = scope.spawn(|| leak(&ended));
            work(&service);
            drop(service);
            black_box(leaking.join().unwrap());
        });
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, test).envs(variables.iter().copied());
    let child = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{test}:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{test} did not run:\n{out}");
}
