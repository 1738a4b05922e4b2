//! What it costs to compare two snapshots with many stacks each.
//!
//! The bar, for 131,072 stacks of about 25 frames on each side whose names are known already, and that all changed: the
//! 20 first rows by stack, site or function in at most 100 ms each and 64 MiB on top of what stood before.
//!
//! ```text
//! cargo bench --bench diff              the table
//! cargo bench --bench diff -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own, with a heap as in the benchmark `snapshot`, sampled as
//! finely as it takes to have nearly every stack in both snapshots, and yet not every object. `cargo test --benches` runs the
//! smallest heap once.

#[path = "common/bar.rs"]
mod bar;
#[path = "common/chain.rs"]
mod chain;
mod common;
#[path = "common/cost.rs"]
mod cost;
#[path = "common/heap.rs"]
mod heap;
#[path = "common/outcome.rs"]
mod outcome;

use std::cmp::Ordering::Less;
use std::hint::black_box;
use std::time::Duration;

use bar::Bar;
use common::{Call, Column, Effort, Report, Result, command, tell};
use cost::{Cost, Costs, MIB, measure, millis};
use heap::{heap, set};
use heapward::{ByteSize, Grouping, Profiler, Selector};
use outcome::outcome;
use serde::{Deserialize, Serialize};
use serde_json::json;

heapward::install!("lg_prof_sample:4");

const STACKS: [u32; 3] = [4_096, 32_768, BAR_STACKS];
const BAR_STACKS: u32 = 131_072;
const BAR_TIME: Duration = Duration::from_millis(100);
const BAR_BYTES: u64 = 64 << 20;
/// Rows that are asked for.
const ROWS: usize = 20;

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("stacks", "/parameters/stacks", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("first ms", "/time_ms_first", 1.0, 1),
    Column("median ms", "/median", 1.0, 1),
    Column("first MiB", "/peak_rss_bytes_first", MIB, 2),
    Column("worst MiB", "/peak_rss_bytes_worst", MIB, 2),
    Column("kept MiB", "/retained_bytes_first", MIB, 2),
    Column("changed", "/changed", 1.0, 0),
];

fn main() -> Result<()> {
    let mut report = match Call::read("diff", COLUMNS) {
        Call::Child(arguments) => return child(&arguments),
        Call::Bench(report) => report,
    };
    let (stacks, runs) = match report.effort {
        Effort::Test => (&STACKS[..1], 1),
        Effort::Quick => (&STACKS[..], 3),
        Effort::Full => (&STACKS[..], 7),
    };
    for &stacks in stacks {
        for subject in Subject::ALL {
            row(&mut report, subject, stacks, runs)?;
        }
    }
    report.end(&format!(
        "\
first      the first run of a process, which looks names up; median and worst are those of the other runs
MiB        of first and worst: VmHWM, reset before each run by writing 5 to /proc/self/clear_refs, less VmRSS at that
           moment; free pages went back to the system before that, so none is reused unseen; the result is part of it
kept       growth of jemalloc's stats.allocated over the first run, its result still alive
changed    rows that changed, of which the first {ROWS} are made"
    ));
    Ok(())
}

/// One process.
fn row(report: &mut Report, subject: Subject, stacks: u32, runs: usize) -> Result<()> {
    let outcome: Vec<Run> = outcome(command(&[subject.name(), &stacks.to_string(), &runs.to_string()])?)?;
    if outcome.len() != runs {
        return Err(format!("{} of {stacks} stacks: {} runs", subject.name(), outcome.len()).into());
    }
    let changed = outcome[0].changed;
    let costs = Costs(outcome.into_iter().map(|run| run.cost).collect());
    let mut more = costs.fields();
    more["changed"] = changed.into();
    report.row(subject.name(), json!({ "stacks": stacks }), "ms", costs.median(), runs, more);
    if stacks == BAR_STACKS {
        let about = format!("{}, {stacks} stacks", subject.name());
        Bar(Less, millis(BAR_TIME)).print(report, &format!("{about}: ms"), Ok(costs.median()), json!({}));
        let peak = costs.worst_peak() as f64 / MIB;
        Bar(Less, BAR_BYTES as f64 / MIB).print(report, &format!("{about}: MiB on top"), Ok(peak), json!({}));
    }
    Ok(())
}

/// What a child prints for each run.
#[derive(Serialize, Deserialize)]
struct Run {
    cost: Cost,
    /// Stacks that changed, as the diff by stack counts them; rows that did in the others.
    changed: usize,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subject(Grouping);

impl Subject {
    const ALL: [Self; 3] = [Self(Grouping::Stack), Self(Grouping::Site), Self(Grouping::Function)];

    fn name(self) -> &'static str {
        match self.0 {
            Grouping::Stack => "diff by stack",
            Grouping::Site => "diff by site",
            _ => "diff by function",
        }
    }
}

/// One process: builds the heap, measures one subject on it, prints a line for each run.
fn child(arguments: &[String]) -> Result<()> {
    let [subject, stacks, runs] = arguments else { return Err("subject, stacks, runs".into()) };
    let subject = Subject::ALL.into_iter().find(|known| known.name() == subject).ok_or("no such subject")?;
    let (stacks, runs): (u32, u32) = (stacks.parse()?, runs.parse()?);
    let profiler = Profiler::builder()
        .listen("off")
        .profiles_dir("off")
        .rss_threshold(ByteSize::gib(1 << 20))
        .poll_interval(Duration::from_secs(3600))
        .max_live_samples(1 << 20)
        .start()?;
    let mut kept: Vec<Vec<Vec<Object>>> = Vec::new();
    let mut ids = Vec::new();
    // The same stacks both times: an unrolled loop would have two.
    for _ in 0..black_box(2) {
        // A part of what there was is freed, of each stack.
        kept.iter_mut().for_each(|old| old.truncate(1));
        kept.push(grow(stacks)?);
        ids.push(profiler.snapshot()?.id);
        // One a second on request.
        std::thread::sleep(Duration::from_millis(1_010));
    }
    let [base, later] = ids[..] else { return Err("two snapshots".into()) };
    let (base, later) = (Selector::Id(base), Selector::Id(later));
    for _ in 0..runs {
        let (diff, cost) = measure(|| Ok(profiler.diff(base, later, subject.0, ROWS)?))?;
        if subject.0 == Grouping::Stack && diff.changed > stacks as usize * 101 / 100 {
            return Err(format!("{} stacks instead of {stacks}", diff.changed).into());
        }
        tell(&Run { cost, changed: diff.changed })?;
    }
    drop(kept);
    Ok(())
}

type Object = Box<[u8; 32]>;

/// Two objects at each stack.
fn grow(stacks: u32) -> Result<Vec<Vec<Object>>> {
    let mut heaps = Vec::new();
    for _ in 0..black_box(2) {
        set(b"thread.prof.active\0", true)?;
        heaps.push(heap(stacks, || Box::new([0u8; 32]))?);
    }
    Ok(heaps)
}
