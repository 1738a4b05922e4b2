//! What a scrape of `/metrics` takes, by how many sampled objects are alive.
//!
//! The bar, at 500,000 of them: 2 ms, also for the slowest of a hundred scrapes.
//!
//! ```text
//! cargo bench --bench scrape              the table
//! cargo bench --bench scrape -- --json    a line of JSON for each row
//! cargo bench --bench scrape -- --quick   fewer scrapes
//! ```
//!
//! Every row is a process of its own, with as many live objects, each sampled and none written to, as many snapshots as the
//! ring keeps by default, and a watcher that polls every 100 ms. It is asked as a host's router asks, and over HTTP on a new
//! connection each time. `cargo test --benches` does the smallest case once.

#[path = "common/bar.rs"]
mod bar;
#[path = "common/chain.rs"]
mod chain;
mod common;
#[path = "common/http.rs"]
mod http_client;
#[path = "common/outcome.rs"]
mod outcome;

use std::cmp::Ordering::Less;
use std::time::{Duration, Instant};

use bar::Bar;
use chain::call;
use common::{Call, Column, Effort, Result, command, median, tell};
use heapward::{ByteSize, Profiler};
use http_body_util::BodyExt as _;
use outcome::outcome;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_service::Service as _;

heapward::install!("lg_prof_sample:8");

const LIVE: [u32; 3] = [1_000, 100_000, BAR_LIVE];
const BAR_LIVE: u32 = 500_000;
const BAR_TIME: Duration = Duration::from_millis(2);

/// The objects are from so many stacks at most.
const STACKS: u32 = 4_096;
/// Sampled but for one in e^64, and large enough to be no small object, which would each take a page.
const OBJECT: usize = 16 << 10;
/// As many snapshots as are kept by default, and the first.
const SNAPSHOTS: u64 = 21;

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";
const TEXT: &str = "text/plain;version=0.0.4";

const COLUMNS: &[Column] = &[
    Column("what", "/variant", 1.0, 0),
    Column("live samples", "/parameters/live_samples", 1.0, 0),
    Column("scrapes", "/runs", 1.0, 0),
    Column("median ms", "/median", 1.0, 3),
    Column("p99 ms", "/p99_ms", 1.0, 3),
    Column("worst ms", "/worst_ms", 1.0, 3),
    Column("bytes", "/bytes", 1.0, 0),
    Column("series", "/series", 1.0, 0),
];

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The whole of a request, without a connection.
    OpenMetrics,
    Text,
    /// With a new connection.
    Http,
}

impl Subject {
    const ALL: [Self; 3] = [Self::OpenMetrics, Self::Text, Self::Http];

    fn name(self) -> &'static str {
        match self {
            Self::OpenMetrics => "OpenMetrics",
            Self::Text => "text",
            Self::Http => "text over HTTP",
        }
    }
}

/// What a child prints for each subject.
#[derive(Serialize, Deserialize)]
struct Timed {
    times: Vec<Duration>,
    bytes: usize,
    series: usize,
}

impl Timed {
    fn quantile_ms(&self, share: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len());
        times[at - 1].as_secs_f64() * 1e3
    }
}

fn main() -> Result<()> {
    let mut report = match Call::read("scrape", COLUMNS) {
        Call::Child(arguments) => return child(&arguments),
        Call::Bench(report) => report,
    };
    let (live, scrapes) = match report.effort {
        Effort::Test => (&LIVE[..1], "2"),
        Effort::Quick => (&LIVE[..], "100"),
        Effort::Full => (&LIVE[..], "1000"),
    };
    for &live in live {
        let all: Vec<Timed> = outcome(command(&[&live.to_string(), scrapes])?)?;
        if all.len() != Subject::ALL.len() {
            return Err(format!("{} subjects of {}", all.len(), Subject::ALL.len()).into());
        }
        for (subject, timed) in Subject::ALL.into_iter().zip(&all) {
            let p99 = timed.quantile_ms(0.99);
            let more = json!({
                "p99_ms": p99, "worst_ms": timed.quantile_ms(1.0), "bytes": timed.bytes, "series": timed.series,
            });
            let middle = median(timed.times.iter().copied()).as_secs_f64() * 1e3;
            report.row(subject.name(), json!({ "live_samples": live }), "ms", middle, timed.times.len(), more);
            if live == BAR_LIVE {
                let bar = format!("a scrape at {live} live samples, {}, ms at p99", subject.name());
                let beside = json!({ "median": middle, "worst": timed.quantile_ms(1.0) });
                Bar(Less, BAR_TIME.as_secs_f64() * 1e3).print(&mut report, &bar, Ok(p99), beside);
            }
        }
    }
    report.end(
        "\
text, OpenMetrics  the request as a host's router hands it on, until its answer's last byte
over HTTP          from before the connection is opened until it is closed, by heapward's own server
series             samples in the answer",
    );
    Ok(())
}

/// One process: builds the heap, and times all subjects in turns on it.
fn child(arguments: &[String]) -> Result<()> {
    let [live, scrapes] = arguments else { return Err("live samples, scrapes".into()) };
    let (live, scrapes): (u32, usize) = (live.parse()?, scrapes.parse()?);
    let profiler = Profiler::builder()
        .listen("127.0.0.1:0")
        .profiles_dir("off")
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(100))
        .min_interval(Duration::from_millis(100))
        .max_live_samples(1 << 20)
        .start()?;
    let address = profiler.address().ok_or("it does not listen")?;
    // On a thread that ends, as the threads of a service's start do.
    let make = move || (0..live).map(|at| call(at % STACKS, &mut object)).collect::<Vec<_>>();
    let kept = std::thread::spawn(make).join().map_err(|_| "the maker of the objects panicked")?;
    while profiler.snapshots().last().is_none_or(|last| last.id < SNAPSHOTS) {
        std::thread::sleep(Duration::from_millis(50));
    }

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let scrape = |subject: Subject| -> Result<(Duration, Vec<u8>)> {
        let accept = if subject == Subject::OpenMetrics { OPEN_METRICS } else { TEXT };
        let request = http::Request::get("/metrics").header("accept", accept);
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new())?;
        let mut service = profiler.routes().service();
        let begun = Instant::now();
        let body = match subject {
            Subject::Http => http_client::get(address, "/metrics")?,
            _ => runtime.block_on(async {
                let Ok(response) = service.call(request).await;
                let Ok(body) = response.into_body().collect().await;
                body.to_bytes().to_vec()
            }),
        };
        Ok((begun.elapsed(), body))
    };
    let mut all = Subject::ALL.map(|_| Timed { times: Vec::new(), bytes: 0, series: 0 });
    for _ in 0..scrapes {
        for (subject, timed) in Subject::ALL.into_iter().zip(&mut all) {
            let (time, body) = scrape(subject)?;
            let body = String::from_utf8(body)?;
            let sample = |name: &str| body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            // A bar is not met by holding less.
            if sample("heapward_live_samples ").is_none_or(|found| found < u64::from(live)) {
                return Err(format!("{:?} live samples of {live}", sample("heapward_live_samples ")).into());
            }
            timed.times.push(time);
            timed.bytes = body.len();
            timed.series = body.lines().filter(|line| !line.starts_with('#')).count();
        }
    }
    all.iter().try_for_each(tell)?;
    drop(kept);
    Ok(())
}

fn object() -> Vec<u8> {
    Vec::with_capacity(OBJECT)
}
