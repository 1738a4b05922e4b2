//! What it costs to ask who leaks: the history of as many snapshots as are kept, of a heap in which every stack grows.
//!
//! ```text
//! cargo bench --bench leaks              the table
//! cargo bench --bench leaks -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own. The heap holds one object at the end of each of N call chains, with an interval of
//! one byte so that every one is sampled; between two snapshots one in fifty is allocated anew. Names are known after
//! the first run, which is printed apart. `cargo test --benches` runs the smallest heap once.

mod common;

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Cost, Result, heap, measure, median, mib, millis, set};
use heapward::{ByteSize, Profiler};

heapward::install!("lg_prof_sample:0");

const STACKS: [u32; 3] = [4_096, 32_768, 131_072];
const SNAPSHOTS: usize = 20;
const RUNS: u32 = 7;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", stacks, runs] = arguments[..] {
        return child(stacks.parse()?, runs.parse()?);
    }
    let bench = arguments.contains(&"--bench");
    let json = arguments.contains(&"--json");
    if !json {
        println!(
            "\n{:>7} {:>9} {:>12} {:>12} {:>12} {:>12}",
            "stacks", "snapshots", "first ms", "median ms", "worst MiB", "retained MiB"
        );
    }
    for &stacks in if bench { &STACKS[..] } else { &STACKS[..1] } {
        let runs = if bench { RUNS } else { 1 };
        let child = Command::new(std::env::current_exe()?)
            .args(["--child", &stacks.to_string(), &runs.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !child.status.success() {
            return Err(format!("{stacks} stacks: {}", child.status).into());
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
                "subject": "leaks", "stacks": stacks, "snapshots": SNAPSHOTS, "runs": runs,
                "time_ms_first": millis(first), "time_ms_median": millis(time), "peak_rss_bytes_worst": peak, "retained_bytes_last": retained,
            });
            println!("{row}");
        } else {
            println!(
                "{stacks:>7} {SNAPSHOTS:>9} {:>12.1} {:>12.1} {:>12.2} {:>12.2}",
                millis(first),
                millis(time),
                mib(peak),
                mib(retained)
            );
        }
    }
    Ok(())
}

fn child(stacks: u32, runs: u32) -> Result<()> {
    let profiler = Profiler::builder()
        .listen("off")
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(20))
        .min_interval(Duration::from_millis(20))
        .history(SNAPSHOTS)
        .history_bytes(ByteSize::gib(4))
        .profiles_dir("off")
        .start()?;
    let mut objects = heap(stacks)?;
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = profiler.snapshots().last().map_or(0, |snapshot| snapshot.id);
    for round in 0..SNAPSHOTS + 2 {
        set(b"thread.prof.active\0", true)?;
        for at in (round..objects.len()).step_by(50) {
            drop(std::mem::replace(&mut objects[at], Box::new([round as u8; 32])));
        }
        set(b"thread.prof.active\0", false)?;
        loop {
            let newest = profiler.snapshots().last().map_or(0, |snapshot| snapshot.id);
            if newest > last {
                last = newest;
                break;
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
        println!("{} {} {}", cost.wall.as_nanos(), cost.peak_rss, cost.retained);
    }
    drop(objects);
    profiler.shutdown();
    Ok(())
}
