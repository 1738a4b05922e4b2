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
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .token(TOKEN)
        .rss_threshold(ByteSize::gib(1 << 20))
        .start()
        .expect("the profiler starts");
    let kept = (open_sessions_that_nobody_closes(), render_a_page());
    let taken = profiler.snapshot().expect("nobody asked for a snapshot before");
    let bytes = profiler.heap_prof(Selector::Latest).expect("there is a snapshot");

    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let file = save("heap.prof", &bytes);
    let file = file.as_str();

    check_table(&stdout(pprof(folder.path(), &["-top", "-nodefraction=0", "-unit=B", file])));
    let sums = check_sums(&stdout(pprof(folder.path(), &["-raw", file])), &bytes);
    // Each sample is rounded to a whole byte.
    assert!((sums[3] as f64 - taken.live_bytes).abs() <= ROUNDED, "{sums:?} and {}", taken.live_bytes);
    check_picture(folder.path(), file);

    let address = profiler.address().expect("it listens");
    let url = |token: &str, rest: &str| format!("http://x:{token}@{address}/debug/pprof/heap{rest}");
    check_table(&stdout(pprof(folder.path(), &["-top", "-nodefraction=0", "-unit=B", &url(TOKEN, "")])));
    // As text, pprof scales the samples itself and looks the names up in this program's file.
    let text = stdout(pprof(folder.path(), &["-top", "-nodefraction=0", "-unit=B", &url(TOKEN, "?debug=1")]));
    let row = text.lines().find(|row| row.ends_with("open_sessions_that_nobody_closes")).expect(&text);
    let cumulative = row.split_whitespace().nth(3).and_then(|bytes| bytes.strip_suffix('B')?.parse().ok()).expect(row);
    assert!((SESSIONS * SESSION..SESSIONS * SESSION * 21 / 20).contains(&cumulative), "{row}");

    for (rest, token, why) in [
        ("", "wrong", "401 Unauthorized"),
        // What only the header X-Go-Pprof makes pprof show.
        ("?seconds=0", TOKEN, "parameter `seconds` is `0`: allowed is a whole number from 1 to 300"),
    ] {
        let refused = pprof(folder.path(), &["-top", &url(token, rest)]);
        assert!(!refused.status.success(), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(why), "{said}");
    }

    // What pprof makes of the difference of two files is what ours says.
    drop(kept.1);
    let more = open_sessions_that_nobody_closes();
    let begun = std::time::Instant::now();
    let later = loop {
        match profiler.snapshot() {
            Ok(later) => break later.id,
            Err(error) => assert!(begun.elapsed().as_secs() < 30, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let (base, later) = (Selector::Id(taken.id), Selector::Id(later));
    let later_bytes = profiler.heap_prof(later).unwrap();
    let later_file = save("later.prof", &later_bytes);
    let diff_bytes = profiler.diff_heap_prof(base, later).unwrap();
    let diff_file = save("diff.prof", &diff_bytes);
    let ours = check_sums(&stdout(pprof(folder.path(), &["-raw", &diff_file])), &diff_bytes);
    let theirs = raw_sums(&stdout(pprof(folder.path(), &["-raw", "-diff_base", file, &later_file])));
    assert_eq!(theirs, ours, "to the byte");
    let leaked = (SESSIONS * SESSION) as i64;
    assert!((leaked - 2 * PAGE as i64..leaked + leaked / 20).contains(&ours[3]), "{ours:?}");
    let table = stdout(pprof(folder.path(), &["-top", "-nodefraction=0", "-unit=B", &diff_file]));
    check_table(&table);
    let page = table.lines().find(|row| row.contains("live_go_pprof::render_a_page")).expect("what shrank is in it");
    let shrank: i64 =
        page.split_whitespace().next().and_then(|bytes| bytes.strip_suffix('B')?.parse().ok()).expect(page);
    assert!((PAGE as i64..PAGE as i64 + 100).contains(&-shrank), "{page}");

    black_box((kept.0, more));
    profiler.shutdown();
}

/// Half a byte for each of some thousand samples.
const ROUNDED: f64 = 2000.0;

/// pprof draws with graphviz, where that is installed.
#[track_caller]
fn check_picture(folder: &Path, file: &str) {
    if Command::new("dot").arg("-V").output().is_err() {
        eprintln!("no picture: graphviz is not installed");
        return;
    }
    let svg = stdout(pprof(folder, &["-svg", file]));
    assert!(svg.contains("</svg>") && svg.contains("open_sessions_that_nobody_closes"), "{svg}");
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
fn check_sums(raw: &str, gzipped: &[u8]) -> [i64; 4] {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes).unwrap();
    let profile = protos::Profile::decode(&bytes[..]).unwrap();
    let ours: [i64; 4] = std::array::from_fn(|index| profile.sample.iter().map(|sample| sample.value[index]).sum());
    assert_eq!(raw_sums(raw), ours);
    ours
}

/// The sums of a profile that pprof printed.
#[track_caller]
fn raw_sums(raw: &str) -> [i64; 4] {
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
    theirs
}
