//! What drawing costs: flame graphs, what changed between two profiles, folded stacks and the table of sites.
//!
//! The bar: a picture of 131,072 stacks of 25 frames in at most 1.5 s.
//!
//! ```text
//! cargo bench --bench flamegraph              the table
//! cargo bench --bench flamegraph -- --json    a line of JSON for each row
//! ```
//!
//! Medians of seven runs, taken in turns; the memory is the most that one run held beside the profiles, its own output
//! included. `cargo test --benches` draws a small profile once, to see that it still works.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use heapward::HeapProfile;
use pprof::protos::{self, Message};

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

const BAR: Duration = Duration::from_millis(1_500);
const STACKS: u32 = 131_072;
const DEPTH: u32 = 25;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    // Cargo gives `--bench` to a benchmark that it benches, and nothing to one that it tests.
    let (stacks, runs) = if given("--bench") { (STACKS, 7) } else { (1_024, 1) };
    let base = HeapProfile::read(&profile(stacks, 512)?)?;
    let later = HeapProfile::read(&profile(stacks / 8 * 9, 640)?)?;

    let mut subjects = [
        Subject::new("flame graph", true, || Ok(base.flamegraph()?.len())),
        Subject::new("differential flame graph", true, || Ok(later.flamegraph_since(&base)?.len())),
        Subject::new("folded stacks", false, || {
            let mut bytes = Counted(0);
            base.write_folded(&mut bytes)?;
            Ok(bytes.0)
        }),
        Subject::new("sites", false, || Ok(base.top(20).len())),
    ];
    for _ in 0..runs {
        for subject in &mut subjects {
            subject.run()?;
        }
    }
    if !given("--json") {
        println!("\n{stacks} stacks of {DEPTH} frames\n{:<26} {:>10} {:>10} {:>10}  bar", "", "ms", "MiB", "bytes");
    }
    for subject in &subjects {
        if given("--json") { println!("{}", subject.json(stacks)) } else { subject.print() }
    }
    Ok(())
}

/// Something that is drawn.
struct Subject<'a> {
    name: &'static str,
    has_bar: bool,
    work: Box<dyn Fn() -> Result<usize> + 'a>,
    times: Vec<Duration>,
    most: usize,
    size: usize,
}

impl<'a> Subject<'a> {
    fn new(name: &'static str, has_bar: bool, work: impl Fn() -> Result<usize> + 'a) -> Self {
        Self { name, has_bar, work: Box::new(work), times: Vec::new(), most: 0, size: 0 }
    }

    fn run(&mut self) -> Result<()> {
        let held = HELD.load(Relaxed);
        PEAK.store(held, Relaxed);
        let begun = Instant::now();
        self.size = black_box((self.work)()?);
        self.times.push(begun.elapsed());
        self.most = self.most.max(PEAK.load(Relaxed) - held);
        Ok(())
    }

    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn print(&self) {
        let bar = match (self.has_bar, self.median() <= BAR) {
            (false, _) => "",
            (true, true) => "met: at most 1500 ms",
            (true, false) => "MISSED: at most 1500 ms",
        };
        let (time, memory) = (self.median().as_secs_f64() * 1e3, self.most as f64 / (1 << 20) as f64);
        println!("{:<26} {time:>10.1} {memory:>10.1} {:>10}  {bar}", self.name, self.size);
    }

    fn json(&self, stacks: u32) -> serde_json::Value {
        serde_json::json!({
            "bench": "flamegraph",
            "variant": self.name,
            "parameters": { "stacks": stacks, "depth": DEPTH },
            "unit": "ms",
            "median": self.median().as_secs_f64() * 1e3,
            "runs": self.times.len(),
            "peak_bytes": self.most,
            "result_bytes": self.size,
        })
    }
}

/// Counts bytes, so that a large text is not held.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What every stack ends with.
const PLUMBING: [&str; 4] = [
    "imalloc_fastpath",
    "__rustc::__rust_alloc",
    "alloc::raw_vec::RawVec<T,A>::grow_one",
    "alloc::vec::Vec<T,A>::push",
];

/// A profile.proto of `stacks` different stacks. The functions near the root are few and those near the leaf many, up to
/// 4,096 at each depth. The first stack holds `scale` times 4 MiB, the n-th the n-th part of that: a few hold much and
/// most hold little.
fn profile(stacks: u32, scale: i64) -> Result<Vec<u8>> {
    let mut profile = protos::Profile { string_table: vec![String::new()], ..Default::default() };
    let mut text = |text: String| {
        profile.string_table.push(text);
        profile.string_table.len() as i64 - 1
    };
    for (name, unit) in [("inuse_objects", "count"), ("inuse_space", "bytes")] {
        profile.sample_type.push(protos::ValueType { ty: text(name.to_owned()), unit: text(unit.to_owned()) });
    }
    let own = DEPTH - PLUMBING.len() as u32;
    let width = |depth: u32| 1u32 << depth.min(12);
    let mut names: Vec<String> = PLUMBING.map(str::to_owned).into();
    let mut firsts = Vec::new();
    for depth in 0..own {
        firsts.push(names.len() as u64 + 1);
        names.extend((0..width(depth)).map(|function| {
            format!("<service::layer_{depth}::Handler<alloc::string::String> as service::Handle>::call_{function}")
        }));
    }
    for (index, name) in names.into_iter().enumerate() {
        let id = index as u64 + 1;
        let name = text(name);
        profile.function.push(protos::Function { id, name, system_name: name, ..Default::default() });
        let line = vec![protos::Line { function_id: id, line: 1 }];
        profile.location.push(protos::Location { id, address: 0x1000 + id, line, ..Default::default() });
    }
    let mut seed = 42u64;
    for stack in 0..stacks {
        let mut location_id: Vec<u64> = (1..=PLUMBING.len() as u64).collect();
        for depth in (0..own).rev() {
            // The bits of the stack's own number choose near the root, so that all stacks differ.
            let choice = match depth {
                0..=17 => stack >> (17 - depth),
                _ => random(&mut seed) as u32,
            };
            location_id.push(firsts[depth as usize] + u64::from(choice % width(depth)));
        }
        let bytes = (1 << 22) / i64::from(stack + 1) * scale;
        profile.sample.push(protos::Sample { location_id, value: vec![1, bytes], label: Vec::new() });
    }
    let mut bytes = Vec::new();
    profile.encode(&mut bytes)?;
    Ok(bytes)
}

/// xorshift64.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
