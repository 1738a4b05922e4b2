//! What `examples/monitoring/` names is there: every metric in a real scrape, every alert in the unit tests of the rules, at
//! both sides, and in the table that people read.

mod common;
mod common_http;

use std::collections::BTreeSet;
use std::path::Path;

use common::{profiler, snapshot};
use regex::Regex;
use serde_json::Value;

heapward::install!();

/// Not on every machine: there is no such group, limit or swap.
const NOT_EVERYWHERE: &[&str] = &[
    // Where memory use does not rise, where the kernel keeps no figures of pressure, outside of control groups.
    "heapward_predicted_limit_seconds",
    "heapward_memory_pressure_some_ratio",
    "heapward_memory_pressure_full_ratio",
    "heapward_memory_pressure_some_avg300_ratio",
    "heapward_memory_pressure_full_avg300_ratio",
    // Without gauges of the host's.
    "heapward_host_value",
    "heapward_cgroup_events_total",
    "heapward_cgroup_limit_bytes",
    "heapward_cgroup_usage_bytes",
    "heapward_process_swap_bytes",
    // Before the first write.
    "heapward_disk_last_write_timestamp_seconds",
    // Without hooks there is no such limit.
    "heapward_live_samples_limit",
];

#[test]
fn what_the_examples_name_is_there() {
    let rules = read("heapward.rules.yml");
    let tests = read("heapward.rules.test.yml");
    let dashboard = read("grafana_dashboard.json");
    let readme = read("README.md");

    let folder = tempfile::tempdir().unwrap();
    let profiler = profiler().profiles_dir(folder.path()).start().expect("the profiler starts");
    snapshot(&profiler);
    let metrics = common_http::ask(&profiler.routes(), "GET", "/metrics").expect(200);
    let scraped: BTreeSet<&str> = metrics.text().lines().filter(|line| !line.starts_with('#')).map(name_of).collect();
    let is_known = |name: &str| scraped.contains(name) || NOT_EVERYWHERE.contains(&name);

    for (file, text, least) in [
        ("heapward.rules.yml", &rules, 20),
        ("heapward.rules.test.yml", &tests, 20),
        ("grafana_dashboard.json", &dashboard, 50),
    ] {
        let named: BTreeSet<&str> = found(r"\bheapward_[a-z0-9_]+", text).collect();
        let named: Vec<&str> = named.into_iter().filter(|name| !GROUPS.contains(name)).collect();
        let unknown: Vec<&&str> = named.iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{file} names what is in no scrape: {unknown:?}; there are {scraped:?}");
        assert!(named.len() >= least, "{file} names {} metrics: {named:?}", named.len());
    }
    assert_is_a_dashboard(&dashboard);

    let alerts: Vec<&str> = found(r"(?m)^ +- alert: (\w+)$", &rules).collect();
    assert!(alerts.len() >= 18, "{alerts:?}");
    for alert in &alerts {
        assert!(readme.contains(&format!("| `{alert}` |")), "{alert} is not in the README's table");
        // From its name to the next key: one with and one without alerts expected.
        let expected: Vec<&str> =
            found(&format!(r"(?m)^ +alertname: {alert}\n +exp_alerts:(.*)$"), &tests).map(str::trim).collect();
        assert!(expected.contains(&"[]"), "no test of {alert} expects none");
        assert!(expected.contains(&""), "no test of {alert} expects one");
    }
    let in_readme: Vec<&str> = found(r"(?m)^\| `(Heapward\w+)` \|", &readme).collect();
    assert_eq!(in_readme, alerts, "the README's table has the rules' alerts in their order");
    profiler.shutdown();
}

/// Names of groups of rules.
const GROUPS: [&str; 2] = ["heapward_memory", "heapward_sidecar"];

/// That Grafana would find what it needs: panels with queries, snapshots as annotations, both colours.
fn assert_is_a_dashboard(text: &str) {
    let dashboard: Value = serde_json::from_str(text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "two panels have the id {}", panel["id"]);
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        assert!(queries > 0 || panel["type"] == "row", "{} has no query", panel["title"]);
    }
    let colours_at = |title: &str| -> Vec<(String, Option<f64>)> {
        let panel = panels.iter().find(|panel| panel["title"] == title).expect(title);
        let steps = panel.pointer("/fieldConfig/defaults/thresholds/steps").and_then(Value::as_array).expect(title);
        steps.iter().map(|step| (step["color"].as_str().expect(title).to_owned(), step["value"].as_f64())).collect()
    };
    let expect = [("green", None), ("orange", Some(0.8)), ("red", Some(0.95))].map(|(name, at)| (name.to_owned(), at));
    for title in ["Use", "Use over time", "Top of the limit"] {
        assert_eq!(colours_at(title), expect, "{title}");
    }
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
    let snapshots = annotations.iter().find(|annotation| annotation["name"] == "Snapshots").expect("snapshots");
    // At the time that the value says, in milliseconds, and not when it was scraped.
    assert_eq!(snapshots["useValueForTime"], true);
    assert!(snapshots["expr"].as_str().is_some_and(|query| query.ends_with(" * 1000")), "{snapshots}");
}

fn name_of(sample: &str) -> &str {
    sample.split(['{', ' ']).next().expect("a sample has a name")
}

/// All that matches, or its first group does.
fn found<'t>(pattern: &str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let all: Vec<&str> = pattern
        .captures_iter(text)
        .filter_map(|found| found.get(1).or_else(|| found.get(0)))
        .map(|found| found.as_str())
        .collect();
    all.into_iter()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
