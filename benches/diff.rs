//! What it costs to compare two snapshots with many stacks each.
//!
//! The bar, for 131,072 stacks of about 25 frames on each side whose names are known already, and that all changed: the
//! 20 first rows by stack, site or function in at most 100 ms each and 64 MiB on top of what stood before.
//!
//! ```text
//! cargo bench --bench diff              the table
//! cargo bench --bench diff -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own, with a heap as in the benchmark `snapshot`, sampled as
//! finely as it takes to have nearly every stack in both snapshots, and yet not every object. `cargo test --benches` runs the
//! smallest heap once.

mod common;

use std::hint::black_box;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cost, Object, Result, heap, measure, median, mib, millis, set};
use heapward::{ByteSize, Grouping, Profiler, Selector};

heapward::install!("lg_prof_sample:4");

const STACKS: [u32; 3] = [4_096, 32_768, BAR_STACKS];
const BAR_STACKS: u32 = 131_072;
const BAR_TIME: Duration = Duration::from_millis(100);
const BAR_BYTES: u64 = 64 << 20;
/// Rows that are asked for.
const ROWS: usize = 20;

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
struct Subject(Grouping);

impl Subject {
    const ALL: [Self; 3] = [Self(Grouping::Stack), Self(Grouping::Site), Self(Grouping::Function)];

    fn name(self) -> &'static str {
        match self.0 {
            Grouping::Stack => "diff by stack",
            Grouping::Site => "diff by site",
            _ => "diff by function",
        }
    }
}

/// All runs of one process.
struct Row {
    subject: Subject,
    stacks: u32,
    runs: Vec<Cost>,
    /// Stacks that changed, as the diff by stack counts them; rows that did in the others.
    changed: u64,
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
        let mut row = Self { subject, stacks, runs: Vec::new(), changed: 0 };
        for line in child.stdout.lines() {
            let line = line?;
            let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
            let [wall, peak_rss, retained, changed] = numbers[..] else {
                return Err(format!("{} printed `{line}`", subject.name()).into());
            };
            row.runs.push(Cost { wall: Duration::from_nanos(wall), peak_rss, retained });
            row.changed = changed;
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
        let met = self.time() <= BAR_TIME && self.peak_rss() <= BAR_BYTES;
        (self.stacks == BAR_STACKS).then_some(met)
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
            "changed": self.changed,
        });
        if let Some(met) = self.bar() {
            row["bar_met"] = met.into();
        }
        row
    }
}

fn print_table(rows: &[Row]) {
    println!(
        "\n{:>7}  {:<16} {:>4} {:>9} {:>9} {:>10} {:>10} {:>10} {:>8}  bar",
        "stacks", "what", "runs", "first ms", "median ms", "first MiB", "worst MiB", "kept MiB", "changed"
    );
    for row in rows {
        let bar = match row.bar() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        println!(
            "{:>7}  {:<16} {:>4} {:>9.1} {:>9.1} {:>10.2} {:>10.2} {:>10.2} {:>8}  {bar}",
            row.stacks,
            row.subject.name(),
            row.runs.len(),
            millis(row.runs[0].wall),
            millis(row.time()),
            mib(row.runs[0].peak_rss),
            mib(row.peak_rss()),
            mib(row.runs[0].retained),
            row.changed,
        );
    }
    println!(
        "
first      the first run of a process, which looks names up; median and worst are those of the other runs
MiB        of first and worst: VmHWM, reset before each run by writing 5 to /proc/self/clear_refs, less VmRSS at that
           moment; free pages went back to the system before that, so none is reused unseen; the result is part of it
kept       growth of jemalloc's stats.allocated over the first run, its result still alive
changed    rows that changed, of which the first {ROWS} are made
bar        at {BAR_STACKS} stacks: {} ms and {} MiB on top",
        BAR_TIME.as_millis(),
        BAR_BYTES >> 20
    );
}

/// One process: builds the heap, measures one subject on it, prints a line for each run.
fn child(subject: Subject, stacks: u32, runs: u32) -> Result<()> {
    let profiler = Profiler::builder()
        .listen("off")
        .rss_threshold(ByteSize::gib(1 << 20))
        .poll_interval(Duration::from_secs(3600))
        .max_live_samples(1 << 20)
        .start()?;
    let mut kept: Vec<Vec<Vec<Object>>> = Vec::new();
    let mut ids = Vec::new();
    // The same stacks both times: an unrolled loop would have two.
    for _ in 0..black_box(2) {
        // A part of what there was is freed, of each stack.
        kept.iter_mut().for_each(|old| old.truncate(1));
        kept.push(grow(stacks)?);
        ids.push(profiler.snapshot()?.id);
        // One a second on request.
        std::thread::sleep(Duration::from_millis(1_010));
    }
    let [base, later] = ids[..] else { return Err("two snapshots".into()) };
    let (base, later) = (Selector::Id(base), Selector::Id(later));
    for _ in 0..runs {
        let (diff, cost) = measure(|| Ok(profiler.diff(base, later, subject.0, ROWS)?))?;
        if subject.0 == Grouping::Stack && diff.changed > stacks as usize * 101 / 100 {
            return Err(format!("{} stacks instead of {stacks}", diff.changed).into());
        }
        println!("{} {} {} {}", cost.wall.as_nanos(), cost.peak_rss, cost.retained, diff.changed);
    }
    drop(kept);
    Ok(())
}

/// Two objects at each stack.
fn grow(stacks: u32) -> Result<Vec<Vec<Object>>> {
    let mut heaps = Vec::new();
    for _ in 0..black_box(2) {
        set(b"thread.prof.active\0", true)?;
        heaps.push(heap(stacks)?);
    }
    Ok(heaps)
}
