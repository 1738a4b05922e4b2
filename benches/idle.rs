//! What heapward takes in a service that does nothing: CPU time of its threads, and memory.
//!
//! ```text
//! cargo bench --bench idle              the table
//! cargo bench --bench idle -- --json    a line of JSON for each row
//! cargo bench --bench idle -- --quick   shorter
//! ```
//!
//! Every row is a process of its own that sleeps, with heapward as it starts by default, after it made as many objects as are
//! to be in the live set: each sampled, none written to. Beside each stands a process with the same objects and without
//! heapward, with jemalloc's profiler off; the row is what there is more. `cargo test --benches` sleeps for a second.

#[path = "common/bar.rs"]
mod bar;
#[path = "common/chain.rs"]
mod chain;
mod common;
#[path = "common/cpu_time.rs"]
mod cpu_time;
#[path = "common/http.rs"]
mod http;
#[path = "idle/memory.rs"]
mod memory;
#[path = "common/outcome.rs"]
mod outcome;

use std::cmp::Ordering::Less;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bar::Bar;
use chain::call;
use common::{Call, Column, Effort, Report, Result, command, median, tell};
use cpu_time::cpu_time;
use heapward::Profiler;
use memory::Resident;
use outcome::outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

heapward::install!("lg_prof_sample:12");

const BAR_MIB: f64 = 6.0;
const BAR_PERCENT: f64 = 0.1;

const LIVE: [u32; 4] = [0, 1_000, 10_000, 100_000];
/// The objects are from so many stacks at most.
const STACKS: u32 = 4_096;
/// So large that each is sampled.
const LARGE: usize = 64 << 10;
/// From the start of a process until its CPU time counts.
const SETTLE: Duration = Duration::from_secs(3);

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("live samples", "/parameters/live_samples", 1.0, 0),
    Column("stacks", "/parameters/stacks", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("cpu s/hour", "/median", 1.0, 3),
    Column("% of a core", "/percent_of_a_core", 1.0, 4),
    Column("MiB", "/rss_bytes", MIB, 2),
    Column("program", "/program_bytes", MIB, 2),
    Column("libraries", "/libraries_bytes", MIB, 2),
    Column("anonymous", "/anonymous_bytes", MIB, 2),
    Column("other", "/other_bytes", MIB, 2),
    Column("tables", "/tables_bytes", MIB, 2),
    Column("pss", "/pss_bytes", MIB, 2),
];
const MIB: f64 = (1u64 << 20) as f64;

/// What runs in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    /// jemalloc with `prof:false`.
    Bare,
    /// jemalloc's profiler, which nobody reads.
    Jemalloc,
    Heapward,
}

impl Variant {
    const ALL: [Self; 3] = [Self::Bare, Self::Jemalloc, Self::Heapward];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "without",
            Self::Jemalloc => "jemalloc's profiler alone",
            Self::Heapward => "heapward",
        }
    }
}

/// What a process was seen to take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Idle {
    cpu_per_second: f64,
    resident: Resident,
    tables: u64,
}

fn main() -> Result<()> {
    let mut report = match Call::read("idle", COLUMNS) {
        Call::Child(arguments) => return child(&arguments),
        Call::Bench(report) => report,
    };
    let (live, rounds, seconds) = match report.effort {
        Effort::Test => (&LIVE[..1], 1, "1"),
        Effort::Quick => (&LIVE[..], 1, "5"),
        Effort::Full => (&LIVE[..], 7, "20"),
    };
    let mut rows: BTreeMap<(Variant, u32), Vec<Idle>> = BTreeMap::new();
    for _ in 0..rounds {
        // All at once: they do nothing.
        let round = std::thread::scope(|scope| {
            let start = |variant: Variant, live: u32| {
                scope.spawn(move || {
                    let mut child = command(&[variant.name(), &live.to_string(), seconds])?;
                    let conf = match variant {
                        Variant::Bare => "prof:false",
                        Variant::Jemalloc => "prof:true,prof_active:true",
                        Variant::Heapward => "prof:true,prof_active:false",
                    };
                    child.env("MALLOC_CONF", conf).env("_RJEM_MALLOC_CONF", conf);
                    let told = outcome::<Idle>(child)?.first().copied().ok_or("a child told nothing")?;
                    Ok(((variant, live), told))
                })
            };
            let all = Variant::ALL.into_iter().flat_map(|variant| live.iter().map(move |&live| (variant, live)));
            let threads: Vec<_> = all.map(|(variant, live)| start(variant, live)).collect();
            let end = |thread: std::thread::ScopedJoinHandle<'_, Result<_>>| thread.join().map_err(|_| "panicked")?;
            threads.into_iter().map(end).collect::<Result<Vec<_>>>()
        })?;
        for (row, idle) in round {
            rows.entry(row).or_default().push(idle);
        }
    }
    print(&mut report, &rows);
    report.end(
        "\
cpu            of the whole process: what its one thread of the program does, which is to sleep, is next to nothing
MiB            RSS more than without; program, libraries, anonymous and other are its parts, by mapping
tables         of that, what heapward says that its own tables take
pss            as MiB, with what several processes share divided among them",
    );
    Ok(())
}

fn print(report: &mut Report, rows: &BTreeMap<(Variant, u32), Vec<Idle>>) {
    for (&(variant, live), runs) in rows {
        let bare = &rows[&(Variant::Bare, live)];
        let more = |figure: fn(&Idle) -> f64| match variant {
            Variant::Bare => median(runs.iter().map(figure)),
            _ => median(runs.iter().zip(bare).map(|(run, bare)| figure(run) - figure(bare))),
        };
        let cpu = more(|run| run.cpu_per_second);
        let fields: Value = json!({
            "percent_of_a_core": cpu * 100.0,
            "rss_bytes": more(|run| run.resident.rss as f64),
            "pss_bytes": more(|run| run.resident.pss as f64),
            "program_bytes": more(|run| run.resident.program as f64),
            "libraries_bytes": more(|run| run.resident.libraries as f64),
            "anonymous_bytes": more(|run| run.resident.anonymous as f64),
            "other_bytes": more(|run| run.resident.other as f64),
            "tables_bytes": median(runs.iter().map(|run| run.tables)),
        });
        let parameters = json!({ "live_samples": live, "stacks": live.min(STACKS) });
        report.row(variant.name(), parameters, "cpu s/hour", cpu * 3600.0, runs.len(), fields.clone());
        if variant == Variant::Heapward && live == 0 {
            let rss = fields["rss_bytes"].as_f64().unwrap_or(f64::NAN) / MIB;
            Bar(Less, BAR_MIB).print(report, "the sidecar when idle, MiB", Ok(rss), json!({}));
            Bar(Less, BAR_PERCENT).print(report, "the sidecar when idle, % of a core", Ok(cpu * 100.0), json!({}));
        }
    }
}

fn child(arguments: &[String]) -> Result<()> {
    let [variant, live, seconds] = arguments else { return Err("variant, live samples, seconds".into()) };
    let begun = Instant::now();
    let (live, seconds): (u32, f64) = (live.parse()?, seconds.parse()?);
    let profiler = match variant == Variant::Heapward.name() {
        true => Some(Profiler::builder().listen("127.0.0.1:0").start()?),
        false => None,
    };
    let stacks = live.clamp(1, STACKS);
    // On a thread that ends, as the threads of a service's start do.
    let make =
        move || (0..live).map(|at| call(at % stacks, &mut || Vec::<u8>::with_capacity(LARGE))).collect::<Vec<_>>();
    let kept = std::thread::spawn(make).join().map_err(|_| "the maker of the objects panicked")?;

    std::thread::sleep(SETTLE.saturating_sub(begun.elapsed()));
    let (before, clock) = (cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID), Instant::now());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let cpu_per_second =
        (cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID) - before).as_secs_f64() / clock.elapsed().as_secs_f64();
    let mut idle = Idle { cpu_per_second, resident: Resident::read()?, tables: 0 };
    if let Some(address) = profiler.as_ref().and_then(Profiler::address) {
        let report: Value = serde_json::from_slice(&http::get(address, "/api/memory")?)?;
        let number = |field: &str| report["collector"][field].as_u64().unwrap_or(0);
        idle.tables = number("tables_bytes");
        // Each has a chance of e^-16 not to be sampled. A bar is not met by holding less.
        if number("live_samples") + 2 < u64::from(live) {
            return Err(format!("{} live samples of {live}", number("live_samples")).into());
        }
    }
    drop(kept);
    tell(&idle)
}
