//! What `go tool pprof` makes of a profile, from a file and over HTTP. Its verdict counts, and not ours.

use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use heapward::{ByteSize, Profiler, Selector};
use pprof::protos::{self, Message};

heapward::install!("lg_prof_sample:12");

const TOKEN: &str = "open-sesame";
const SESSION: usize = 64 * 1024;
const PAGE: usize = 32 * 1024;
/// By far the most that anything here keeps.
const SESSIONS: usize = 100;

/// The leak: every session is a block of its own, in a list that only grows.
#[inline(never)]
fn open_sessions_that_nobody_closes() -> Vec<Vec<u8>> {
    let mut sessions = Vec::new();
    for number in 0..black_box(SESSIONS) {
        sessions.push(vec![black_box(number as u8); SESSION]);
    }
    black_box(sessions)
}

/// Something that is kept as well, so that there is an order.
#[inline(never)]
fn render_a_page() -> String {
    black_box(format!("{:>1$}", black_box(1), black_box(PAGE)))
}

/// Frames that a table must not show: the allocator's, and those of Rust's way to it.
const HIDDEN: [&str; 4] = ["prof_backtrace_impl", "_rjem_", "__rust_alloc", "alloc::raw_vec::"];

#[test]
#[ignore = "needs go (Debian golang-go)"]
fn the_leak_is_first_and_the_allocator_is_hidden() {
    let profiler = Profiler::builder()
        .listen("127.0.0.1:0")
        .token(TOKEN)
        .rss_threshold(ByteSize::gib(1 << 20))
        .start()
        .expect("the profiler starts");
    let kept = (open_sessions_that_nobody_closes(), render_a_page());
    let taken = profiler.snapshot().expect("nobody asked for a snapshot before");
    let bytes = profiler.heap_prof(Selector::Latest).expect("there is a snapshot");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heap.prof");
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();

    check_table(&stdout(pprof(folder.path(), &["-top", "-nodefraction=0", "-unit=B", file])));
    check_sums(&stdout(pprof(folder.path(), &["-raw", file])), &bytes, taken.live_bytes);

    let address = profiler.address().expect("it listens");
    let url = |token: &str| format!("http://x:{token}@{address}/debug/pprof/heap");
    check_table(&stdout(pprof(folder.path(), &["-top", "-nodefraction=0", "-unit=B", &url(TOKEN)])));

    let refused = pprof(folder.path(), &["-top", &url("wrong")]);
    assert!(!refused.status.success(), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("401 Unauthorized"), "{why}");

    black_box(kept);
    profiler.shutdown();
}

fn pprof(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("go")
        .args(["tool", "pprof"])
        .args(arguments)
        .env("PPROF_TMPDIR", folder)
        .env("HOME", folder)
        .env("GOTOOLCHAIN", "local")
        .env_remove("PPROF_BINARY_PATH")
        .output()
        .expect("go is installed: apt-get install golang-go")
}

#[track_caller]
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn check_table(table: &str) {
    // `  6553600B 98.90% 98.90%   6553600B 98.90%  live_go_pprof::open_sessions_that_nobody_closes`
    let mut rows = table.lines().skip_while(|line| !line.trim_start().starts_with("flat ")).skip(1);
    let first: Vec<&str> = rows.next().unwrap_or_else(|| panic!("no row in\n{table}")).split_whitespace().collect();
    let [flat, _, _, _, _, function, ..] = first[..] else { panic!("{first:?} in\n{table}") };
    assert_eq!(function, "live_go_pprof::open_sessions_that_nobody_closes", "\n{table}");
    let bytes: usize = flat.strip_suffix('B').and_then(|number| number.parse().ok()).expect(flat);
    let leaked = SESSIONS * SESSION;
    // The list of the sessions is the function's own as well.
    assert!((leaked..leaked + leaked / 20).contains(&bytes), "{leaked} bytes were leaked:\n{table}");
    assert!(rows.clone().any(|row| row.contains("live_go_pprof::render_a_page")), "\n{table}");
    for row in rows {
        assert!(HIDDEN.iter().all(|name| !row.contains(name)), "{row} in\n{table}");
    }
}

#[track_caller]
fn check_sums(raw: &str, gzipped: &[u8], live_bytes: f64) {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes).unwrap();
    let profile = protos::Profile::decode(&bytes[..]).unwrap();
    let ours: [i64; 4] = std::array::from_fn(|index| profile.sample.iter().map(|sample| sample.value[index]).sum());

    // `Samples:`, the types, then `          1      65536          1      65536: 1 2 3 4`, each with its label below.
    let values = |line: &str| -> Option<[i64; 4]> {
        let numbers: Vec<i64> =
            line.split_once(':')?.0.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    let samples = raw.lines().skip_while(|line| *line != "Samples:").take_while(|line| *line != "Locations");
    let mut theirs = [0; 4];
    for sample in samples.filter_map(values) {
        theirs.iter_mut().zip(sample).for_each(|(sum, value)| *sum += value);
    }
    assert_eq!(theirs, ours);
    // Each sample is rounded to a whole byte.
    let rounding = profile.sample.len() as f64 * 0.5 + 1.0;
    assert!((ours[3] as f64 - live_bytes).abs() <= rounding, "{ours:?} and {live_bytes}");
}
