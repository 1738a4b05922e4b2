//! What profiling costs a program that allocates: heapward with each unwinder, jemalloc's profiler as it is shipped, and dhat.
//!
//! ```text
//! cargo bench --bench overhead              the table
//! cargo bench --bench overhead -- --json    a line of JSON for each row
//! cargo bench --bench overhead -- --quick   fewer runs, at 45 frames
//! cargo bench --bench overhead -- --only 'off,jemalloc (libgcc),heapward (frame_pointers)'
//! ```
//!
//! With frame pointers, for the unwinder that follows them:
//!
//! ```text
//! RUSTFLAGS="-C force-frame-pointers=yes" CFLAGS=-fno-omit-frame-pointer \
//!     cargo bench --target-dir target/frame_pointers --bench overhead
//! ```
//!
//! Every run is a process of its own, and all variants take turns. Beside the times stand instructions, which valgrind counts
//! where there is one: they do not change with what else the machine does. `cargo test --benches` runs a little of it once.

#[path = "common/bar.rs"]
mod bar;
#[path = "common/callgrind.rs"]
mod callgrind;
mod common;
#[path = "common/cpu_time.rs"]
mod cpu_time;
#[path = "overhead/hooks.rs"]
mod hooks;
#[path = "common/http.rs"]
mod http;
#[path = "overhead/measured.rs"]
mod measured;
#[path = "common/outcome.rs"]
mod outcome;
#[path = "overhead/variant.rs"]
mod variant;
#[path = "overhead/workload.rs"]
mod workload;

use std::cmp::Ordering::{Greater, Less};
use std::collections::BTreeMap;

use bar::Bar;
use common::{Call, Column, Effort, Report, Result, tell};
use measured::{Case, Measured, Ratio};
use outcome::outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use variant::{DEFAULT, Told, UNWINDERS, Variant};
use workload::{Global, Took};

heapward::install!();

/// Base 2 logarithms of 512, 64 and 16 KiB.
const INTERVALS: [u32; 3] = [19, 16, 14];
const FRAMES: [u32; 3] = [20, 45, BAR_FRAMES + 30];
const THREADS: [usize; 2] = [1, 2];

/// Of the bars.
const BAR_FRAMES: u32 = 45;
const BAR_DEFAULT: f64 = 0.2;
const BAR_FRAME_POINTERS: f64 = 0.1;
const BAR_NO_UNWINDING: f64 = 2.0;
const BAR_THREADS: f64 = 0.85;

const COLUMNS: &[Column] = &[
    Column("who", "/variant", 1.0, 0),
    Column("KiB", "/parameters/interval_kib", 1.0, 0),
    Column("frames", "/parameters/frames", 1.0, 0),
    Column("threads", "/parameters/threads", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("ns", "/median", 1.0, 2),
    Column("% of off", "/throughput_percent", 1.0, 1),
    Column("ns/sample", "/extra_ns_per_sample", 1.0, 0),
    Column("cpu ns", "/cpu_ns", 1.0, 2),
    Column("instr.", "/instructions", 1.0, 1),
    Column("instr./sample", "/extra_instructions_per_sample", 1.0, 0),
    Column("frames seen", "/frames_seen", 1.0, 1),
    Column("", "/not_available", 1.0, 0),
];

fn main() -> Result<()> {
    let mut report = match Call::read("overhead", COLUMNS) {
        Call::Child(arguments) => return child(&arguments),
        Call::Bench(report) => report,
    };
    let base = outcome::<usize>(Variant::Asleep.command(12, &["calibrate"])?)?.first().copied().unwrap_or(0);
    let (available, default) = unwinders()?;
    let mut cases = cases(report.effort, &available);
    if let Some(only) = std::env::args().skip_while(|argument| argument != "--only").nth(1) {
        let only = only.split(',').map(Variant::find).collect::<Result<Vec<_>>>()?;
        cases.retain(|case| only.contains(&case.variant));
    }

    let rounds = match report.effort {
        Effort::Test => 1,
        Effort::Quick => 3,
        Effort::Full => 7,
    };
    let mut measured = Measured::default();
    for _ in 0..rounds {
        for case in &cases {
            measured.add(*case, run(*case, base, report.effort)?);
        }
    }
    if report.effort != Effort::Test && callgrind::is_there() {
        for case in cases.iter().filter(|case| case.threads == 1 && (case.frames == BAR_FRAMES)) {
            measured.count(*case, instructions(*case, base)?);
        }
    }
    for case in &cases {
        measured.print(&mut report, *case);
    }
    for (unwinder, why) in available.iter().filter_map(|(unwinder, why)| Some((unwinder, why.as_ref()?))) {
        let variant = Variant::Heapward(unwinder).name();
        report.add(json!({ "variant": variant, "not_available": format!("not available: {why}") }));
    }
    bars(&mut report, &measured, &available, &default);
    report.end(
        "\
ns             per allocation and free, of a thread, in the median; off: jemalloc with prof:false; asleep: jemalloc with
               prof:true,prof_active:false
% of off       throughput, beside that of off in the same round
ns/sample      what a sample adds: (ns - ns of off in the same round) / the chance that an allocation is sampled
cpu ns         the same as ns, in the thread's CPU time
instr.         per allocation and free, counted by valgrind in a run of its own
frames seen    of a stack in heapward's table; frames are those that jemalloc's own unwinder sees
one frame      a backtrace hook that returns one frame at once",
    );
    Ok(())
}

/// Each unwinder, with the reason why it is not in use where it was asked for; and the one that is when none is asked for.
fn unwinders() -> Result<(BTreeMap<&'static str, Option<String>>, String)> {
    let probe = |unwinder: &'static str| -> Result<Told> {
        let told: Vec<Told> = outcome(Variant::Heapward(unwinder).command(19, &["probe"])?)?;
        told.into_iter().next().ok_or_else(|| "heapward tells nothing".into())
    };
    let mut available = BTreeMap::new();
    for unwinder in UNWINDERS {
        let told = probe(unwinder)?;
        available.insert(unwinder, (told.unwinder != unwinder).then_some(told.why));
    }
    Ok((available, probe(DEFAULT)?.unwinder))
}

fn cases(effort: Effort, available: &BTreeMap<&str, Option<String>>) -> Vec<Case> {
    let (intervals, frames) = match effort {
        Effort::Test => (&INTERVALS[1..2], &FRAMES[1..2]),
        Effort::Quick => (&INTERVALS[..], &FRAMES[1..2]),
        Effort::Full => (&INTERVALS[..], &FRAMES[..]),
    };
    let is_available =
        |variant: &Variant| !matches!(variant, Variant::Heapward(unwinder) if available[unwinder].is_some());
    let mut cases = Vec::new();
    for &threads in &THREADS {
        for &frames in frames {
            for variant in Variant::all().filter(is_available) {
                // Others do the same however deep the stack is.
                if variant.samples() && !variant.unwinds() && frames != BAR_FRAMES {
                    continue;
                }
                let intervals = if variant.samples() { intervals } else { &INTERVALS[..1] };
                cases.extend(intervals.iter().map(|&lg| Case { variant, lg, frames, threads }));
            }
        }
    }
    cases
}

/// What a child prints.
#[derive(Debug, Serialize, Deserialize)]
struct Ran {
    threads: Vec<Took>,
    told: Option<Told>,
}

fn run(case: Case, base: usize, effort: Effort) -> Result<measured::Run> {
    // So many that a run takes some tenths of a second.
    let allocations = match (case.variant, case.lg) {
        (Variant::Dhat, _) => 100_000,
        (_, 19) => 16_000_000,
        (_, 16) => 6_000_000,
        _ => 3_000_000,
    };
    let allocations = if effort == Effort::Test { allocations / 20 } else { allocations };
    let ran: Vec<Ran> = outcome(case.command(base, allocations)?)?;
    let ran = ran.into_iter().next().ok_or("a child told nothing")?;
    measured::Run::of(case, allocations, &ran.threads, ran.told)
}

/// Per allocation, counted.
fn instructions(case: Case, base: usize) -> Result<f64> {
    let allocations = if case.variant == Variant::Dhat { 10_000 } else { 1_000_000 };
    let log = tempfile::NamedTempFile::new()?;
    let child = case.command(base, allocations)?;
    outcome::<Value>(callgrind::under_callgrind(&child, true, log.path()))?;
    Ok(callgrind::collected(log.path())? as f64 / allocations as f64)
}

fn bars(report: &mut Report, measured: &Measured, available: &BTreeMap<&'static str, Option<String>>, default: &str) {
    let case = |variant, lg, threads| Case { variant, lg, frames: BAR_FRAMES, threads };
    let intervals = |report: &Report| if report.effort == Effort::Test { &INTERVALS[1..2] } else { &INTERVALS[1..] };
    let extra = |report: &mut Report, bar: Bar, name: &str, variant: Result<Variant, String>, beside: Variant| {
        for &lg in intervals(report) {
            let ratio = variant.clone().and_then(|variant| measured.extra(case(variant, lg, 1), case(beside, lg, 1)));
            let name = format!("{name}, {BAR_FRAMES} frames, {} KiB", (1u64 << lg) >> 10);
            print(report, bar, &name, ratio);
        }
    };
    let in_use = |unwinder: &str| match available.get_key_value(unwinder) {
        Some((unwinder, None)) => Ok(Variant::Heapward(unwinder)),
        Some((_, Some(why))) => Err(why.clone()),
        None => Err(format!("the unwinder in use is {unwinder}")),
    };
    let name = format!("extra cost per sample beside libgcc, default ({default})");
    extra(report, Bar(Less, BAR_DEFAULT), &name, in_use(default), Variant::Libgcc);
    let name = "extra cost per sample beside libgcc, frame pointers";
    extra(report, Bar(Less, BAR_FRAME_POINTERS), name, in_use("frame_pointers"), Variant::Libgcc);
    let name = "sampled path without unwinding, beside one frame and no live set";
    extra(report, Bar(Less, BAR_NO_UNWINDING), name, Ok(Variant::HeapwardOneFrame), Variant::OneFrame);

    let lg = *intervals(report).last().unwrap_or(&INTERVALS[0]);
    let ratio = in_use(default).and_then(|variant| {
        let off = |threads| case(Variant::Off, INTERVALS[0], threads);
        measured.scaling([case(variant, lg, 1), case(variant, lg, 2)], [off(1), off(2)])
    });
    let name = format!(
        "throughput of each of two threads beside one, {} KiB, as a part of what it is with profiling off",
        (1u64 << lg) >> 10
    );
    print(report, Bar(Greater, BAR_THREADS), &name, ratio);
}

fn print(report: &mut Report, bar: Bar, name: &str, ratio: Result<Ratio, String>) {
    let beside = match &ratio {
        Ok(Ratio { least, most, cpu, instructions, .. }) => {
            json!({ "least": least, "most": most, "cpu_time": cpu, "instructions": instructions })
        }
        Err(_) => json!({}),
    };
    bar.print(report, name, ratio.map(|ratio| ratio.median), beside);
}

fn child(arguments: &[String]) -> Result<()> {
    let variant = Variant::find(arguments.first().map_or("", String::as_str))?;
    match &arguments[1..] {
        [what] if what == "calibrate" => {
            let depth = hooks::depth_of(|| drop(workload::run(&Global, 0, 1, 1 << 16)))?;
            tell(&depth)
        }
        [what] if what == "probe" => tell(&variant.start()?.ask()?),
        [calls, threads, allocations] => {
            let running = variant.start()?;
            let (calls, threads, allocations) = (calls.parse()?, threads.parse()?, allocations.parse()?);
            let threads = if running.is_dhat() {
                workload::run(&dhat::Alloc, calls, threads, allocations)?
            } else {
                workload::run(&Global, calls, threads, allocations)?
            };
            tell(&Ran { threads, told: running.ask()? })
        }
        _ => Err("variant, and calls, threads, allocations".into()),
    }
}
