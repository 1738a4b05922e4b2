//! What a snapshot costs, beside jemalloc's own dump and the crate jemalloc_pprof on the same heap.
//!
//! The bar: a snapshot of 131,072 distinct stacks takes at most 20 ms, and 16 MiB on top of what stood before.
//!
//! ```text
//! cargo bench --bench snapshot              the table
//! cargo bench --bench snapshot -- --json    a line of JSON for each row
//! ```
//!
//! Every row is a process of its own, so that no row's memory is another's: it allocates one object at the end of
//! each of N call chains, with an interval of one byte so that every one is sampled, keeps them, and takes the
//! snapshot again and again. What is printed is said at the end of the table. `cargo test --benches` runs the
//! smallest heap once, to see that it still works.

mod common;

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, Read, Seek};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cost, Result, heap, measure, median, mib, millis, set};
use heapward::{ByteSize, Profiler, Selector};
use pprof::protos::Message;

heapward::install!("lg_prof_sample:0");

/// The bar, at [`BAR_STACKS`].
const BAR_TIME: Duration = Duration::from_millis(20);
const BAR_BYTES: u64 = 16 << 20;
const BAR_STACKS: u32 = 131_072;

const STACKS: [u32; 3] = [4_096, 32_768, BAR_STACKS];
/// Heapward grants one snapshot a second on request.
const PAUSE: Duration = Duration::from_millis(1_010);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--child", subject, stacks, runs] = arguments[..] {
        let subject = Subject::ALL.into_iter().find(|known| known.name() == subject).ok_or("no such subject")?;
        return child(subject, stacks.parse()?, runs.parse()?);
    }
    // Cargo gives `--bench` to a benchmark that it benches, and nothing to one that it tests.
    let bench = arguments.contains(&"--bench");
    let json = arguments.contains(&"--json");

    let mut rows = Vec::new();
    for &stacks in if bench { &STACKS[..] } else { &STACKS[..1] } {
        for subject in Subject::ALL {
            rows.push(Row::measure(subject, stacks, if bench { subject.runs(stacks) } else { 1 })?);
        }
    }
    if json {
        rows.iter().for_each(|row| println!("{}", row.json()));
    } else {
        print_table(&rows);
    }
    Ok(())
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Heapward,
    Dump,
    JemallocPprof,
}

impl Subject {
    const ALL: [Self; 3] = [Self::Heapward, Self::Dump, Self::JemallocPprof];

    fn name(self) -> &'static str {
        match self {
            Self::Heapward => "heapward snapshot",
            Self::Dump => "prof.dump to memfd",
            Self::JemallocPprof => "jemalloc_pprof dump + parse",
        }
    }

    /// So many that a median means something, so few that the whole takes two minutes.
    fn runs(self, stacks: u32) -> u32 {
        match (self, stacks) {
            (Self::Heapward, _) => 9,
            (_, BAR_STACKS) => 5,
            _ => 7,
        }
    }
}

/// One snapshot, dump, or dump with parse.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// What it took: of heapward what the snapshot says of itself, of the others the same as `wall`.
    time: Duration,
    /// From asking to the answer.
    wall: Duration,
    /// Highest RSS meanwhile, less RSS before.
    peak_rss: u64,
    /// Bytes of the heap in use afterwards, less those before: what it keeps.
    retained: u64,
    /// Bytes of the dump, which are in no RSS but in the page cache; zero where there is none or where it is hidden.
    text: u64,
}

/// All runs of one process.
struct Row {
    subject: Subject,
    /// As asked for.
    stacks: u32,
    /// As found in the result: those asked for, and the few of the program itself.
    found: u64,
    runs: Vec<Run>,
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
        let mut row = Self { subject, stacks, found: 0, runs: Vec::new() };
        for line in child.stdout.lines() {
            let line = line?;
            let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?;
            match numbers[..] {
                [time, wall, peak_rss, retained, text] => row.runs.push(Run {
                    time: Duration::from_nanos(time),
                    wall: Duration::from_nanos(wall),
                    peak_rss,
                    retained,
                    text,
                }),
                [found] => row.found = found,
                _ => return Err(format!("{} printed `{line}`", subject.name()).into()),
            }
        }
        if row.runs.len() != runs as usize || row.found < u64::from(stacks) {
            return Err(format!("{} of {stacks} stacks: {} found", subject.name(), row.found).into());
        }
        Ok(row)
    }

    fn first(&self) -> Run {
        self.runs[0]
    }

    fn median<T: Copy + Ord>(&self, of: impl Fn(&Run) -> T) -> T {
        median(self.runs.iter().map(of))
    }

    fn worst<T: Ord>(&self, of: impl Fn(&Run) -> T) -> T {
        self.runs.iter().map(of).max().expect("a row has runs")
    }

    fn json(&self) -> serde_json::Value {
        let mut row = serde_json::json!({
            "subject": self.subject.name(),
            "stacks": self.stacks,
            "stacks_found": self.found,
            "runs": self.runs.len(),
            "time_ms_first": millis(self.first().time),
            "time_ms_median": millis(self.median(|run| run.time)),
            "time_ms_worst": millis(self.worst(|run| run.time)),
            "wall_ms_median": millis(self.median(|run| run.wall)),
            "peak_rss_bytes_first": self.first().peak_rss,
            "peak_rss_bytes_median": self.median(|run| run.peak_rss),
            "peak_rss_bytes_worst": self.worst(|run| run.peak_rss),
            "retained_bytes": self.first().retained,
            "dump_text_bytes": self.first().text,
        });
        if let Some(bar) = self.bar() {
            row["bar_met"] = bar.into();
        }
        row
    }

    /// Whether the bar is met, where it applies: in time by the median and the first, in memory by every run.
    fn bar(&self) -> Option<bool> {
        let applies = self.subject == Subject::Heapward && self.stacks == BAR_STACKS;
        let time = self.first().time.max(self.median(|run| run.time));
        applies.then(|| time <= BAR_TIME && self.worst(|run| run.peak_rss) <= BAR_BYTES)
    }
}

fn print_table(rows: &[Row]) {
    println!(
        "\n{:>7}  {:<27} {:>4} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "", "", "time", "time", "time", "wall", "peak RSS", "peak RSS", "retained", "text"
    );
    println!(
        "{:>7}  {:<27} {:>4} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "stacks",
        "what",
        "runs",
        "first ms",
        "median ms",
        "worst ms",
        "median ms",
        "med. MiB",
        "worst MiB",
        "MiB",
        "MiB"
    );
    for row in rows {
        println!(
            "{:>7}  {:<27} {:>4} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            row.stacks,
            row.subject.name(),
            row.runs.len(),
            millis(row.first().time),
            millis(row.median(|run| run.time)),
            millis(row.worst(|run| run.time)),
            millis(row.median(|run| run.wall)),
            mib(row.median(|run| run.peak_rss)),
            mib(row.worst(|run| run.peak_rss)),
            mib(row.first().retained),
            mib(row.first().text),
        );
    }
    println!(
        "
time       of heapward what the snapshot says of itself (SnapshotInfo::duration), of the others the call
wall       from asking to the answer; of heapward with the reading of the gauges and the way to its thread and back
peak RSS   VmHWM, reset before each run by writing 5 to /proc/self/clear_refs, less VmRSS at that moment; free pages
           went back to the system before that, so none is reused unseen
retained   growth of jemalloc's stats.allocated over the first run, its result still alive
text       the dump itself: page cache, in no RSS (jemalloc_pprof writes one as large to a file of its own)"
    );
    for row in rows {
        if let Some(met) = row.bar() {
            println!(
                "\nbar at {BAR_STACKS} stacks: {} ms (first {:.1}, median {:.1}) and {} MiB on top (worst {:.1}): {}",
                BAR_TIME.as_millis(),
                millis(row.first().time),
                millis(row.median(|run| run.time)),
                BAR_BYTES >> 20,
                mib(row.worst(|run| run.peak_rss)),
                if met { "met" } else { "MISSED" }
            );
        }
    }
}

/// One process: builds the heap, measures one subject on it, prints a line for each run and one for what was found.
fn child(subject: Subject, stacks: u32, runs: u32) -> Result<()> {
    match subject {
        Subject::Heapward => {
            let profiler = Profiler::builder()
                .listen("off")
                .rss_threshold(ByteSize::gib(1 << 20))
                .poll_interval(Duration::from_secs(3600))
                .history(1)
                .start()?;
            let heap = heap(stacks)?;
            for run in 0..runs {
                if run > 0 {
                    std::thread::sleep(PAUSE);
                }
                let (snapshot, cost) = measure(|| Ok(profiler.snapshot()?))?;
                let mut run = Run::of(cost);
                run.time = snapshot.duration;
                run.print();
            }
            println!("{}", stacks_in(&profiler.heap_prof(Selector::Latest)?)?);
            drop(heap);
        }
        Subject::Dump => {
            set(b"prof.active\0", true)?;
            let heap = heap(stacks)?;
            for _ in 0..runs {
                let (mut memfd, cost) = measure(dump)?;
                let mut run = Run::of(cost);
                run.text = memfd.stream_position()?;
                run.print();
            }
            let mut text = String::new();
            let mut memfd = dump()?;
            memfd.rewind()?;
            memfd.read_to_string(&mut text)?;
            println!("{}", text.lines().filter(|line| line.starts_with('@')).count());
            drop(heap);
        }
        Subject::JemallocPprof => {
            set(b"prof.active\0", true)?;
            let heap = heap(stacks)?;
            let control = jemalloc_pprof::PROF_CTL.as_ref().ok_or("jemalloc_pprof finds no profiler")?;
            let mut found = 0;
            for _ in 0..runs {
                let (profile, cost) =
                    measure(|| control.blocking_lock().dump_profile().map_err(|error| error.to_string().into()))?;
                found = profile.stacks.len();
                Run::of(cost).print();
            }
            println!("{found}");
            drop(heap);
        }
    }
    Ok(())
}

impl Run {
    fn of(cost: Cost) -> Self {
        Self { time: cost.wall, wall: cost.wall, peak_rss: cost.peak_rss, retained: cost.retained, text: 0 }
    }

    fn print(&self) {
        let Self { time, wall, peak_rss, retained, text } = self;
        println!("{} {} {peak_rss} {retained} {text}", time.as_nanos(), wall.as_nanos());
    }
}

/// jemalloc's dump, in memory. The file stands at its end.
fn dump() -> Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("dump", rustix::fs::MemfdFlags::CLOEXEC)?);
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    // SAFETY: `prof.dump` takes a pointer to a C string, which lives until the call returns.
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.dump\0", path.as_ptr()) }.map_err(|error| error.to_string())?;
    // jemalloc wrote through a description of its own.
    file.seek(std::io::SeekFrom::End(0))?;
    Ok(file)
}

/// How many stacks of a profile hold memory.
fn stacks_in(gzipped: &[u8]) -> Result<usize> {
    const INUSE_OBJECTS: usize = 2;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes)?;
    let profile = pprof::protos::Profile::decode(&bytes[..])?;
    Ok(profile.sample.iter().filter(|sample| sample.value[INUSE_OBJECTS] > 0).count())
}
