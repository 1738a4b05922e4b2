//! What a snapshot costs, and for how long it stops others, beside jemalloc's own dump and the crate jemalloc_pprof.
//!
//! ```text
//! cargo bench --bench snapshot              the tables
//! cargo bench --bench snapshot -- --json    a line of JSON for each row
//! cargo bench --bench snapshot -- --quick   fewer runs
//! ```
//!
//! Every row is a process of its own, so that no row's memory is another's. It has one object at the end of each of N call
//! chains, each of them sampled. Then it takes the snapshot again and again (time and memory), or one every 100 ms while two
//! threads allocate and free and each of their calls is timed (stall), or while others fork and start threads.
//! `cargo test --benches` runs the smallest heap once, to see that it still works.

#[path = "common/bar.rs"]
mod bar;
#[path = "common/chain.rs"]
mod chain;
mod common;
#[path = "common/cost.rs"]
mod cost;
#[path = "common/heap.rs"]
mod heap;
#[path = "common/histogram.rs"]
mod histogram;
#[path = "common/outcome.rs"]
mod outcome;
#[path = "snapshot/stall.rs"]
mod stall;
#[path = "snapshot/subject.rs"]
mod subject;

use std::cmp::Ordering::{Greater, Less};
use std::io::{Read, Seek};
use std::time::Duration;

use bar::Bar;
use common::{Call, Column, Effort, Report, Result, command, median, tell};
use cost::{Cost, Costs, MIB, measure, millis};
use heap::{heap, set};
use heapward::{ByteSize, Profiler, Selector};
use outcome::outcome;
use pprof::protos::Message;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stall::{Disturbed, Forked};
use subject::Subject;

heapward::install!("lg_prof_sample:0");

/// The bars, at [`BAR_STACKS`].
const BAR_TIME: Duration = Duration::from_millis(20);
const BAR_BYTES: u64 = 16 << 20;
const BAR_FASTER: f64 = 200.0;
const BAR_MEMORY: f64 = 0.05;
const BAR_STALL: Duration = Duration::from_millis(1);
/// They go on: at least this part of as many as there are without snapshots.
const BAR_FORKS: f64 = 0.5;
const BAR_STACKS: u32 = 131_072;

/// How deep the stacks are: as a small program's, and as the other bars have them.
const FRAMES: [u32; 2] = [OWN_FRAMES, 45];
/// How many sizes objects have. With one, all that is written down is small: figures of many are those of a service.
const SIZES: [u32; 2] = [1, 40];
/// Of a stack that is made no deeper.
const OWN_FRAMES: u32 = 33;
const STACKS: [u32; 3] = [4_096, 32_768, BAR_STACKS];
/// Heapward grants one snapshot a second on request.
const PAUSE: Duration = Duration::from_millis(1_010);

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("stacks", "/parameters/stacks", 1.0, 0),
    Column("frames", "/parameters/frames", 1.0, 0),
    Column("sizes", "/parameters/sizes", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("median", "/median", 1.0, 3),
    Column("unit", "/unit", 1.0, 0),
    Column("first ms", "/time_ms_first", 1.0, 3),
    Column("worst ms", "/time_ms_worst", 1.0, 3),
    Column("peak MiB", "/peak_rss_bytes_median", MIB, 2),
    Column("worst MiB", "/peak_rss_bytes_worst", MIB, 2),
    Column("kept MiB", "/retained_bytes_first", MIB, 2),
    Column("text MiB", "/dump_text_bytes", MIB, 2),
    Column("undisturbed us", "/undisturbed_p9999_us", 1.0, 2),
    Column("free p99.99 us", "/free_p9999_us", 1.0, 2),
    Column("max us", "/alloc_max_us", 1.0, 0),
    Column("spawn us", "/spawn_us", 1.0, 0),
    Column("taken", "/snapshots", 1.0, 0),
    Column("each ms", "/snapshot_ms", 1.0, 2),
];

fn main() -> Result<()> {
    let mut report = match Call::read("snapshot", COLUMNS) {
        Call::Child(arguments) => return child(&arguments),
        Call::Bench(report) => report,
    };
    let (stacks, rounds, seconds) = match report.effort {
        Effort::Test => (&STACKS[..1], 1, "0.3"),
        Effort::Quick => (&STACKS[..], 1, "1"),
        Effort::Full => (&STACKS[..], 5, "3"),
    };
    for &stacks in stacks {
        for sizes in SIZES {
            for frames in FRAMES {
                costs(&mut report, Heap { stacks, frames, sizes })?;
            }
        }
    }
    for &stacks in stacks {
        stalls(&mut report, stacks, rounds, seconds)?;
    }
    if let Some(&stacks) = stacks.last() {
        forks(&mut report, stacks, rounds, seconds)?;
    }
    report.end(
        "\
median     of ms: from asking to the answer. Of us: the 99.99th percentile of all allocations of two busy threads while one
           is taken every 100 ms, or, in the rows with a spawn, what one call of fork takes
peak       VmHWM, reset before each run by writing 5 to /proc/self/clear_refs, less VmRSS at that moment; free pages went
           back to the system before that, so none is reused unseen
undisturbed  the same percentile of those allocations during which the scheduler gave the core to no other thread
kept       growth of jemalloc's stats.allocated over the first run, its result still alive
text       the dump itself: page cache, in no RSS (jemalloc_pprof writes one as large to a file of its own)
taken      snapshots or dumps in all runs of the row, and how long each took in the median",
    );
    Ok(())
}

/// What a snapshot is taken of.
#[derive(Clone, Copy)]
struct Heap {
    stacks: u32,
    frames: u32,
    /// One: 32 bytes, each sampled. Many: pages, from 16 on, at a sample every 4 KiB, which leaves out one in millions.
    sizes: u32,
}

/// What a child that takes one after the other prints: one such line for each run.
#[derive(Serialize, Deserialize)]
struct Run {
    cost: Cost,
    /// Of a stack, in the mean, where the dump was looked at.
    frames: Option<f64>,
    /// Of heapward what the snapshot says of itself.
    own_time: Option<Duration>,
    /// Bytes of the dump, which are in no RSS but in the page cache; zero where there is none or where it is hidden.
    text: u64,
    /// Stacks in the result: those asked for, and the few of the program itself.
    found: u64,
}

/// Time and memory.
fn costs(report: &mut Report, heap: Heap) -> Result<()> {
    let Heap { stacks, frames, sizes } = heap;
    let mut all = Vec::new();
    for subject in [Subject::Heapward, Subject::Dump, Subject::JemallocPprof] {
        let count = subject.runs(report.effort, stacks);
        let numbers = [stacks, count as u32, frames, sizes].map(|number| number.to_string());
        let [stacks_text, count_text, frames_text, sizes_text] = numbers.each_ref().map(String::as_str);
        let mut child = command(&["cost", subject.name(), stacks_text, count_text, frames_text, sizes_text])?;
        if sizes > 1 {
            child.env("MALLOC_CONF", "lg_prof_sample:12").env("_RJEM_MALLOC_CONF", "lg_prof_sample:12");
        }
        let runs: Vec<Run> = outcome(child)?;
        let found = runs.iter().map(|run| run.found).max().unwrap_or(0);
        if runs.len() != count || found < u64::from(stacks) {
            return Err(format!("{} of {stacks} stacks: {found} found in {} runs", subject.name(), runs.len()).into());
        }
        if let Some(other) =
            runs.iter().filter_map(|run| run.frames).find(|seen| (seen - f64::from(frames)).abs() > 1.0)
        {
            return Err(format!("{}: stacks of {other:.1} frames, not {frames}", subject.name()).into());
        }
        let own = runs.iter().all(|run| run.own_time.is_some());
        let own = own.then(|| millis(median(runs.iter().filter_map(|run| run.own_time))));
        let text = runs.iter().map(|run| run.text).max();
        let costs = Costs(runs.into_iter().map(|run| run.cost).collect());
        let mut more = costs.fields();
        more["stacks_found"] = found.into();
        more["dump_text_bytes"] = text.filter(|&text| text > 0).into();
        more["own_time_ms_median"] = own.into();
        let (time, peak) = (costs.median(), median(costs.0.iter().map(|cost| cost.peak_rss)));
        report.row(
            subject.name(),
            json!({ "stacks": stacks, "frames": frames, "sizes": sizes }),
            "ms",
            time,
            count,
            more,
        );
        all.push((time, peak as f64, costs));
    }
    if stacks != BAR_STACKS {
        return Ok(());
    }
    let [(time, peak, costs), _, (peer_time, peer_peak, _)] = &all[..] else { return Err("three subjects".into()) };
    // Also the first one, which nothing is ready for.
    let worst = costs.0.first().map_or(*time, |first| millis(first.wall).max(*time));
    let most = costs.0.iter().map(|cost| cost.peak_rss).max().unwrap_or(0) as f64 / MIB;
    let about = format!("a snapshot of {BAR_STACKS} stacks of {frames} frames, objects of {sizes} sizes");
    Bar(Less, millis(BAR_TIME)).print(report, &format!("{about}, ms"), Ok(worst), json!({}));
    Bar(Less, BAR_BYTES as f64 / MIB).print(report, &format!("{about}, MiB on top"), Ok(most), json!({}));
    let faster = format!("{about}, times faster than dump_profile of jemalloc_pprof");
    let beside = json!({ "ms": time, "dump_profile_ms": peer_time });
    Bar(Greater, BAR_FASTER).print(report, &faster, Ok(peer_time / time), beside);
    let smaller = format!("{about}, peak memory as a part of dump_profile's");
    let beside = json!({ "mib": peak / MIB, "dump_profile_mib": peer_peak / MIB });
    Bar(Less, BAR_MEMORY).print(report, &smaller, Ok(peak / peer_peak), beside);
    Ok(())
}

/// What others wait for while snapshots are taken.
fn stalls(report: &mut Report, stacks: u32, rounds: usize, seconds: &str) -> Result<()> {
    let rows: Vec<Vec<Disturbed>> = interleaved("stall", stacks, rounds, seconds)?;
    let micros = |nanos: u64| nanos as f64 / 1e3;
    for (subject, rounds) in Subject::ALL.into_iter().zip(&rows) {
        let of = |figure: fn(&Disturbed) -> u64| micros(median(rounds.iter().map(figure)));
        let more = json!({
            "undisturbed_p9999_us": of(|round| round.undisturbed.p9999),
            "undisturbed_max_us": micros(rounds.iter().map(|round| round.undisturbed.max).max().unwrap_or(0)),
            "alloc_p50_us": of(|round| round.allocations.p50),
            "alloc_p99_us": of(|round| round.allocations.p99),
            "alloc_max_us": micros(rounds.iter().map(|round| round.allocations.max).max().unwrap_or(0)),
            "alloc_calls": rounds.iter().map(|round| round.allocations.calls).sum::<u64>(),
            "free_p9999_us": of(|round| round.frees.p9999),
            "free_max_us": micros(rounds.iter().map(|round| round.frees.max).max().unwrap_or(0)),
            "snapshots": rounds.iter().map(|round| round.snapshots).sum::<u64>(),
            "snapshot_ms": of(|round| round.snapshot_nanos) / 1e3,
        });
        let variant = format!("stall: {}", subject.name());
        let parameters = json!({ "stacks": stacks, "threads": 2, "every_ms": 100 });
        report.row(&variant, parameters, "us", of(|round| round.allocations.p9999), rounds.len(), more);
    }
    let above = |figure: fn(&Disturbed) -> u64, with: usize, without: usize| -> Vec<f64> {
        let pairs = rows[with].iter().zip(&rows[without]);
        pairs.map(|(with, without)| (figure(with) as f64 - figure(without) as f64) / 1e6).collect()
    };
    if stacks == BAR_STACKS {
        let bar = format!("stall by snapshots of {stacks} stacks every 100 ms: ms at p99.99 of two busy threads");
        let all: fn(&Disturbed) -> u64 = |round| round.allocations.p9999;
        let undisturbed: fn(&Disturbed) -> u64 = |round| round.undisturbed.p9999;
        let rounds = above(all, 1, 0);
        let beside = json!({
            "without_ms": median(rows[0].iter().map(|round| round.allocations.p9999)) as f64 / 1e6,
            "worst_round": rounds.iter().copied().fold(f64::MIN, f64::max),
            "where_no_other_thread_had_the_core": median(above(undisturbed, 1, 0).into_iter()),
            "prof.dump": median(above(all, 3, 2).into_iter()),
            "dump_profile": median(above(all, 4, 2).into_iter()),
        });
        Bar(Less, millis(BAR_STALL)).print(report, &bar, Ok(median(rounds.into_iter())), beside);
    }
    Ok(())
}

/// Whether processes and threads still start while snapshots are taken.
fn forks(report: &mut Report, stacks: u32, rounds: usize, seconds: &str) -> Result<()> {
    let rows: Vec<Vec<Forked>> = interleaved("fork", stacks, rounds, seconds)?;
    let mut all = Vec::new();
    for (subject, rounds) in Subject::ALL.into_iter().zip(&rows) {
        let of = |figure: fn(&Forked) -> u64| median(rounds.iter().map(figure)) as f64 / 1e3;
        let more = json!({
            "spawn_us": of(|round| round.spawns.p50),
            "fork_max_us": rounds.iter().map(|round| round.forks.max).max().unwrap_or(0) as f64 / 1e3,
            "spawn_max_us": rounds.iter().map(|round| round.spawns.max).max().unwrap_or(0) as f64 / 1e3,
            "forks": rounds.iter().map(|round| round.forks.calls).sum::<u64>(),
            "spawns": rounds.iter().map(|round| round.spawns.calls).sum::<u64>(),
            "snapshots": rounds.iter().map(|round| round.snapshots).sum::<u64>(),
            "snapshot_ms": of(|round| round.snapshot_nanos) / 1e3,
        });
        let variant = format!("fork and spawn: {}", subject.name());
        let fork = of(|round| round.forks.p50);
        report.row(&variant, json!({ "stacks": stacks, "every_ms": 100 }), "us", fork, rounds.len(), more);
        all.push(rounds.iter().map(|round| round.forks.calls + round.spawns.calls).sum::<u64>() as f64);
    }
    if stacks == BAR_STACKS {
        let bar = "forks and thread starts while snapshots are taken, beside those without";
        let beside = json!({ "prof.dump": all[3] / all[2], "dump_profile": all[4] / all[2] });
        Bar(Greater, BAR_FORKS).print(report, bar, Ok(all[1] / all[0]), beside);
    }
    Ok(())
}

/// All subjects in turns, a process each.
fn interleaved<T: serde::de::DeserializeOwned>(
    kind: &str,
    stacks: u32,
    rounds: usize,
    seconds: &str,
) -> Result<Vec<Vec<T>>> {
    let mut rows: Vec<Vec<T>> = Subject::ALL.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (subject, row) in Subject::ALL.into_iter().zip(&mut rows) {
            let mut child = command(&[kind, subject.name(), &stacks.to_string(), seconds])?;
            // The busy threads are sampled every eighth time: what stands before is kept by large objects.
            child.env("MALLOC_CONF", "lg_prof_sample:12").env("_RJEM_MALLOC_CONF", "lg_prof_sample:12");
            row.extend(outcome::<T>(child)?);
        }
    }
    Ok(rows)
}

fn child(arguments: &[String]) -> Result<()> {
    let [kind, subject, stacks, many, deeper @ ..] = arguments else {
        return Err("kind, subject, stacks, how many, and how many frames".into());
    };
    let subject = Subject::ALL.into_iter().find(|known| known.name() == subject).ok_or("no such subject")?;
    let stacks = stacks.parse()?;
    match kind.as_str() {
        "cost" => {
            let [frames, sizes] = deeper else { return Err("how many frames, how many sizes".into()) };
            costs_of(subject, Heap { stacks, frames: frames.parse()?, sizes: sizes.parse()? }, many.parse()?)
        }
        "stall" => tell(&stall::disturb(subject, stacks, Duration::from_secs_f64(many.parse()?))?),
        _ => tell(&stall::fork(subject, stacks, Duration::from_secs_f64(many.parse()?))?),
    }
}

/// One process: builds the heap, and measures one subject on it.
fn costs_of(subject: Subject, what: Heap, runs: u32) -> Result<()> {
    let Heap { stacks, frames, sizes } = what;
    let mut number = 0;
    let mut object = || {
        number += 1;
        // None of them is written to.
        Vec::<u8>::with_capacity(if sizes == 1 { 32 } else { (16 + number as usize % sizes as usize) << 12 })
    };
    let mut heap = |stacks| deeper(frames.saturating_sub(OWN_FRAMES), &mut || heap(stacks, &mut object));
    match subject {
        Subject::Heapward | Subject::Nothing => {
            let profiler = Profiler::builder()
                .listen("off")
                .profiles_dir("off")
                .rss_threshold(ByteSize::gib(1 << 20))
                .poll_interval(Duration::from_secs(3600))
                .history(1)
                .start()?;
            let heap = heap(stacks)?;
            let mut all = Vec::new();
            for run in 0..runs {
                if run > 0 {
                    std::thread::sleep(PAUSE);
                    // The others run one after the other. A virtual machine's host may take memory that slept for that second,
                    // and a snapshot would pay for its return; a profile reads the same tables.
                    profiler.live_heap_prof()?;
                }
                let (snapshot, cost) = measure(|| Ok(profiler.snapshot()?))?;
                all.push((snapshot.duration, cost));
            }
            let found = stacks_in(&profiler.heap_prof(Selector::Latest)?)?;
            for (own_time, cost) in all {
                tell(&Run { cost, frames: None, own_time: Some(own_time), text: 0, found })?;
            }
            drop(heap);
        }
        Subject::Dump | Subject::Jemalloc => {
            set(b"prof.active\0", true)?;
            let heap = heap(stacks)?;
            for _ in 0..runs {
                let (mut memfd, cost) = measure(subject::dump)?;
                memfd.rewind()?;
                let mut text = String::new();
                memfd.read_to_string(&mut text)?;
                let found = text.lines().filter(|line| line.starts_with('@')).count() as u64;
                let addresses =
                    text.lines().filter(|line| line.starts_with('@')).map(|line| line.matches("0x").count());
                let frames = Some(addresses.sum::<usize>() as f64 / found as f64);
                tell(&Run { cost, frames, own_time: None, text: text.len() as u64, found })?;
            }
            drop(heap);
        }
        Subject::JemallocPprof => {
            set(b"prof.active\0", true)?;
            let heap = heap(stacks)?;
            for _ in 0..runs {
                let (profile, cost) = measure(subject::dump_profile)?;
                tell(&Run { cost, frames: None, own_time: None, text: 0, found: profile.stacks.len() as u64 })?;
            }
            drop(heap);
        }
    }
    Ok(())
}

/// Does `work` with so many frames more above it.
#[inline(never)]
fn deeper<T>(frames: u32, work: &mut dyn FnMut() -> T) -> T {
    let result = if frames == 0 { work() } else { deeper(frames - 1, work) };
    std::hint::black_box(result)
}

/// How many stacks of a profile hold memory.
fn stacks_in(gzipped: &[u8]) -> Result<u64> {
    const INUSE_OBJECTS: usize = 2;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes)?;
    let profile = pprof::protos::Profile::decode(&bytes[..])?;
    Ok(profile.sample.iter().filter(|sample| sample.value[INUSE_OBJECTS] > 0).count() as u64)
}
