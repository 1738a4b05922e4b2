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

#[path = "common/chain.rs"]
mod chain;
mod common;
#[path = "common/cost.rs"]
mod cost;
#[path = "common/heap.rs"]
mod heap;
#[path = "common/outcome.rs"]
mod outcome;

use std::time::{Duration, Instant};

use common::{Call, Column, Effort, Result, command, tell};
use cost::{Costs, MIB, measure};
use heap::{heap, set};
use heapward::{ByteSize, Profiler};
use outcome::outcome;
use serde_json::json;

heapward::install!("lg_prof_sample:0");

const STACKS: [u32; 3] = [4_096, 32_768, 131_072];
const SNAPSHOTS: usize = 20;

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("stacks", "/parameters/stacks", 1.0, 0),
    Column("snapshots", "/parameters/snapshots", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("first ms", "/time_ms_first", 1.0, 1),
    Column("median ms", "/median", 1.0, 1),
    Column("first MiB", "/peak_rss_bytes_first", MIB, 2),
    Column("worst MiB", "/peak_rss_bytes_worst", MIB, 2),
    Column("kept MiB", "/retained_bytes_first", MIB, 2),
];

fn main() -> Result<()> {
    let mut report = match Call::read("leaks", COLUMNS) {
        Call::Child(arguments) => return child(&arguments),
        Call::Bench(report) => report,
    };
    let (stacks, runs) = match report.effort {
        Effort::Test => (&STACKS[..1], 1),
        Effort::Quick => (&STACKS[..], 3),
        Effort::Full => (&STACKS[..], 7),
    };
    for &stacks in stacks {
        let costs = Costs(outcome(command(&[&stacks.to_string(), &runs.to_string()])?)?);
        if costs.0.len() != runs {
            return Err(format!("{stacks} stacks: {} runs", costs.0.len()).into());
        }
        let parameters = json!({ "stacks": stacks, "snapshots": SNAPSHOTS });
        report.row("heapward", parameters, "ms", costs.median(), runs, costs.fields());
    }
    report.end(
        "\
first      the first run of a process, which looks names up; median and worst are those of the other runs
MiB        of first and worst: VmHWM, reset before each run, less VmRSS at that moment
kept       growth of jemalloc's stats.allocated over the first run, its result still alive",
    );
    Ok(())
}

fn child(arguments: &[String]) -> Result<()> {
    let [stacks, runs] = arguments else { return Err("stacks, runs".into()) };
    let (stacks, runs): (u32, u32) = (stacks.parse()?, runs.parse()?);
    let profiler = Profiler::builder()
        .listen("off")
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(20))
        .min_interval(Duration::from_millis(20))
        .history(SNAPSHOTS)
        .history_bytes(ByteSize::gib(4))
        .profiles_dir("off")
        .start()?;
    let mut objects = heap(stacks, || Box::new([0u8; 32]))?;
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
        tell(&cost)?;
    }
    drop(objects);
    profiler.shutdown();
    Ok(())
}
