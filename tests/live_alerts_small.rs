//! In a small container an alert, at its default threshold, says which function holds the memory and that it leaks.

mod common_disk;
mod common_http;
#[path = "../src/alerts/courier/server.rs"]
#[allow(dead_code)] // This test uses a part of it.
mod server;

use std::os::unix::process::CommandExt;
use std::time::Duration;

use common_disk::group::Group;
use common_disk::{Service, folder, leak_sessions, needs, role, say, writing_to};
use common_http::wait_for;
use heapward::ByteSize;
use serde_json::Value;
use server::Server;

heapward::install!("lg_prof_sample:16");

const TEST: &str = "an_alert_in_a_small_container_names_what_leaks";
const WEBHOOK: &str = "ALERT_TEST_WEBHOOK";
const LIMIT: &str = "ALERT_TEST_LIMIT";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Ends with the test, however that ends.
struct Mortal(Service);

impl Drop for Mortal {
    fn drop(&mut self) {
        _ = self.0.child.kill();
        _ = self.0.child.wait();
    }
}

#[test]
#[ignore = "needs root and a memory controller of cgroup v1; is skipped with a word without"]
fn an_alert_in_a_small_container_names_what_leaks() {
    if role().is_some() {
        return serve();
    }
    let parent = match needs::memory_group() {
        Ok(parent) => parent,
        Err(why) => return needs::skip(TEST, &why),
    };
    // By the second setting there is no room for names at the alert: those that were remembered before are given.
    for (limit, headroom) in [(256 << 20, "256MiB"), (128 << 20, "640MiB")] {
        let below = tempfile::tempdir().unwrap();
        let group = Group::make(&parent, limit);
        let tasks = group.folder.join("cgroup.procs");
        let webhook = Server::answering(OK);
        let mut service = Mortal(Service::start_with(TEST, "service", below.path(), |command| {
            command.env(WEBHOOK, format!("http://{}", webhook.address)).env(LIMIT, limit.to_string());
            command.env("HEAPWARD_SYMBOLIZE_HEADROOM", headroom);
            let join = move || std::fs::write(&tasks, std::process::id().to_string());
            // SAFETY: between fork and exec the child writes its number into a file; it allocates, and jemalloc's fork
            // handlers make that good.
            unsafe { command.pre_exec(join) };
        }));
        let bodies = || -> Vec<Value> {
            let body = |request: &String| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            webhook.requests().iter().map(body).collect()
        };
        let told = wait_for("what is behind the alert", || {
            assert_eq!(service.0.child.try_wait().unwrap(), None, "the service lives: {:#?}", bodies());
            bodies().into_iter().find(|body| !body["sites"].as_array().unwrap().is_empty())
        });
        println!(
            "limit {} MiB: {}\n  at most {:.1} MiB in use, the cache included; the limit was hit {} times\n  {} {}",
            limit >> 20,
            told["message"],
            group.bytes("memory.max_usage_in_bytes") as f64 / f64::from(1 << 20),
            group.bytes("memory.failcnt"),
            told["sites"][0],
            told["leaks"]["suspects"][0]
        );
        assert_eq!((&told["limit_bytes"], &told["limit_of"]), (&limit.into(), &"cgroup".into()), "{told:#}");
        assert!((told["threshold_percent"].as_f64().unwrap() - 85.0).abs() < 0.01, "{told:#}");
        let is_named = |site: &Value| site["function"].as_str().is_some_and(|name| name.contains("leak_sessions"));
        assert!(is_named(&told["sites"][0]), "{told:#}");
        assert_eq!(told["sites"][0]["file"].as_str().unwrap().rsplit('/').next(), Some("mod.rs"), "{told:#}");
        assert!(told["leaks"]["summary"].is_string(), "{told:#}");
        assert!(is_named(&told["leaks"]["suspects"][0]), "{told:#}");
        assert_eq!(bodies()[0]["change"], "opened");
    }
}

/// Leaks to nine tenths of the limit, and stays there.
fn serve() {
    let limit: usize = std::env::var(LIMIT).unwrap().parse().unwrap();
    let _profiler = writing_to(&folder())
        // More than it has without what leaks.
        .rss_threshold(ByteSize::mib(48))
        .min_interval(Duration::from_millis(100))
        .poll_interval(Duration::from_millis(20))
        .alert_webhook(&std::env::var(WEBHOOK).unwrap())
        .start()
        .unwrap();
    say("leaks");
    let mut held = Vec::with_capacity(100_000);
    loop {
        if rss() < limit / 10 * 9 {
            leak_sessions(&mut held, 32);
        }
        // A service's pace: 256 MiB in some seconds.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
