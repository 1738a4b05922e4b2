//! What Prometheus' own tools say: of a scrape, and of what is in `examples/monitoring/`. Their verdict counts, and not ours.

mod common;
mod common_http;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{profiler, snapshot};

heapward::install!();

#[test]
#[ignore = "needs promtool and amtool (Debian prometheus, prometheus-alertmanager)"]
fn promtool_and_amtool_find_nothing_wrong() {
    // With gauges of the host's: one with a value, one above all, one without.
    let profiler = profiler()
        .trigger_on_gauge("queue_bytes", 1e300, || Some(1.5))
        .trigger_on_gauge("infinite", f64::MAX, || Some(f64::NEG_INFINITY))
        .trigger_on_gauge("unknown", 1.0, || None)
        .start()
        .expect("the profiler starts");
    let metrics = || common_http::ask(&profiler.routes(), "GET", "/metrics").expect(200).text().to_owned();
    // Also before the first poll.
    check("promtool", &["check", "metrics"], &metrics());
    common_http::wait_for("the first poll", || metrics().contains("heapward_host_value{").then_some(()));
    // Also before the first snapshot, when some are absent.
    check("promtool", &["check", "metrics"], &metrics());
    snapshot(&profiler);
    check("promtool", &["check", "metrics"], &metrics());
    assert!(metrics().contains("heapward_host_value{name=\"queue_bytes\"} 1.5\n"), "{}", metrics());
    // That it looks at all: a counter by the name of a gauge.
    let wrong = metrics().replace("heapward_polls_total", "heapward_polls");
    let (is_ok, words) = run("promtool", &["check", "metrics"], &wrong);
    assert!(!is_ok && words.contains("heapward_polls"), "{words}");

    check("promtool", &["check", "rules", "heapward.rules.yml"], "");
    check("promtool", &["test", "rules", "heapward.rules.test.yml"], "");
    check("promtool", &["check", "config", "prometheus.yml"], "");
    check("amtool", &["check-config", "alertmanager.yml"], "");
    profiler.shutdown();
}

/// Neither an error nor a warning.
#[track_caller]
fn check(program: &str, arguments: &[&str], input: &str) {
    let (is_ok, words) = run(program, arguments, input);
    assert!(is_ok, "{program} {arguments:?}: {words}\n{input}");
    let is_silent = words.is_empty() || words.contains("SUCCESS");
    assert!(is_silent && !words.contains("FAILED"), "{program} {arguments:?}: {words}");
}

/// Whether it succeeded, and what it said.
fn run(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    // Dropped at the end of the line, which closes it. One that reads nothing may be gone already.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), words.into_owned())
}
