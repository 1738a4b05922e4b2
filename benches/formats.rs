//! What it costs to hand a heap of many stacks out, beside the crate jemalloc_pprof on the same heap.
//!
//! The bars, for 131,072 stacks of about 25 frames whose names are known already: a `heap.prof` in at most 1.0 s and
//! 24 MiB on top of what stood before, a flame graph in at most 1.5 s.
//!
//! ```text
//! cargo bench --bench formats              the table
//! cargo bench --bench formats -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own, with a heap as in the benchmark `snapshot`. `cargo test --benches` runs the
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
use std::time::Duration;

use bar::Bar;
use common::{Call, Column, Effort, Report, Result, command, tell};
use cost::{Cost, Costs, MIB, measure, millis};
use heap::{heap, set};
use heapward::{ByteSize, Profiler, Selector};
use outcome::outcome;
use serde::{Deserialize, Serialize};
use serde_json::json;

heapward::install!("lg_prof_sample:0");

const STACKS: [u32; 3] = [4_096, 32_768, BAR_STACKS];
const BAR_STACKS: u32 = 131_072;
const BAR_BYTES: u64 = 24 << 20;

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("stacks", "/parameters/stacks", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("first ms", "/time_ms_first", 1.0, 1),
    Column("median ms", "/median", 1.0, 1),
    Column("first MiB", "/peak_rss_bytes_first", MIB, 2),
    Column("worst MiB", "/peak_rss_bytes_worst", MIB, 2),
    Column("kept MiB", "/retained_bytes_first", MIB, 2),
    Column("result MiB", "/result_bytes", MIB, 2),
];

fn main() -> Result<()> {
    let mut report = match Call::read("formats", COLUMNS) {
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
    report.end(
        "\
first      the first run of a process, which looks names up; median and worst are those of the other runs
MiB        of first and worst: VmHWM, reset before each run by writing 5 to /proc/self/clear_refs, less VmRSS at that
           moment; free pages went back to the system before that, so none is reused unseen; the result is part of it
kept       growth of jemalloc's stats.allocated over the first run, its result still alive",
    );
    Ok(())
}

/// One process.
fn row(report: &mut Report, subject: Subject, stacks: u32, runs: usize) -> Result<()> {
    let outcome: Vec<Run> = outcome(command(&[subject.name(), &stacks.to_string(), &runs.to_string()])?)?;
    if outcome.len() != runs {
        return Err(format!("{} of {stacks} stacks: {} runs", subject.name(), outcome.len()).into());
    }
    let size = outcome[0].size;
    let costs = Costs(outcome.into_iter().map(|run| run.cost).collect());
    let mut more = costs.fields();
    more["result_bytes"] = size.into();
    report.row(subject.name(), json!({ "stacks": stacks }), "ms", costs.median(), runs, more);
    if let Some((time, bytes)) = subject.bar().filter(|_| stacks == BAR_STACKS) {
        let about = format!("{}, {stacks} stacks", subject.name());
        Bar(Less, millis(time)).print(report, &format!("{about}: ms"), Ok(costs.median()), json!({}));
        if let Some(bytes) = bytes {
            let peak = costs.worst_peak() as f64 / MIB;
            Bar(Less, bytes as f64 / MIB).print(report, &format!("{about}: MiB on top"), Ok(peak), json!({}));
        }
    }
    Ok(())
}

/// What a child prints for each run.
#[derive(Serialize, Deserialize)]
struct Run {
    cost: Cost,
    /// Bytes of the result.
    size: usize,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Kept,
    Live,
    Difference,
    Flamegraph,
    Differential,
    JemallocPprof,
}

impl Subject {
    const ALL: [Self; 6] =
        [Self::Kept, Self::Live, Self::Difference, Self::Flamegraph, Self::Differential, Self::JemallocPprof];

    fn name(self) -> &'static str {
        match self {
            Self::Kept => "heapward heap.prof of a snapshot",
            Self::Live => "heapward heap.prof of the live heap",
            Self::Difference => "heapward heap.prof of a difference",
            Self::Flamegraph => "heapward flame graph of a snapshot",
            Self::Differential => "heapward flame graph of a difference",
            Self::JemallocPprof => "jemalloc_pprof dump_pprof",
        }
    }

    /// The longest that it may take, and the most memory.
    fn bar(self) -> Option<(Duration, Option<u64>)> {
        match self {
            Self::Kept | Self::Live | Self::Difference => Some((Duration::from_secs(1), Some(BAR_BYTES))),
            Self::Flamegraph | Self::Differential => Some((Duration::from_millis(1500), None)),
            Self::JemallocPprof => None,
        }
    }
}

/// One process: builds the heap, measures one subject on it, prints a line for each run.
fn child(arguments: &[String]) -> Result<()> {
    let [subject, stacks, runs] = arguments else { return Err("subject, stacks, runs".into()) };
    let subject = Subject::ALL.into_iter().find(|known| known.name() == subject).ok_or("no such subject")?;
    let (stacks, runs): (u32, u32) = (stacks.parse()?, runs.parse()?);
    let object = || Box::new([0u8; 32]);
    if subject == Subject::JemallocPprof {
        set(b"prof.active\0", true)?;
        let heap = heap(stacks, object)?;
        let control = jemalloc_pprof::PROF_CTL.as_ref().ok_or("jemalloc_pprof finds no profiler")?;
        for _ in 0..runs {
            print(measure(|| control.blocking_lock().dump_pprof().map_err(|error| error.to_string().into()))?)?;
        }
        drop(heap);
        return Ok(());
    }
    let profiler = Profiler::builder()
        .listen("off")
        .profiles_dir("off")
        .rss_threshold(ByteSize::gib(1 << 20))
        .poll_interval(Duration::from_secs(3600))
        .start()?;
    let base = profiler.snapshot()?.id;
    let heap = heap(stacks, object)?;
    // One a second on request.
    std::thread::sleep(Duration::from_millis(1_010));
    let later = profiler.snapshot()?.id;
    let (base, later) = (Selector::Id(base), Selector::Id(later));
    for _ in 0..runs {
        print(match subject {
            Subject::Kept => measure(|| Ok(profiler.heap_prof(later)?))?,
            Subject::Live => measure(|| Ok(profiler.live_heap_prof()?))?,
            Subject::Difference => measure(|| Ok(profiler.diff_heap_prof(base, later)?))?,
            Subject::Flamegraph => measure(|| Ok(profiler.heap_profile(later)?.flamegraph()?))?,
            Subject::Differential => {
                measure(|| Ok(profiler.heap_profile(later)?.flamegraph_since(&profiler.heap_profile(base)?)?))?
            }
            Subject::JemallocPprof => unreachable!("measured above"),
        })?;
    }
    drop(heap);
    Ok(())
}

fn print((result, cost): (Vec<u8>, Cost)) -> Result<()> {
    tell(&Run { cost, size: result.len() })
}
