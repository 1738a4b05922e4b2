//! What it costs to hand a heap of many stacks out, beside the crate jemalloc_pprof on the same heap.
//!
//! The bars, for 131,072 stacks of about 25 frames whose names are known already: a `heap.prof` in at most 1.0 s and
//! 24 MiB on top of what stood before, a flame graph in at most 1.5 s.
//!
//! ```text
//! cargo bench --bench formats              the table
//! cargo bench --bench formats -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own, with a heap as in the benchmark `snapshot`. `cargo test --benches` runs the
//! smallest heap once.

mod common;

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cost, Result, heap, measure, median, mib, millis, set};
use heapward::{ByteSize, Profiler, Selector};

heapward::install!("lg_prof_sample:0");

const STACKS: [u32; 3] = [4_096, 32_768, BAR_STACKS];
const BAR_STACKS: u32 = 131_072;
const BAR_BYTES: u64 = 24 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", subject, stacks, runs] = arguments[..] {
        let subject = Subject::ALL.into_iter().find(|known| known.name() == subject).ok_or("no such subject")?;
        return child(subject, stacks.parse()?, runs.parse()?);
    }
    // Cargo gives `--bench` to a benchmark that it benches, and nothing to one that it tests.
    let bench = arguments.contains(&"--bench");
    let mut rows = Vec::new();
    for &stacks in if bench { &STACKS[..] } else { &STACKS[..1] } {
        for subject in Subject::ALL {
            rows.push(Row::measure(subject, stacks, if bench { 7 } else { 1 })?);
        }
    }
    if arguments.contains(&"--json") {
        rows.iter().for_each(|row| println!("{}", row.json()));
    } else {
        print_table(&rows);
    }
    Ok(())
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Kept,
    Live,
    Difference,
    Flamegraph,
    Differential,
    JemallocPprof,
}

impl Subject {
    const ALL: [Self; 6] =
        [Self::Kept, Self::Live, Self::Difference, Self::Flamegraph, Self::Differential, Self::JemallocPprof];

    fn name(self) -> &'static str {
        match self {
            Self::Kept => "heapward heap.prof of a snapshot",
            Self::Live => "heapward heap.prof of the live heap",
            Self::Difference => "heapward heap.prof of a difference",
            Self::Flamegraph => "heapward flame graph of a snapshot",
            Self::Differential => "heapward flame graph of a difference",
            Self::JemallocPprof => "jemalloc_pprof dump_pprof",
        }
    }

    /// The longest that it may take, and the most memory.
    fn bar(self) -> Option<(Duration, u64)> {
        match self {
            Self::Kept | Self::Live | Self::Difference => Some((Duration::from_secs(1), BAR_BYTES)),
            Self::Flamegraph | Self::Differential => Some((Duration::from_millis(1500), u64::MAX)),
            Self::JemallocPprof => None,
        }
    }
}

/// All runs of one process.
struct Row {
    subject: Subject,
    stacks: u32,
    runs: Vec<Cost>,
    /// Bytes of the result.
    size: u64,
}

impl Row {
    fn measure(subject: Subject, stacks: u32, runs: u32) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["--child", subject.name(), &stacks.to_string(), &runs.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !child.status.success() {
            return Err(format!("{} of {stacks} stacks: {}", subject.name(), child.status).into());
        }
        let mut row = Self { subject, stacks, runs: Vec::new(), size: 0 };
        for line in child.stdout.lines() {
            let line = line?;
            let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
            let [wall, peak_rss, retained, size] = numbers[..] else {
                return Err(format!("{} printed `{line}`", subject.name()).into());
            };
            row.runs.push(Cost { wall: Duration::from_nanos(wall), peak_rss, retained });
            row.size = size;
        }
        if row.runs.len() != runs as usize {
            return Err(format!("{} of {stacks} stacks: {} runs", subject.name(), row.runs.len()).into());
        }
        Ok(row)
    }

    /// The runs after the first, which looks names up; the first when it is the only one.
    fn repeated(&self) -> &[Cost] {
        self.runs.get(1..).filter(|runs| !runs.is_empty()).unwrap_or(&self.runs)
    }

    fn time(&self) -> Duration {
        median(self.repeated().iter().map(|run| run.wall))
    }

    fn peak_rss(&self) -> u64 {
        self.repeated().iter().map(|run| run.peak_rss).max().unwrap_or(0)
    }

    /// Whether the bar is met, where it applies: in time by the median, in memory by every run.
    fn bar(&self) -> Option<bool> {
        let (time, bytes) = self.subject.bar().filter(|_| self.stacks == BAR_STACKS)?;
        Some(self.time() <= time && self.peak_rss() <= bytes)
    }

    fn json(&self) -> serde_json::Value {
        let mut row = serde_json::json!({
            "subject": self.subject.name(),
            "stacks": self.stacks,
            "runs": self.runs.len(),
            "time_ms_first": millis(self.runs[0].wall),
            "time_ms_median": millis(self.time()),
            "peak_rss_bytes_first": self.runs[0].peak_rss,
            "peak_rss_bytes_worst": self.peak_rss(),
            "retained_bytes_first": self.runs[0].retained,
            "result_bytes": self.size,
        });
        if let Some(met) = self.bar() {
            row["bar_met"] = met.into();
        }
        row
    }
}

fn print_table(rows: &[Row]) {
    println!(
        "\n{:>7}  {:<36} {:>4} {:>9} {:>9} {:>10} {:>10} {:>10} {:>8}  bar",
        "stacks", "what", "runs", "first ms", "median ms", "first MiB", "worst MiB", "kept MiB", "MiB"
    );
    for row in rows {
        let bar = match row.bar() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        println!(
            "{:>7}  {:<36} {:>4} {:>9.1} {:>9.1} {:>10.2} {:>10.2} {:>10.2} {:>8.2}  {bar}",
            row.stacks,
            row.subject.name(),
            row.runs.len(),
            millis(row.runs[0].wall),
            millis(row.time()),
            mib(row.runs[0].peak_rss),
            mib(row.peak_rss()),
            mib(row.runs[0].retained),
            mib(row.size),
        );
    }
    println!(
        "
first      the first run of a process, which looks names up; median and worst are those of the other runs
MiB        of first and worst: VmHWM, reset before each run by writing 5 to /proc/self/clear_refs, less VmRSS at that
           moment; free pages went back to the system before that, so none is reused unseen; the result is part of it
kept       growth of jemalloc's stats.allocated over the first run, its result still alive
MiB        the result itself
bar        at {BAR_STACKS} stacks: 1000 ms and {} MiB on top for a profile, 1500 ms for a flame graph",
        BAR_BYTES >> 20
    );
}

/// One process: builds the heap, measures one subject on it, prints a line for each run.
fn child(subject: Subject, stacks: u32, runs: u32) -> Result<()> {
    if subject == Subject::JemallocPprof {
        set(b"prof.active\0", true)?;
        let heap = heap(stacks)?;
        let control = jemalloc_pprof::PROF_CTL.as_ref().ok_or("jemalloc_pprof finds no profiler")?;
        for _ in 0..runs {
            print(measure(|| control.blocking_lock().dump_pprof().map_err(|error| error.to_string().into()))?);
        }
        drop(heap);
        return Ok(());
    }
    let profiler = Profiler::builder()
        .listen("off")
        .rss_threshold(ByteSize::gib(1 << 20))
        .poll_interval(Duration::from_secs(3600))
        .start()?;
    let base = profiler.snapshot()?.id;
    let heap = heap(stacks)?;
    // One a second on request.
    std::thread::sleep(Duration::from_millis(1_010));
    let later = profiler.snapshot()?.id;
    let (base, later) = (Selector::Id(base), Selector::Id(later));
    for _ in 0..runs {
        print(match subject {
            Subject::Kept => measure(|| Ok(profiler.heap_prof(later)?))?,
            Subject::Live => measure(|| Ok(profiler.live_heap_prof()?))?,
            Subject::Difference => measure(|| Ok(profiler.diff_heap_prof(base, later)?))?,
            Subject::Flamegraph => measure(|| Ok(profiler.heap_profile(later)?.flamegraph()?))?,
            Subject::Differential => {
                measure(|| Ok(profiler.heap_profile(later)?.flamegraph_since(&profiler.heap_profile(base)?)?))?
            }
            Subject::JemallocPprof => unreachable!("measured above"),
        });
    }
    drop(heap);
    Ok(())
}

fn print((result, cost): (Vec<u8>, Cost)) {
    println!("{} {} {} {}", cost.wall.as_nanos(), cost.peak_rss, cost.retained, result.len());
}
