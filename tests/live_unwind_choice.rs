//! Which unwinder is in use, by what was asked for and what works: each case in a process of its own.

mod common;

use std::hint::black_box;
use std::process::{Command, Output};

use common::{fail_fast, memory, profiler, sampled};
use heapward::{ErrorKind, Unwinder};
use serde_json::Value;

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

/// Set in a child process: `builder` asks for jemalloc's, anything else asks for nothing.
const ROLE: &str = "LIVE_UNWIND_ROLE";

#[test]
fn the_best_that_works_is_in_use() {
    if let Ok(role) = std::env::var(ROLE) {
        return child(&role);
    }
    let (auto, _) = run("", None);
    let best = auto["name"].as_str().unwrap().to_owned();
    assert_eq!(auto["asked"], "auto");
    // Whether this build has frame pointers is its own affair; if not, it must say so.
    match &*best {
        "frame_pointers" => assert_eq!(auto["rejected"], Value::Array(Vec::new())),
        "eh_frame" => assert!(reason(&auto, "frame_pointers").contains("frames of a known chain of calls"), "{auto}"),
        other => panic!("{other}: {auto}"),
    }

    for figure in ["truncated_stacks", "borrowed_stacks"] {
        assert_eq!(auto[figure], 0, "the self-test's walks are not the service's: {auto}");
    }

    let (eh_frame, _) = run("", Some("eh_frame"));
    assert_eq!(names(&eh_frame), ["eh_frame", "eh_frame"]);
    assert!(reason(&eh_frame, "frame_pointers").contains("HEAPWARD_UNWINDER"), "{eh_frame}");

    let (asked, log) = run("", Some("frame_pointers"));
    assert_eq!(names(&asked), [&best, "frame_pointers"]);
    let warned =
        log.contains("WARN") && log.contains("the unwinder frame_pointers was asked for and does not work here");
    assert_eq!(warned, best != "frame_pointers", "{log}");

    for (jemalloc, _) in [run("", Some("jemalloc")), run("builder", None)] {
        assert_eq!(names(&jemalloc), ["jemalloc", "jemalloc"]);
        for better in ["frame_pointers", "eh_frame"] {
            assert!(reason(&jemalloc, better).starts_with("not tried: jemalloc was asked for"), "{jemalloc}");
        }
        assert_eq!(jemalloc["truncated_stacks"], Value::Null, "jemalloc's does not tell");
    }
    // What runs the service wins over what is in its code.
    assert_eq!(run("builder", Some("eh_frame")).0["name"], "eh_frame");

    let refused = Command::new(std::env::current_exe().unwrap())
        .env(ROLE, "refused")
        .env("HEAPWARD_UNWINDER", "banana")
        .output()
        .unwrap();
    assert!(refused.status.success(), "{}", text(&refused));
}

/// The one in use, and the one that was asked for.
fn names(report: &Value) -> [&str; 2] {
    ["name", "asked"].map(|name| report[name].as_str().unwrap())
}

fn reason<'r>(report: &'r Value, unwinder: &str) -> &'r str {
    let mut rejected = report["rejected"].as_array().unwrap().iter();
    rejected.find(|rejected| rejected["name"] == unwinder).unwrap()["reason"].as_str().unwrap()
}

/// Runs a child; returns its report and what it logged.
fn run(role: &str, unwinder: Option<&str>) -> (Value, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--nocapture", "--test-threads=1"]).env(ROLE, role).env_remove("HEAPWARD_UNWINDER");
    command.envs(unwinder.map(|unwinder| ("HEAPWARD_UNWINDER", unwinder)));
    let output = command.output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let report = text.lines().find_map(|line| line.strip_prefix("report: ")).unwrap_or_else(|| panic!("{text}"));
    let name = serde_json::from_str::<Value>(report).unwrap()["name"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("stacks by {name};")), "the log names the one in use: {text}");
    (serde_json::from_str(report).unwrap(), text)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn child(role: &str) {
    fail_fast();
    tracing_subscriber::fmt().with_ansi(false).init();
    let builder = match role {
        "builder" => profiler().unwinder(Unwinder::Jemalloc),
        _ => profiler(),
    };
    if role == "refused" {
        let error = builder.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let words = "HEAPWARD_UNWINDER: `banana` is unknown: allowed is auto, frame_pointers, eh_frame or jemalloc";
        assert!(error.to_string().contains(words), "{error}");
        return;
    }
    let profiler = builder.start().unwrap();
    let block = sampled(|| black_box(Box::new([1u8; 1000])));
    let address = block.as_ptr() as u64;
    let samples = profiler.live_samples();
    let sample = samples.iter().find(|sample| sample.address == address).expect("sampled");
    assert!(sample.depth > 10, "up to the thread's root: {sample:?}");
    println!("\nreport: {}", memory(&profiler)["unwinder"]);
    profiler.shutdown();
}
