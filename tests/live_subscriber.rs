//! A log that panics when it is written to, as one on a closed pipe does, ends neither the watcher nor the service.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use heapward::{ByteSize, Profiler};

heapward::install!();

static BROKEN: AtomicBool = AtomicBool::new(true);
static WRITES: AtomicU64 = AtomicU64::new(0);

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITES.fetch_add(1, Relaxed);
        assert!(!BROKEN.load(Relaxed), "the log is broken");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_panics_does_not_end_the_watcher() {
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("off")
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(10))
        .min_interval(Duration::from_millis(50))
        .start()
        .unwrap();
    tracing_subscriber::fmt().with_writer(|| Log).init();
    let newest = || profiler.snapshots().last().map_or(0, |snapshot| snapshot.id);

    let before = newest();
    wait_until("snapshots and panics", || newest() > before + 3 && WRITES.load(Relaxed) > 3);
    BROKEN.store(false, Relaxed);
    let before = newest();
    wait_until("more snapshots", || newest() > before + 3);
    assert!(profiler.snapshot().is_ok());
    profiler.shutdown();
}

/// Panics in other threads are what this test is about, so it waits by itself.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "no {what} within a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}
