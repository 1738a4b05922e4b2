//! The clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::Result;
use crate::histogram::{Histogram, Quantiles};
use crate::http::get;
use crate::server::{Ended, Server};

/// So many requests, by so many threads with a connection each.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub connections: usize,
    pub requests: usize,
    /// Whether heapward's endpoints are asked meanwhile.
    pub scrapes: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Loaded {
    requests: usize,
    wall: Duration,
    pub latencies: Quantiles,
    pub scrapes: u64,
    pub ended: Ended,
}

impl Load {
    pub fn run(self, server: &Server) -> Result<Loaded> {
        let done = AtomicBool::new(false);
        let each = self.requests / self.connections;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let scraper = scope.spawn(|| match server.heapward {
                Some(address) if self.scrapes => scrape(address, &done),
                _ => Ok(0),
            });
            let clients: Vec<_> =
                (0..self.connections).map(|number| scope.spawn(move || client(server.address, number, each))).collect();
            let mut latencies = Histogram::new();
            let asked: Result<()> = clients.into_iter().try_for_each(|client| {
                latencies.merge(&client.join().map_err(|_| "a client panicked")??);
                Ok(())
            });
            let wall = begun.elapsed();
            done.store(true, Relaxed);
            let scrapes = scraper.join().map_err(|_| "the scraper panicked")??;
            asked?;
            let latencies = latencies.quantiles();
            Ok(Loaded { requests: each * self.connections, wall, latencies, scrapes, ended: Ended::default() })
        })
    }
}

impl Loaded {
    /// With what the server says of itself.
    pub fn with(self, ended: Ended) -> Self {
        Self { ended, ..self }
    }

    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// Of the server for one request. All that it answered, also before the load; its start is part of it.
    pub fn cpu_micros(&self) -> f64 {
        self.ended.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }
}

/// Asks `count` times, one after the other.
fn client(address: SocketAddr, number: usize, count: usize) -> Result<Histogram> {
    let mut latencies = Histogram::new();
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::with_capacity(64 << 10, stream.try_clone()?);
    let mut requests = stream;
    let (mut line, mut body) = (String::new(), Vec::new());
    for page in 0..count {
        let request = format!("GET /orders/{} HTTP/1.1\r\nHost: {address}\r\n\r\n", number * count + page);
        let begun = Instant::now();
        requests.write_all(request.as_bytes())?;
        let mut length = None;
        for at in 0.. {
            line.clear();
            answers.read_line(&mut line)?;
            if at == 0 && !line.starts_with("HTTP/1.1 200") {
                return Err(format!("the server answered `{}`", line.trim_end()).into());
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        body.resize(length.ok_or("an answer without its length")?, 0);
        answers.read_exact(&mut body)?;
        latencies.record(begun.elapsed().as_nanos() as u64);
    }
    Ok(latencies)
}

/// Asks as a monitoring system would, but far more often; returns how often.
fn scrape(address: SocketAddr, done: &AtomicBool) -> Result<u64> {
    const EVERY: Duration = Duration::from_millis(250);
    let mut scrapes = 0;
    while !done.load(Relaxed) {
        get(address, "/metrics")?;
        if scrapes % 4 == 0 {
            get(address, "/debug/pprof/allocs")?;
        }
        scrapes += 1;
        std::thread::sleep(EVERY);
    }
    Ok(scrapes)
}
