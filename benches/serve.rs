//! What profiling costs a service: requests per second and latencies of an HTTP server on tokio, under a bounded load.
//!
//! ```text
//! cargo bench --bench serve              the table
//! cargo bench --bench serve -- --json    a line of JSON for each row
//! cargo bench --bench serve -- --quick   fewer runs
//! ```
//!
//! Every run is a server process of its own, and the variants take turns. The clients are threads of this process, each with
//! one connection, which ask again as soon as they are answered; so the machine is busy, and what heapward takes is missing in
//! requests. Beside that stand the server's CPU time and, where there is a valgrind, instructions per request, which do not
//! change with what else the machine does. `cargo test --benches` asks a few times.

#[path = "common/bar.rs"]
mod bar;
#[path = "common/callgrind.rs"]
mod callgrind;
mod common;
#[path = "common/cpu_time.rs"]
mod cpu_time;
#[path = "common/histogram.rs"]
mod histogram;
#[path = "common/http.rs"]
mod http;
#[path = "serve/load.rs"]
mod load;
#[path = "serve/server.rs"]
mod server;

use std::cmp::Ordering::Greater;
use std::process::Command;

use bar::Bar;
use common::{Call, Column, Effort, Report, Result, command, median};
use load::{Load, Loaded};
use serde_json::json;
use server::Server;

heapward::install!();

const BAR: f64 = 0.99;
/// Of clients.
const CONNECTIONS: usize = 8;
/// Of the server's runtime.
const WORKERS: usize = 2;
const INTERVAL_KIB: u32 = 512;

const COLUMNS: &[Column] = &[
    Column("profiler", "/variant", 1.0, 0),
    Column("runs", "/runs", 1.0, 0),
    Column("requests/s", "/median", 1.0, 0),
    Column("of off", "/throughput_of_off", 1.0, 4),
    Column("p50 us", "/p50_us", 1.0, 0),
    Column("p99 us", "/p99_us", 1.0, 0),
    Column("max ms", "/max_ms", 1.0, 1),
    Column("cpu us/request", "/cpu_us_per_request", 1.0, 2),
    Column("instr./request", "/instructions_per_request", 1.0, 0),
    Column("samples", "/samples", 1.0, 0),
    Column("snapshots", "/snapshots", 1.0, 0),
    Column("scrapes", "/scrapes", 1.0, 0),
];

/// What the server has beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// jemalloc with `prof:false`.
    Off,
    /// jemalloc as `install!` sets it up, and nobody wakes it.
    Asleep,
    On,
    /// A snapshot and a scrape of the metrics every 250 ms, and of the profile every second.
    Scraped,
}

impl Variant {
    const ALL: [Self; 4] = [Self::Off, Self::Asleep, Self::On, Self::Scraped];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Asleep => "asleep",
            Self::On => "on",
            Self::Scraped => "on, with snapshots and scrapes",
        }
    }

    fn command(self) -> Result<Command> {
        let mut child = command(&[self.name(), &WORKERS.to_string()])?;
        let conf = match self {
            Self::Off => "prof:false".to_owned(),
            _ => format!("prof:true,prof_active:false,lg_prof_sample:{}", (INTERVAL_KIB << 10).ilog2()),
        };
        child.env("MALLOC_CONF", &conf).env("_RJEM_MALLOC_CONF", &conf);
        Ok(child)
    }
}

fn main() -> Result<()> {
    let mut report = match Call::read("serve", COLUMNS) {
        Call::Child(arguments) => return server::child(&arguments),
        Call::Bench(report) => report,
    };
    let (rounds, requests) = match report.effort {
        Effort::Test => (1, 500),
        Effort::Quick => (3, 20_000),
        Effort::Full => (15, 40_000),
    };
    let load = Load { connections: CONNECTIONS, requests, scrapes: false };
    let mut rows: [Vec<Loaded>; 4] = Default::default();
    for _ in 0..rounds {
        for (variant, row) in Variant::ALL.into_iter().zip(&mut rows) {
            let server = Server::start(variant.command()?)?;
            let load = Load { scrapes: variant == Variant::Scraped, ..load };
            // Not measured: connections, threads and caches come to be.
            Load { requests: requests / 10, scrapes: false, ..load }.run(&server)?;
            row.push(load.run(&server)?.with(server.end()?));
        }
    }
    let count = report.effort != Effort::Test && callgrind::is_there();
    let mut counted = [None; 4];
    // Not of scrapes, which are by the clock, and the clock is slow then.
    for (variant, counted) in
        Variant::ALL.into_iter().zip(&mut counted).filter(|(variant, _)| *variant != Variant::Scraped)
    {
        *counted = if count { Some(instructions(variant)?) } else { None };
    }
    print(&mut report, &rows, counted);
    report.end(
        "\
requests/s, p50, p99, max   of all connections together; medians of the runs, but for max
asleep                      jemalloc with prof:true,prof_active:false, and no heapward
of off                      requests/s beside those of off in the same round
cpu, instr.                 of the server alone",
    );
    Ok(())
}

/// Per request: what more requests take in addition.
fn instructions(variant: Variant) -> Result<f64> {
    const FEW: usize = 400;
    const MANY: usize = 2_400;
    let count = |requests| -> Result<f64> {
        let log = tempfile::NamedTempFile::new()?;
        let server = Server::start(callgrind::under_callgrind(&variant.command()?, false, log.path()))?;
        Load { connections: CONNECTIONS, requests, scrapes: false }.run(&server)?;
        server.end()?;
        Ok(callgrind::collected(log.path())? as f64)
    };
    Ok((count(MANY)? - count(FEW)?) / (MANY - FEW) as f64)
}

fn print(report: &mut Report, rows: &[Vec<Loaded>; 4], instructions: [Option<f64>; 4]) {
    let beside_off = |row: &[Loaded], figure: fn(&Loaded) -> f64| -> Vec<f64> {
        row.iter().zip(&rows[0]).map(|(on, off)| figure(on) / figure(off)).collect()
    };
    for ((variant, row), instructions) in Variant::ALL.into_iter().zip(rows).zip(instructions) {
        let of = |figure: fn(&Loaded) -> f64| median(row.iter().map(figure));
        let more = json!({
            "throughput_of_off": median(beside_off(row, Loaded::per_second).into_iter()),
            "p50_us": of(|run| run.latencies.p50 as f64 / 1e3),
            "p99_us": of(|run| run.latencies.p99 as f64 / 1e3),
            "max_ms": row.iter().map(|run| run.latencies.max as f64 / 1e6).fold(0.0, f64::max),
            "cpu_us_per_request": of(Loaded::cpu_micros),
            "instructions_per_request": instructions,
            "samples": of(|run| run.ended.samples as f64),
            "snapshots": of(|run| run.ended.snapshots as f64),
            "scrapes": of(|run| run.scrapes as f64),
            "unwinder": row.last().and_then(|run| run.ended.unwinder.clone()),
        });
        let interval = matches!(variant, Variant::On | Variant::Scraped).then_some(INTERVAL_KIB);
        let parameters = json!({ "interval_kib": interval, "connections": CONNECTIONS, "workers": WORKERS });
        report.row(variant.name(), parameters, "requests/s", of(Loaded::per_second), row.len(), more);
    }
    let on = &rows[2];
    let all = beside_off(on, Loaded::per_second);
    let beside = json!({
        "least": all.iter().copied().fold(f64::INFINITY, f64::min),
        "most": all.iter().copied().fold(0.0, f64::max),
        "off_by_cpu_time": 1.0 / median(beside_off(on, Loaded::cpu_micros).into_iter()),
        "off_by_instructions": instructions[0].zip(instructions[2]).map(|(off, on)| off / on),
    });
    let name = format!("requests per second with the profiler on at {INTERVAL_KIB} KiB, beside off");
    Bar(Greater, BAR).print(report, &name, Ok(median(all.into_iter())), beside);
}
