//! What drawing costs: flame graphs, what changed between two profiles, folded stacks and the table of sites.
//!
//! The bar: a picture of 131,072 stacks of 25 frames in at most 1.5 s, with at most 64 MiB beside the profile.
//!
//! ```text
//! cargo bench --bench flamegraph
//! ```
//!
//! Prints for each the least time of five runs, and the most memory that one held beside the profiles, its own output
//! included. `cargo test --benches` draws a small profile once, to see that it still works.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use heapward::bench::NamedProfile;

/// Counts what is held, and the most that was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: passes everything on to the system's allocator, and does nothing else but to count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

const BAR_TIME: Duration = Duration::from_millis(1_500);
const BAR_BYTES: usize = 64 << 20;
const BAR_STACKS: u32 = 131_072;
const DEPTH: u32 = 25;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo gives `--bench` to a benchmark that it benches, and nothing to one that it tests.
    let bench = std::env::args().any(|argument| argument == "--bench");
    let (stacks, runs) = if bench { (BAR_STACKS, 5) } else { (1_024, 1) };
    let base = NamedProfile::new(stacks, DEPTH, 512);
    let later = NamedProfile::new(stacks / 8 * 9, DEPTH, 640);
    println!("{stacks} stacks of {DEPTH} frames; the bar is {BAR_TIME:?} and {} MiB", BAR_BYTES >> 20);
    for trim in ["std", "allocator", "none"] {
        measure(&format!("flame graph, trim={trim}"), runs, || Ok(base.flamegraph(trim)?.len()))?;
    }
    measure("differential flame graph", runs, || Ok(base.differential(&later)?.len()))?;
    measure("folded stacks", runs, || {
        let mut lines = 0;
        base.folded(Lines(&mut lines))?;
        Ok(lines)
    })?;
    measure("sites", runs, || Ok(base.sites()))
}

fn measure(what: &str, runs: usize, work: impl Fn() -> Result<usize>) -> Result<()> {
    let (mut least, mut most, mut size) = (Duration::MAX, 0, 0);
    for _ in 0..runs {
        let held = HELD.load(Relaxed);
        PEAK.store(held, Relaxed);
        let start = Instant::now();
        size = black_box(work()?);
        least = least.min(start.elapsed());
        most = most.max(PEAK.load(Relaxed) - held);
    }
    let missed = if least > BAR_TIME || most > BAR_BYTES { "  over the bar" } else { "" };
    println!(
        "{what:>28}  {:>7.1} ms  {:>5.1} MiB  {size:>9}{missed}",
        least.as_secs_f64() * 1e3,
        most as f64 / (1 << 20) as f64
    );
    Ok(())
}

/// Counts bytes, so that a large text is not held.
struct Lines<'a>(&'a mut usize);

impl std::io::Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        *self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
