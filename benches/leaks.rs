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

#[path = "common/chain.rs"]
mod chain;
mod common;
#[path = "common/cost.rs"]
mod cost;
#[path = "common/heap.rs"]
mod heap;
#[path = "common/outcome.rs"]
mod outcome;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Call, Column, Effort, Result, command, tell};
use cost::{Costs, MIB, measure};
use heap::{heap, set};
use heapward::{ByteSize, Profiler};
use outcome::outcome;
use serde_json::json;

heapward::install!("lg_prof_sample:0");

/// Stacks, and how many functions leak.
const HEAPS: [(u32, usize); 6] = [(4_096, 0), (32_768, 0), (131_072, 0), (4_096, 256), (32_768, 256), (131_072, 256)];
const SNAPSHOTS: usize = 20;
const PACE: Duration = Duration::from_millis(20);

type Object = Box<[u8; 32]>;

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("stacks", "/parameters/stacks", 1.0, 0),
    Column("leaks", "/parameters/leaks", 1.0, 0),
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
    let (heaps, runs) = match report.effort {
        Effort::Test => (&HEAPS[..1], 1),
        Effort::Quick => (&HEAPS[..], 3),
        Effort::Full => (&HEAPS[..], 7),
    };
    for &(stacks, leaks) in heaps {
        let costs = Costs(outcome(command(&[&stacks.to_string(), &leaks.to_string(), &runs.to_string()])?)?);
        if costs.0.len() != runs {
            return Err(format!("{stacks} stacks, {leaks} leaks: {} runs", costs.0.len()).into());
        }
        let parameters = json!({ "stacks": stacks, "leaks": leaks, "snapshots": SNAPSHOTS });
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
    let [stacks, leaks, runs] = arguments else { return Err("stacks, leaks, runs".into()) };
    let (stacks, leaks, runs): (u32, usize, u32) = (stacks.parse()?, leaks.parse()?, runs.parse()?);
    let profiler = Profiler::builder()
        .listen("off")
        .profiles_dir("off")
        // Leaks have their snapshots on request, one a second: none may come after the growth has ended.
        .rss_threshold(if leaks == 0 { ByteSize::bytes(1) } else { ByteSize::gib(1 << 20) })
        .poll_interval(PACE)
        .min_interval(PACE)
        .history(SNAPSHOTS)
        .history_bytes(ByteSize::gib(4))
        .profiles_dir("off")
        .start()?;
    let mut objects =
        if leaks == 0 { heap(stacks, || Box::new([0u8; 32]))? } else { Vec::with_capacity(2 * stacks as usize) };
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
        tell(&cost)?;
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
