//! Starts that must fail: each is an error that says what to change, the host runs on, and a right start works after.

mod common_http;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use common_http::{Client, assert_the_host_allocates, free_port, heapward_threads, is_listening};
use heapward::{ErrorKind, Profiler, Threshold};

heapward::install!("lg_prof_sample:12");

/// Set in a child process to the variable that the parent has given it.
const ROLE: &str = "LIVE_START_ROLE";

#[test]
fn a_bad_start_says_what_to_change_and_a_good_one_works_after() {
    if let Ok(variable) = std::env::var(ROLE) {
        return start_with_the_variable(&variable);
    }
    a_taken_port();
    an_unwritable_folder();
    settings_out_of_range();
    a_second_start();
    start_again_after_shutdown();
    variables();
}

/// Checks a start that is refused: its kind, that every one of `words` is in the message, and that it left nothing.
#[track_caller]
fn refused(started: heapward::Result<Profiler>, kind: ErrorKind, words: &[&str]) {
    let error = started.expect_err("must be refused");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert_eq!(heapward_threads(), [""; 0], "{text}");
    assert_the_host_allocates();
}

/// A start that works, in a process where others were refused.
#[track_caller]
fn starts() {
    let profiler = Profiler::builder().profiles_dir("off").listen("127.0.0.1:0").start().unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    client.get("/healthz").expect(200);
    client.send("POST", "/api/snapshots", &[]).expect(201);
    profiler.shutdown();
    assert_eq!(heapward_threads(), [""; 0]);
}

fn a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words =
        ["listen (HEAPWARD_LISTEN)", &address, "choose a free port (0 lets the system choose), or `off`", "in use"];
    refused(Profiler::builder().profiles_dir("off").listen(&address).start(), ErrorKind::Io, &words);
    assert!(taken.set_nonblocking(true).is_ok() && taken.accept().is_err(), "and the port's owner noticed nothing");
    drop(taken);

    // The same address, once it is free.
    let profiler = Profiler::builder().profiles_dir("off").listen(&address).start().unwrap();
    assert_eq!(profiler.address().unwrap().to_string(), address);
    profiler.shutdown();
    starts();
}

fn an_unwritable_folder() {
    let folder = tempfile::tempdir().unwrap();
    // Below a file there can be no folder, not even for root.
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let below = file.join("profiles");
    let given = below.display().to_string();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let start = || Profiler::builder().listen(&address).profiles_dir(&below).start();
    let fix = "name a folder that this user may write to, or `off`";
    refused(start(), ErrorKind::Io, &["profiles_dir (HEAPWARD_PROFILES_DIR)", &given, fix, "Not a directory"]);
    refused(
        Profiler::builder().listen("off").profiles_dir(&file).start(),
        ErrorKind::Io,
        &["HEAPWARD_PROFILES_DIR", "or `off`"],
    );
    assert!(!is_listening(port), "bound before the folder was tried, and given back");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    fs::remove_file(&file).unwrap();
    start().unwrap().shutdown();
    let left: Vec<_> = fs::read_dir(&below).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(
        matches!(&left[..], [record] if record.extension().unwrap() == "run"),
        "made, and its record in it: {left:?}"
    );
    starts();
}

fn settings_out_of_range() {
    let builder = || Profiler::builder().profiles_dir("off").listen("off");
    refused(
        builder().poll_interval(Duration::ZERO).start(),
        ErrorKind::Config,
        &["poll_interval (HEAPWARD_POLL_INTERVAL) is 0 s: allowed is 0.01 s to 3600 s"],
    );
    refused(
        builder().min_interval(Duration::MAX).start(),
        ErrorKind::Config,
        &["min_interval (HEAPWARD_MIN_INTERVAL) is", "allowed is 0.01 s to 604800 s"],
    );
    refused(
        builder().history(0).start(),
        ErrorKind::Config,
        &["history (HEAPWARD_HISTORY) is 0: allowed is 1 to 1000"],
    );
    refused(
        builder().rss_threshold(Threshold::PercentOfLimit(f64::NAN)).start(),
        ErrorKind::Config,
        &["rss_threshold (HEAPWARD_RSS_THRESHOLD)", "`NaN%`", "allowed is above 0% and at most 100%"],
    );
    for address in ["banana", "6060", "example.org:6060", "127.0.0.1:65536", "unix:relative"] {
        refused(
            Profiler::builder().profiles_dir("off").listen(address).start(),
            ErrorKind::Config,
            &[
                "listen (HEAPWARD_LISTEN)",
                &format!("`{address}`"),
                "IP:PORT such as 127.0.0.1:6060",
                "unix:/path or off",
            ],
        );
    }
    starts();
}

fn a_second_start() {
    let first = Profiler::builder().profiles_dir("off").listen("127.0.0.1:0").start().unwrap();
    let port = free_port();
    let error = Profiler::builder().profiles_dir("off").listen(&format!("127.0.0.1:{port}")).start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyRunning);
    assert!(error.to_string().contains("keep the first one, or shut it down"), "{error}");
    assert!(!is_listening(port));
    // The first one goes on.
    Client::Tcp(first.address().unwrap()).get("/healthz").expect(200);
    first.snapshot().unwrap();
    first.shutdown();
}

fn start_again_after_shutdown() {
    let held = leak_sessions();
    let profiler = Profiler::builder().profiles_dir("off").listen("127.0.0.1:0").start().unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    client.send("POST", "/api/snapshots", &[]).expect(201);
    let snapshot = client.get("/api/snapshots/latest").expect(200).json();
    assert_eq!(snapshot["id"], 1, "each start has a history of its own");
    let partial = snapshot["partial"].as_str().expect("sampling was off between two starts");
    assert!(partial.contains("paused"), "{partial}");
    let profile = client.get("/api/snapshots/latest/heap.prof").expect(200).profile();
    let comments: Vec<&str> = profile.comment.iter().map(|&index| common_http::string(&profile, index)).collect();
    assert!(comments.contains(&&*format!("partial: {partial}")), "{comments:?}");

    // It samples again.
    let more = leak_more_sessions();
    let profile = client.get("/debug/pprof/heap").expect(200).profile();
    assert!(common_http::values_at(&profile, "leak_more_sessions")[3] > 1 << 20);
    assert_eq!(common_http::values_at(&profile, "leak_sessions")[3], 0, "allocated while nothing ran");
    drop((held, more));

    // What a host still holds of one that was shut down says so.
    let routes = profiler.routes();
    profiler.shutdown();
    assert_eq!(common_http::ask(&routes, "GET", "/api/memory").status, 503);
}

#[inline(never)]
fn leak_sessions() -> Vec<Vec<u8>> {
    (0..256).map(|_| std::hint::black_box(vec![1; 16 * 1024])).collect()
}

#[inline(never)]
fn leak_more_sessions() -> Vec<Vec<u8>> {
    (0..256).map(|_| std::hint::black_box(vec![1; 16 * 1024])).collect()
}

/// Each bad variable in a process of its own, which has it from its start.
fn variables() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, value) in [
        ("HEAPWARD_RSS_THRESHOLD", "banana"),
        ("HEAPWARD_MIN_INTERVAL", "banana"),
        ("HEAPWARD_ENABLED", "banana"),
        ("HEAPWARD_LISTEN", "0.0.0.0:0"),
        ("HEAPWARD_LISTEN", &address),
        ("HEAPWARD_PROFILES_DIR", "/dev/null/profiles"),
        ("HEAPWARD_SYMBOLIZE", "banana"),
        ("HEAPWARD_SYMBOLIZE_HEADROOM", "banana"),
        ("HEAPWARD_DEBUG_DIRS", "banana"),
        ("HEAPWARD_ALERT_THRESHOLD", "banana"),
        ("HEAPWARD_ALERT_AFTER", "0"),
        ("HEAPWARD_ALERT_WEBHOOK", "banana"),
        ("HEAPWARD_ALERTMANAGER", "banana"),
    ] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["a_bad_start_says_what_to_change_and_a_good_one_works_after", "--exact", "--nocapture"])
            .env(ROLE, variable)
            .env(variable, value)
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success(), "{variable}={value}:\n{text}");
        assert!(text.contains("1 passed"), "{variable}={value}:\n{text}");
    }
}

/// The child's part.
fn start_with_the_variable(variable: &str) {
    let value = std::env::var(variable).unwrap();
    let (kind, fix) = match (variable, value.as_str()) {
        ("HEAPWARD_RSS_THRESHOLD", _) => {
            (ErrorKind::Config, "allowed is a size such as 512MiB, or a share of the memory limit such as 70%")
        }
        ("HEAPWARD_MIN_INTERVAL", _) => (ErrorKind::Config, "allowed is a number with ms, s, m or h, such as 60s"),
        ("HEAPWARD_ENABLED", _) => (ErrorKind::Config, "allowed is true or false"),
        ("HEAPWARD_LISTEN", "0.0.0.0:0") => {
            (ErrorKind::Config, "set a token (HEAPWARD_TOKEN), or listen on a loopback")
        }
        ("HEAPWARD_LISTEN", _) => (ErrorKind::Io, "choose a free port"),
        ("HEAPWARD_PROFILES_DIR", _) => (ErrorKind::Io, "name a folder that this user may write to, or `off`"),
        ("HEAPWARD_SYMBOLIZE", _) => (ErrorKind::Config, "allowed is auto, never or always"),
        ("HEAPWARD_SYMBOLIZE_HEADROOM", _) => {
            (ErrorKind::Config, "allowed is a number with an optional unit B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")
        }
        ("HEAPWARD_DEBUG_DIRS", _) => (ErrorKind::Config, "allowed are absolute paths such as /usr/lib/debug"),
        ("HEAPWARD_ALERT_THRESHOLD", _) => (ErrorKind::Config, "or a share of the memory limit such as 70%; or off"),
        ("HEAPWARD_ALERT_AFTER", _) => (ErrorKind::Config, "allowed is 1 to 1000"),
        ("HEAPWARD_ALERT_WEBHOOK" | "HEAPWARD_ALERTMANAGER", _) => {
            (ErrorKind::Config, "allowed is http://host:port/path")
        }
        _ => panic!("{variable}"),
    };
    refused(heapward::start(), kind, &[variable, &value, fix]);
    // What code says does not win over the variable.
    let with_code =
        Profiler::builder().rss_threshold(heapward::ByteSize::mib(64)).listen("off").profiles_dir(std::env::temp_dir());
    refused(with_code.start(), kind, &[variable, &value, fix]);

    // SAFETY: this process runs one test, whose harness waits for it and reads no variables meanwhile.
    unsafe { std::env::remove_var(variable) };
    starts();
}
