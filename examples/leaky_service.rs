//! A service with a leak, to see heapward at work.
//!
//! A small HTTP service on loopback: `/login` opens a session, and one in four is never closed, which is the leak;
//! `/page` goes through a cache that fills up and stops, which is not; both build and drop strings as they go.
//! A load generator in the same process keeps it busy.
//!
//! ```text
//! cargo run --release --example leaky_service                  until Ctrl-C, with load for the first five minutes
//! cargo run --release --example leaky_service -- --seconds 20  ends by itself
//! ```
//!
//! Every `HEAPWARD_*` variable works: `HEAPWARD_RSS_THRESHOLD=32MiB`, `HEAPWARD_LISTEN=127.0.0.1:7070`, …

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heapward::{ByteSize, Profiler, Selector};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warp::Filter;

heapward::install!();

/// Most that the load generator sends a second, over all of its connections.
const REQUESTS_A_SECOND: u64 = 2_000;
/// For how long it sends, so that a service that is left alone stops growing.
const LOAD: Duration = Duration::from_secs(300);
const CONNECTIONS: u64 = 4;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = seconds_from_arguments()?;
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).init();

    let profiler = Profiler::builder().rss_threshold(ByteSize::mib(64)).min_interval(Duration::from_secs(5)).start();
    // A profiler that cannot start must not take the service down.
    let profiler = match profiler {
        Ok(profiler) => Some(profiler),
        Err(error) => {
            eprintln!("heapward did not start: {error}");
            None
        }
    };

    let service = Arc::new(Service::default());
    let address = serve(Arc::clone(&service)).await?;
    println!("leaky service on http://{address}/  (/login, /page/NUMBER)");
    print_urls(profiler.as_ref());
    for connection in 0..CONNECTIONS {
        tokio::spawn(send_requests(address, connection));
    }

    let report = tokio::spawn(report(profiler, service));
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => tokio::signal::ctrl_c().await?,
    }
    report.abort();
    Ok(())
}

fn seconds_from_arguments() -> Result<Option<u64>, String> {
    let usage = || "usage: leaky_service [--seconds N]".to_owned();
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(None),
        (Some("--seconds"), Some(number), None) => number.parse().map(Some).map_err(|_| usage()),
        _ => Err(usage()),
    }
}

fn print_urls(profiler: Option<&Profiler>) {
    let Some(address) = profiler.and_then(Profiler::address) else { return };
    println!("open        http://{address}/");
    println!("snapshots   http://{address}/api/snapshots");
    println!("flame graph http://{address}/api/snapshots/latest/flamegraph.svg");
    println!("pprof       go tool pprof -top http://{address}/debug/pprof/heap");
    println!("            curl -O http://{address}/api/snapshots/latest/heap.prof && go tool pprof -top heap.prof\n");
}

/// Prints RSS as it grows, and every snapshot as it is taken.
async fn report(profiler: Option<Profiler>, service: Arc<Service>) {
    let mut seen = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let rss = ByteSize::bytes(rss());
        let sessions = service.sessions.session_count();
        let requests = service.requests.load(Ordering::Relaxed);
        let Some(profiler) = &profiler else {
            println!("RSS {rss}, {sessions} sessions open, {requests} requests");
            continue;
        };
        println!("RSS {rss}, {sessions} sessions open, {requests} requests; snapshot {}", profiler.last_decision());
        for snapshot in profiler.snapshots() {
            if snapshot.id <= seen {
                continue;
            }
            seen = snapshot.id;
            println!(
                "snapshot {} in {:.1} ms: {}; live heap about {}",
                snapshot.id,
                snapshot.duration.as_secs_f64() * 1000.0,
                snapshot.reason,
                ByteSize::bytes(snapshot.live_bytes as u64)
            );
            // Looks names up the first time, so not on an async thread.
            let top = tokio::task::block_in_place(|| profiler.top(Selector::Id(snapshot.id), 3));
            for site in top.unwrap_or_default() {
                let size = ByteSize::bytes(site.inuse_bytes.unsigned_abs());
                println!("  {size:>10}  {} {}:{}", site.function, site.file, site.line);
            }
        }
    }
}

fn rss() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[derive(Default)]
struct Service {
    sessions: SessionStore,
    cache: PageCache,
    requests: AtomicU64,
}

async fn serve(service: Arc<Service>) -> Result<SocketAddr, std::io::Error> {
    let with_service = warp::any().map(move || Arc::clone(&service));
    let login = warp::path!("login").and(with_service.clone()).map(|service: Arc<Service>| service.login());
    let page = warp::path!("page" / u64).and(with_service).map(|number, service: Arc<Service>| service.page(number));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(warp::serve(login.or(page)).incoming(listener).run());
    Ok(address)
}

impl Service {
    fn login(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let session = self.sessions.open_session(number);
        // The bug: one kind of login never closes its session.
        if !number.is_multiple_of(4) {
            self.sessions.close_session(session);
        }
        churn(number);
        format!("session {session}\n")
    }

    fn page(&self, number: u64) -> String {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let page = self.cache.cached_page(number);
        churn(request);
        format!("page {number}: {} bytes\n", page.len())
    }
}

/// What handling a request allocates and drops.
#[inline(never)]
fn churn(number: u64) {
    let words: Vec<String> = (0..20).map(|word| format!("word {word} of request {number}")).collect();
    black_box(words.join(" "));
}

/// Sessions by number. Those that nobody closes stay.
#[derive(Default)]
struct SessionStore {
    sessions: Mutex<HashMap<u64, Session>>,
}

struct Session {
    _user: String,
    _state: Vec<u8>,
}

impl SessionStore {
    #[inline(never)]
    fn open_session(&self, number: u64) -> u64 {
        let session = Session { _user: format!("user {number}"), _state: new_session_state() };
        self.sessions.lock().expect("no thread panics with the lock").insert(number, session);
        number
    }

    fn close_session(&self, number: u64) {
        self.sessions.lock().expect("no thread panics with the lock").remove(&number);
    }

    fn session_count(&self) -> usize {
        self.sessions.lock().expect("no thread panics with the lock").len()
    }
}

#[inline(never)]
fn new_session_state() -> Vec<u8> {
    vec![1; 16 * 1024]
}

/// The pages used last. Fills up and stops growing.
#[derive(Default)]
struct PageCache {
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    by_number: HashMap<u64, Arc<Vec<u8>>>,
    oldest_first: VecDeque<u64>,
}

impl PageCache {
    const CAPACITY: usize = 2_000;

    #[inline(never)]
    fn cached_page(&self, number: u64) -> Arc<Vec<u8>> {
        let mut pages = self.pages.lock().expect("no thread panics with the lock");
        let Pages { by_number, oldest_first } = &mut *pages;
        if let Some(page) = by_number.get(&number) {
            return Arc::clone(page);
        }
        if oldest_first.len() >= Self::CAPACITY
            && let Some(oldest) = oldest_first.pop_front()
        {
            by_number.remove(&oldest);
        }
        let page = Arc::new(render_page_for_cache(number));
        by_number.insert(number, Arc::clone(&page));
        oldest_first.push_back(number);
        page
    }
}

#[inline(never)]
fn render_page_for_cache(number: u64) -> Vec<u8> {
    vec![number as u8; 8 * 1024]
}

/// Sends requests over one connection, at its share of the rate, until the time is over.
async fn send_requests(address: SocketAddr, connection: u64) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let a_tick = REQUESTS_A_SECOND / CONNECTIONS / 100;
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let mut answer = vec![0; 4096];
    let mut number = connection;
    while begun.elapsed() < LOAD {
        ticks.tick().await;
        for _ in 0..a_tick {
            number += CONNECTIONS;
            let path = if (number / CONNECTIONS).is_multiple_of(2) {
                "/login".to_owned()
            } else {
                format!("/page/{}", number % 5_000)
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            if stream.write_all(request.as_bytes()).await.is_err() {
                return;
            }
            // Answers are short: one read gets one.
            if !matches!(stream.read(&mut answer).await, Ok(1..)) {
                return;
            }
        }
    }
}
