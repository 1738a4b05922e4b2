//! What it costs to ask who leaks: the history of as many snapshots as are kept, of a heap in which every stack changes, and
//! of one in which 256 functions leak.
//!
//! ```text
//! cargo bench --bench leaks              the table
//! cargo bench --bench leaks -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own. The heap holds one object at the end of each of N call chains, with an interval of
//! one byte so that every one is sampled; between two snapshots one in fifty is allocated anew. Where 256 functions leak, each
//! chain ends in one of them, what is allocated anew stays beside the old, and in a small heap it is more. Names are known after
//! the first run, which is printed apart; the worst is the most that RSS rose during a run. `cargo test --benches` runs the smallest heap once.

mod common;

use std::hint::black_box;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Cost, Object, Result, heap, measure, median, mib, millis, set};
use heapward::{ByteSize, Profiler};

heapward::install!("lg_prof_sample:0");

/// Stacks, and how many functions leak.
const HEAPS: [(u32, usize); 6] = [(4_096, 0), (32_768, 0), (131_072, 0), (4_096, 256), (32_768, 256), (131_072, 256)];
const SNAPSHOTS: usize = 20;
const PACE: Duration = Duration::from_millis(20);
const RUNS: u32 = 7;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", stacks, leaks, runs] = arguments[..] {
        return child(stacks.parse()?, leaks.parse()?, runs.parse()?);
    }
    let bench = arguments.contains(&"--bench");
    let json = arguments.contains(&"--json");
    if !json {
        println!(
            "\n{:>7} {:>5} {:>9} {:>12} {:>12} {:>12} {:>12}",
            "stacks", "leaks", "snapshots", "first ms", "median ms", "worst MiB", "retained MiB"
        );
    }
    for &(stacks, leaks) in HEAPS.iter().filter(|heap| bench || **heap == HEAPS[0]) {
        let runs = if bench { RUNS } else { 1 };
        let child = Command::new(std::env::current_exe()?)
            .args(["--child", &stacks.to_string(), &leaks.to_string(), &runs.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !child.status.success() {
            return Err(format!("{stacks} stacks, {leaks} leaks: {}", child.status).into());
        }
        let mut costs: Vec<Cost> = Vec::new();
        for line in child.stdout.lines() {
            let line = line?;
            let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
            let [wall, peak_rss, retained] = numbers[..] else { return Err(format!("`{line}`").into()) };
            costs.push(Cost { wall: Duration::from_nanos(wall), peak_rss, retained });
        }
        let first = costs.first().ok_or("no runs")?.wall;
        let time = median(costs.iter().map(|cost| cost.wall));
        let peak = costs.iter().map(|cost| cost.peak_rss).max().unwrap_or_default();
        let retained = costs.last().map_or(0, |cost| cost.retained);
        if json {
            let row = serde_json::json!({
                "subject": "leaks", "stacks": stacks, "leaks": leaks, "snapshots": SNAPSHOTS, "runs": runs,
                "time_ms_first": millis(first), "time_ms_median": millis(time), "peak_rss_bytes_worst": peak, "retained_bytes_last": retained,
            });
            println!("{row}");
        } else {
            println!(
                "{stacks:>7} {leaks:>5} {SNAPSHOTS:>9} {:>12.1} {:>12.1} {:>12.2} {:>12.2}",
                millis(first),
                millis(time),
                mib(peak),
                mib(retained)
            );
        }
    }
    Ok(())
}

fn child(stacks: u32, leaks: usize, runs: u32) -> Result<()> {
    let profiler = Profiler::builder()
        .listen("off")
        // Leaks have their snapshots on request, one a second: none may come after the growth has ended.
        .rss_threshold(if leaks == 0 { ByteSize::bytes(1) } else { ByteSize::gib(1 << 20) })
        .poll_interval(PACE)
        .min_interval(PACE)
        .history(SNAPSHOTS)
        .history_bytes(ByteSize::gib(4))
        .profiles_dir("off")
        .start()?;
    let mut objects = if leaks == 0 { heap(stacks)? } else { Vec::with_capacity(2 * stacks as usize) };
    (0..stacks).filter(|_| leaks > 0).for_each(|path| objects.push(leak(path)));
    // Some for each function that leaks, however small the heap; odd, so that none is passed over.
    let step = if leaks == 0 { 50 } else { ((stacks as usize / 1024) | 1).min(51) };
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = profiler.snapshots().last().map_or(0, |snapshot| snapshot.id);
    for round in 0..SNAPSHOTS + 2 {
        set(b"thread.prof.active\0", true)?;
        for at in (round..stacks as usize).step_by(step) {
            match leaks {
                0 => drop(std::mem::replace(&mut objects[at], Box::new([round as u8; 32]))),
                _ => objects.push(leak(at as u32)),
            }
        }
        set(b"thread.prof.active\0", false)?;
        loop {
            let newest = profiler.snapshots().last().map_or(0, |snapshot| snapshot.id);
            if newest > last {
                last = newest;
                break;
            }
            if leaks > 0 {
                let _ = profiler.snapshot();
            }
            if Instant::now() > deadline {
                return Err("no snapshot within 120 s".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    for _ in 0..runs {
        let (report, cost) = measure(|| Ok(profiler.leaks()?))?;
        if report.snapshots.len() < SNAPSHOTS {
            return Err(format!("{} snapshots", report.snapshots.len()).into());
        }
        if leaks > 0 && report.suspects.len() != leaks {
            return Err(format!("{} suspects, where {leaks} functions leak", report.suspects.len()).into());
        }
        println!("{} {} {}", cost.wall.as_nanos(), cost.peak_rss, cost.retained);
    }
    drop(objects);
    profiler.shutdown();
    Ok(())
}

/// Functions that allocate, sixteen a module.
macro_rules! leaking {
    ($($module:ident)*) => {
        $(mod $module { functions!(a b c d e f g h i j k l m n o p); })*
        static LEAKING: &[fn() -> Object] = &[$(
            $module::a, $module::b, $module::c, $module::d, $module::e, $module::f, $module::g, $module::h,
            $module::i, $module::j, $module::k, $module::l, $module::m, $module::n, $module::o, $module::p,
        )*];
    };
}

macro_rules! functions {
    ($($function:ident)*) => {
        $(
            #[inline(never)]
            pub fn $function() -> super::Object {
                let object = Box::new(super::black_box([0; 32]));
                // Else all of them are one to the compiler.
                super::black_box(concat!(module_path!(), stringify!($function)));
                object
            }
        )*
    };
}

leaking!(aa bb cc dd ee ff gg hh ii jj kk ll mm nn oo pp);

/// An object of the leaking function that the low bits of `path` name, by a way that the others do.
fn leak(path: u32) -> Object {
    let [low, high] = [path as usize % LEAKING.len(), path as usize / LEAKING.len()];
    descend(high as u32, WAYS, LEAKING[low])
}

/// Bits that a way to a leaking function has.
const WAYS: u32 = 9;

#[inline(always)]
fn descend(path: u32, levels: u32, leak: fn() -> Object) -> Object {
    match (levels, path & 1) {
        (0, _) => leak(),
        (_, 0) => left(path >> 1, levels - 1, leak),
        _ => right(path >> 1, levels - 1, leak),
    }
}

// As those of `common`.

#[inline(never)]
fn left(path: u32, levels: u32, leak: fn() -> Object) -> Object {
    let object = descend(path, levels, leak);
    black_box(0);
    black_box(object)
}

#[inline(never)]
fn right(path: u32, levels: u32, leak: fn() -> Object) -> Object {
    let object = descend(path, levels, leak);
    black_box(1);
    black_box(object)
}
