//! One run of one cell.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;

use heapward::{ByteSize, Grouping, Profiler, Selector, Symbolize};

use crate::cell::Cell;
use crate::exact::held;
use crate::figures::Figures;
use crate::library;

/// Fills the cell with heapward beside it, and says what it holds then. Writes the live heap to `heap_prof`, if there is one.
pub fn measure(cell: Cell, run: u64, heap_prof: Option<&Path>) -> Result<Figures, Box<dyn Error>> {
    let profiler = Profiler::builder()
        .listen("off")
        // Only the snapshot that is asked for.
        .rss_threshold(ByteSize::gib(1 << 20))
        .symbolize(if heap_prof.is_some() { Symbolize::Always } else { Symbolize::Never })
        .start()?;
    draw_samples(run);

    let base = profiler.snapshot()?;
    let before = held()?;
    let metrics = library::fill(cell)?;
    let exact = held()? - before;
    let diff = profiler.diff_live(Selector::Id(base.id), Grouping::Stack, 1)?;

    if diff.is_lower_bound {
        return Err(format!("samples are missing: {}", diff.remarks.join("; ")).into());
    }
    if let Some(path) = heap_prof {
        std::fs::write(path, profiler.live_heap_prof()?)?;
    }
    drop(metrics);
    profiler.shutdown();
    let net = diff.total.net;
    Ok(Figures {
        exact: exact as f64,
        estimate: net.bytes.value,
        low: net.bytes.low,
        high: net.bytes.high,
        samples: net.samples as f64,
        sample_interval: diff.sample_interval as f64,
    })
}

/// jemalloc seeds the sampling of a thread by an address. Where those are the same in each process, as without address
/// randomization, this makes runs draw their samples differently all the same.
fn draw_samples(run: u64) {
    for _ in 0..=run * 50 {
        drop(black_box(vec![0u8; 8192]));
    }
}
