//! Whatever is scraped, and however often: nothing is kept between two scrapes, and no snapshot adds a label. What the whole
//! process holds after 100,000 scrapes and 1,000 snapshots is what it held after 10 of each. (Of a debug build, after 10,000:
//! they take long.)

mod common;
mod common_http;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{fail_fast, profiler, set_sampled, step, wait_until};
use common_http::Client;
use heapward::{ByteSize, Profiler};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

// Without threads' caches of freed blocks, jemalloc's count is of what is held, to the byte.
heapward::install!("tcache:false,prof_thread_active_init:false");

const FEW: u64 = 10;
const SCRAPES: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
/// Of these, as many go over HTTP.
const OVER_HTTP: u64 = 2_000;
const SNAPSHOTS: u64 = 1_000;
/// So many are kept, so that the ring is full after the first few.
const HISTORY: usize = 8;
/// The pinned highest snapshot may be one of the ring's or one beside it, and the last connection may not be closed yet.
const TOLERANCE: u64 = 32 << 10;

const FORMATS: [&str; 2] = ["text/plain", "application/openmetrics-text"];

#[test]
fn scrapes_and_snapshots_leave_nothing_behind() {
    fail_fast();
    set_sampled(false);
    let profiler = profiler()
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(10))
        .min_interval(Duration::from_millis(10))
        .history(HISTORY)
        .start()
        .unwrap();
    let mut scraper = Scraper::new(&profiler);

    step("the first few");
    wait_until("waiting for the first snapshots", || taken(&scraper.scrape(FORMATS[0])) >= FEW);
    for _ in 0..FEW {
        scraper.scrape_in_both_ways();
    }
    let series = scraper.series();
    let before = scraper.held();

    step("the other scrapes");
    for number in 0..SCRAPES - OVER_HTTP {
        scraper.scrape(FORMATS[number as usize % FORMATS.len()]);
    }
    for number in 0..OVER_HTTP {
        scraper.scrape_over_http(FORMATS[number as usize % FORMATS.len()]);
    }
    step("the other snapshots");
    wait_until("waiting for the last snapshots", || taken(&scraper.scrape(FORMATS[0])) >= SNAPSHOTS);

    let after = scraper.held();
    println!("{before:?} before, {after:?} after {} snapshots", taken(&scraper.scrape(FORMATS[0])));
    assert_eq!(after.by_thread, before.by_thread, "what the scraping thread allocated and did not free");
    assert!(
        after.by_all <= before.by_all + TOLERANCE,
        "the process holds {} B more",
        after.by_all.saturating_sub(before.by_all)
    );
    assert_eq!(scraper.series(), series, "the label sets are fixed");
    profiler.shutdown();
}

/// Bytes that are allocated and not freed, but for what the scraper itself holds at both times.
#[derive(Debug)]
struct Held {
    /// By this thread, which scrapes: exact.
    by_thread: i64,
    /// By all of the process: the watcher's snapshots and the server's connections come and go.
    by_all: u64,
}

struct Scraper {
    service: heapward::RouteService,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Scraper {
    fn new(profiler: &Profiler) -> Self {
        Self {
            service: profiler.routes().service(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            client: Client::Tcp(profiler.address().expect("it listens")),
        }
    }

    /// As a host's router calls us.
    fn scrape(&mut self, accept: &str) -> String {
        let request = http::Request::get("/metrics").header("accept", accept);
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let call = self.service.call(request);
        let body = self.runtime.block_on(async move {
            let Ok(response) = call.await;
            assert_eq!(response.status(), 200);
            let Ok(body) = response.into_body().collect().await;
            body.to_bytes()
        });
        String::from_utf8(body.into()).expect("text")
    }

    fn scrape_over_http(&self, accept: &str) -> String {
        self.client.get_with("/metrics", &[("Accept", accept)]).expect(200).text().to_owned()
    }

    fn scrape_in_both_ways(&mut self) {
        for accept in FORMATS {
            self.scrape(accept);
            self.scrape_over_http(accept);
        }
    }

    /// The samples with labels. (What is not known at every moment is absent then: of those without, the names differ.)
    fn series(&mut self) -> BTreeSet<String> {
        let text = self.scrape(FORMATS[0]);
        let samples = text.lines().filter(|line| !line.starts_with('#') && line.contains('{'));
        samples.map(|line| line.rsplit_once(' ').expect("a sample and its value").0.to_owned()).collect()
    }

    fn held(&mut self) -> Held {
        tikv_jemalloc_ctl::epoch::advance().unwrap();
        let read = |name: &[u8]| -> u64 {
            // SAFETY: both counts of a thread are 64 bits wide.
            unsafe { tikv_jemalloc_ctl::raw::read(name) }.unwrap()
        };
        let [allocated, freed] = [b"thread.allocated\0".as_slice(), b"thread.deallocated\0"].map(read);
        Held {
            by_thread: allocated.wrapping_sub(freed) as i64,
            by_all: tikv_jemalloc_ctl::stats::allocated::read().unwrap() as u64,
        }
    }
}

fn taken(metrics: &str) -> u64 {
    let counts = metrics.lines().filter(|line| line.starts_with("heapward_snapshots_total{"));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}
