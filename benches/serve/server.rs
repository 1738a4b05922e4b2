//! The server: a process that answers with a page of orders.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use heapward::{ByteSize, Profiler};
use serde::{Deserialize, Serialize};

use crate::common::{Result, tell};
use crate::cpu_time::cpu_time;

/// What a server prints when it is there.
#[derive(Debug, Serialize, Deserialize)]
struct Began {
    address: SocketAddr,
    heapward: Option<SocketAddr>,
}

/// What it prints at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    pub cpu: Duration,
    pub samples: u64,
    pub snapshots: u64,
    pub unwinder: Option<String>,
}

/// A running server.
pub struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
    pub heapward: Option<SocketAddr>,
}

impl Server {
    pub fn start(mut command: Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Began { address, heapward } =
            serde_json::from_str(&line).map_err(|error| format!("a server printed `{line}`: {error}"))?;
        Ok(Self { process, output, address, heapward })
    }

    /// Closes its input, which ends it.
    pub fn end(mut self) -> Result<Ended> {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        let status = self.process.wait()?;
        if !status.success() {
            return Err(format!("a server ended with {status}").into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// One process.
pub fn child(arguments: &[String]) -> Result<()> {
    let [variant, workers] = arguments else { return Err("variant, workers".into()) };
    let builder = Profiler::builder().listen("127.0.0.1:0");
    let profiler = match variant.as_str() {
        "off" | "asleep" => None,
        "on" => Some(builder.start()?),
        _ => {
            let often = Duration::from_millis(250);
            let builder = builder.rss_threshold(ByteSize::bytes(1)).poll_interval(often).min_interval(often / 2);
            Some(builder.start()?)
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers.parse()?).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    tell(&Began { address: listener.local_addr()?, heapward: profiler.as_ref().and_then(Profiler::address) })?;
    std::io::stdout().flush()?;
    let routes = Router::new().route("/orders/{page}", get(orders));
    runtime.spawn(async { axum::serve(listener, routes).await });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;

    let mut ended = Ended { cpu: cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID), ..Ended::default() };
    if let Some(profiler) = &profiler {
        let address = profiler.address().ok_or("heapward does not listen")?;
        let report: serde_json::Value = serde_json::from_slice(&crate::http::get(address, "/api/memory")?)?;
        ended.samples = report["collector"]["samples"].as_u64().unwrap_or(0);
        ended.snapshots = report["snapshots"]["rss_above_threshold"].as_u64().unwrap_or(0);
        ended.unwinder = report["unwinder"]["name"].as_str().map(str::to_owned);
    }
    tell(&ended)?;
    runtime.shutdown_background();
    Ok(())
}

/// One order of a customer.
#[derive(Serialize)]
struct Order {
    id: String,
    customer: String,
    note: Option<String>,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    article: String,
    count: u64,
    price: f64,
}

/// A page of some dozen orders, made anew for each request.
async fn orders(Path(page): Path<u64>) -> impl IntoResponse {
    let orders: Vec<Order> = (0..36).map(|at| order(page * 36 + at)).collect();
    let body = serde_json::to_vec(&orders).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], body)
}

fn order(number: u64) -> Order {
    let line = |at: u64| Line {
        article: format!("article {}-{at}", number % 977),
        count: 1 + number % 5,
        price: (number % 1000) as f64 / 100.0,
    };
    Order {
        id: format!("{number:08x}"),
        customer: format!("customer {}", number % 4096),
        note: (number.is_multiple_of(4)).then(|| "please ring twice ".repeat(1 + (number % 16) as usize)),
        lines: (0..1 + number % 5).map(line).collect(),
    }
}
