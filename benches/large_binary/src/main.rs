//! What naming the addresses of real stacks costs in a program as large as a query engine, beside blazesym and
//! addr2line.
//!
//! The bar, for 200 addresses of the whole program: at most 1.0 s; at its peak at most 16 MiB of anonymous memory and
//! 32 MiB of RSS on top of what stood before; and back within 8 MiB of that when done.
//!
//! ```text
//! cd benches/large_binary
//! cargo run --release               the table
//! cargo run --release -- --json     a line of JSON for each row
//! ```
//!
//! Needs objcopy and strip (Debian's binutils), 10 GiB of disk to build and 4 GiB to run.
//!
//! One process runs queries with heapward on and takes its profile, without names: those are the addresses. Then every
//! measurement is a process of its own, which names them once and prints what that took. The program is measured whole,
//! stripped, and stripped with its debug information in a file of its own; runs of all rows take turns.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use heapward::{ByteSize, Profiler, Symbolize};
use pprof::protos::Message;

heapward::install!("lg_prof_sample:10");

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The bar, at [`BAR_ADDRESSES`] of the whole program.
const BAR_TIME: Duration = Duration::from_millis(1000);
const BAR_ANON: u64 = 16 << 20;
const BAR_RSS: u64 = 32 << 20;
const BAR_LEFT: u64 = 8 << 20;
const BAR_ADDRESSES: usize = 200;

const ADDRESSES: [usize; 2] = [BAR_ADDRESSES, 1000];
const RUNS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--collect", file] => collect(Path::new(file)),
        ["--child", subject, file, count, debug_file, debug_dir] => {
            let subject = Subject::ALL.into_iter().find(|known| known.name() == subject).ok_or("no such subject")?;
            child(subject, Path::new(file), count.parse()?, Path::new(debug_file), Path::new(debug_dir))
        }
        [] => parent(false),
        ["--json"] => parent(true),
        _ => Err("allowed is --json".into()),
    }
}

/// Who looks the names up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Heapward,
    Blazesym,
    Addr2line,
}

impl Subject {
    const ALL: [Self; 3] = [Self::Heapward, Self::Blazesym, Self::Addr2line];

    fn name(self) -> &'static str {
        match self {
            Self::Heapward => "heapward",
            Self::Blazesym => "blazesym 0.2",
            Self::Addr2line => "addr2line 0.27",
        }
    }
}

/// The program, as it may be shipped.
struct Variant {
    name: &'static str,
    program: PathBuf,
    /// The file that has the debug information; the program itself when none has.
    debug_file: PathBuf,
    /// Where heapward looks for it.
    debug_dir: PathBuf,
}

/// One run: times and sizes above those before.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    time: Duration,
    peak_rss: u64,
    peak_anon: u64,
    left_rss: u64,
    named: u64,
}

struct Row<'v> {
    variant: &'v Variant,
    subject: Subject,
    addresses: usize,
    runs: Vec<Run>,
}

impl Row<'_> {
    fn median<T: Copy + Ord>(&self, of: impl Fn(&Run) -> T) -> T {
        let mut values: Vec<T> = self.runs.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    }

    fn worst<T: Ord>(&self, of: impl Fn(&Run) -> T) -> T {
        self.runs.iter().map(of).max().expect("a row has runs")
    }

    fn json(&self) -> serde_json::Value {
        let mut row = serde_json::json!({
            "program": self.variant.name,
            "subject": self.subject.name(),
            "addresses": self.addresses,
            "runs": self.runs.len(),
            "named": self.median(|run| run.named),
            "time_ms_median": millis(self.median(|run| run.time)),
            "time_ms_worst": millis(self.worst(|run| run.time)),
            "peak_rss_bytes_median": self.median(|run| run.peak_rss),
            "peak_rss_bytes_worst": self.worst(|run| run.peak_rss),
            "peak_anon_bytes_median": self.median(|run| run.peak_anon),
            "peak_anon_bytes_worst": self.worst(|run| run.peak_anon),
            "left_rss_bytes_median": self.median(|run| run.left_rss),
            "left_rss_bytes_worst": self.worst(|run| run.left_rss),
        });
        if let Some(met) = self.bar() {
            row["bar_met"] = met.into();
        }
        row
    }

    /// Whether the bar is met, where it applies: in time by the median, in memory by every run.
    fn bar(&self) -> Option<bool> {
        let applies =
            self.subject == Subject::Heapward && self.addresses == BAR_ADDRESSES && self.variant.name == "whole";
        applies.then(|| {
            self.median(|run| run.time) <= BAR_TIME
                && self.worst(|run| run.peak_anon) <= BAR_ANON
                && self.worst(|run| run.peak_rss) <= BAR_RSS
                && self.worst(|run| run.left_rss) <= BAR_LEFT
        })
    }
}

fn parent(json: bool) -> Result<()> {
    let folder = Folder(std::env::temp_dir().join(format!("heapward-large-binary-{}", std::process::id())));
    let variants = variants(&folder.0)?;
    let file = folder.0.join("addresses");
    run(Command::new(&variants[0].program).arg("--collect").arg(&file))?;

    let mut rows: Vec<Row<'_>> = Vec::new();
    for addresses in ADDRESSES {
        for variant in &variants {
            rows.extend(Subject::ALL.map(|subject| Row { variant, subject, addresses, runs: Vec::new() }));
        }
    }
    for _ in 0..RUNS {
        for row in &mut rows {
            let Variant { program, debug_file, debug_dir, .. } = row.variant;
            let output = run(Command::new(program)
                .args(["--child", row.subject.name()])
                .arg(&file)
                .arg(row.addresses.to_string())
                .args([debug_file, debug_dir]))?;
            let numbers: Vec<u64> = output.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
            let [time, peak_rss, peak_anon, left_rss, named] = numbers[..] else {
                return Err(format!("{} printed `{output}`", row.subject.name()).into());
            };
            row.runs.push(Run { time: Duration::from_nanos(time), peak_rss, peak_anon, left_rss, named });
        }
    }
    if json {
        rows.iter().for_each(|row| println!("{}", row.json()));
    } else {
        print_table(&rows, &variants)?;
    }
    Ok(())
}

/// A folder that goes when this does.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the stripped program and the debug file.
fn variants(folder: &Path) -> Result<[Variant; 3]> {
    let program = std::env::current_exe()?;
    let nothing = folder.join("nothing");
    let debug_dir = folder.join("debug");
    let stripped = folder.join("stripped");
    let debug_file = debug_dir.join(".build-id").join(below_build_id(&program)?);
    for folder in [&nothing, debug_file.parent().ok_or("no folder")?] {
        fs::create_dir_all(folder)?;
    }
    run(Command::new("strip").arg("-o").args([&stripped, &program]))?;
    run(Command::new("objcopy").arg("--only-keep-debug").args([&program, &debug_file]))?;
    // From here on everything is in the page cache, as it is not on a service's first profile: what a disk takes is
    // not what is measured.
    for file in [&program, &stripped, &debug_file] {
        std::io::copy(&mut fs::File::open(file)?, &mut std::io::sink())?;
    }
    Ok([
        Variant { name: "whole", debug_file: program.clone(), program, debug_dir: nothing.clone() },
        Variant { name: "stripped", debug_file: stripped.clone(), program: stripped.clone(), debug_dir: nothing },
        Variant { name: "split", debug_file, program: stripped, debug_dir },
    ])
}

/// `ab/cdef….debug`, of the build id as readelf prints it.
fn below_build_id(program: &Path) -> Result<String> {
    let notes = run(Command::new("readelf").arg("-n").arg(program))?;
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).ok_or("no build id")?;
    Ok(format!("{}/{}.debug", &id[..2], &id[2..]))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn print_table(rows: &[Row<'_>], variants: &[Variant]) -> Result<()> {
    println!("\nthe program has {:.0} MiB", mib(fs::metadata(&variants[0].program)?.len()));
    println!(
        "\n{:>9}  {:<9} {:<15} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "", "", "", "time", "time", "peak RSS", "peak RSS", "peak anon", "peak anon", "left RSS"
    );
    println!(
        "{:>9}  {:<9} {:<15} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "addresses",
        "program",
        "what",
        "named",
        "median ms",
        "worst ms",
        "med. MiB",
        "worst MiB",
        "med. MiB",
        "worst MiB",
        "med. MiB"
    );
    for row in rows {
        println!(
            "{:>9}  {:<9} {:<15} {:>6} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
            row.addresses,
            row.variant.name,
            row.subject.name(),
            row.median(|run| run.named),
            millis(row.median(|run| run.time)),
            millis(row.worst(|run| run.time)),
            mib(row.median(|run| run.peak_rss)),
            mib(row.worst(|run| run.peak_rss)),
            mib(row.median(|run| run.peak_anon)),
            mib(row.worst(|run| run.peak_anon)),
            mib(row.median(|run| run.left_rss)),
        );
    }
    println!(
        "
{RUNS} runs of each row, each in a process of its own, taking turns; all files in the page cache
time       from asking to the answer, everything opened on the way
peak RSS   VmHWM, reset before by writing 5 to /proc/self/clear_refs, less VmRSS at that moment
peak anon  RssAnon, looked at every millisecond, less the same before
left RSS   VmRSS after everything but the names was dropped, less the same before
split      heapward finds the debug file by its build id; the others are given it instead of the program"
    );
    for row in rows {
        if let Some(met) = row.bar() {
            println!(
                "\nbar at {BAR_ADDRESSES} addresses of the whole program: {} ms (median {:.0}), {} MiB anonymous (worst \
                 {:.1}), {} MiB RSS (worst {:.1}), back within {} MiB (worst {:.1}): {}",
                BAR_TIME.as_millis(),
                millis(row.median(|run| run.time)),
                BAR_ANON >> 20,
                mib(row.worst(|run| run.peak_anon)),
                BAR_RSS >> 20,
                mib(row.worst(|run| run.peak_rss)),
                BAR_LEFT >> 20,
                mib(row.worst(|run| run.left_rss)),
                if met { "met" } else { "MISSED" }
            );
        }
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 20) as f64
}

fn profiler(debug_dir: &Path, symbolize: Symbolize) -> Result<Profiler> {
    Ok(Profiler::builder()
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::gib(1 << 20))
        .poll_interval(Duration::from_secs(3600))
        .symbolize(symbolize)
        .debug_dirs([debug_dir])
        .start()?)
}

/// Runs queries, and writes where their stacks were to `file`: one offset from the program's start a line, of return
/// addresses, in an order that has nothing to do with where they are.
fn collect(file: &Path) -> Result<()> {
    let profiler = profiler(Path::new("/"), Symbolize::Never)?;
    tokio::runtime::Runtime::new()?.block_on(queries())?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&profiler.live_heap_prof()?[..]).read_to_end(&mut bytes)?;
    let profile = pprof::protos::Profile::decode(&bytes[..])?;
    let program = std::env::current_exe()?;
    let program = program.to_string_lossy();
    let is_program = |id: u64| {
        let mapping = profile.mapping.iter().find(|mapping| mapping.id == id);
        mapping.is_some_and(|mapping| profile.string_table[mapping.filename as usize] == *program)
    };
    let start = program_start()?;
    let mut offsets: Vec<u64> = profile
        .location
        .iter()
        .filter(|location| is_program(location.mapping_id))
        .map(|location| location.address + 1 - start)
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    // A multiplicative hash as a shuffle that is the same each time.
    offsets.sort_by_key(|offset| offset.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let most = *ADDRESSES.iter().max().ok_or("no rows")?;
    if offsets.len() < most {
        return Err(format!("{} addresses, of {most} wanted", offsets.len()).into());
    }
    let mut file = fs::File::create(file)?;
    for offset in &offsets[..most] {
        writeln!(file, "{offset}")?;
    }
    Ok(())
}

/// Queries that go through much of the engine: parsing, planning, joins, windows, aggregates, sorting, files.
async fn queries() -> Result<()> {
    let context = SessionContext::new();
    let folder = Folder(std::env::temp_dir().join(format!("heapward-large-binary-data-{}", std::process::id())));
    fs::create_dir_all(&folder.0)?;
    let path = |name: &str| folder.0.join(name).to_string_lossy().into_owned();
    let queries = [
        "CREATE TABLE numbers AS SELECT value AS n, value % 97 AS k, concat('name-', value % 1009) AS name, \
         CAST(value AS DOUBLE) / 7 AS x FROM generate_series(1, 200000)"
            .to_owned(),
        format!("COPY (SELECT * FROM numbers) TO '{}' STORED AS PARQUET", path("numbers.parquet")),
        format!("COPY (SELECT * FROM numbers WHERE n < 5000) TO '{}' STORED AS CSV", path("numbers.csv")),
        format!("COPY (SELECT * FROM numbers WHERE n < 5000) TO '{}' STORED AS JSON", path("numbers.json")),
        format!("CREATE EXTERNAL TABLE parquet STORED AS PARQUET LOCATION '{}'", path("numbers.parquet")),
        format!("CREATE EXTERNAL TABLE csv STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')", path("numbers.csv")),
        format!("CREATE EXTERNAL TABLE json STORED AS JSON LOCATION '{}'", path("numbers.json")),
        "SELECT k, count(*), sum(x), avg(x), min(name), max(name), approx_distinct(name), stddev(x), \
         array_agg(DISTINCT n % 10) FROM parquet GROUP BY k ORDER BY 2 DESC, k LIMIT 20"
            .to_owned(),
        "SELECT a.k, b.name, count(*) FROM parquet a JOIN csv b ON a.name = b.name LEFT JOIN json c ON a.n = c.n \
         WHERE a.n < 3000 AND b.n IN (SELECT n FROM json WHERE x > 10) GROUP BY a.k, b.name HAVING count(*) > 1 ORDER BY b.name"
            .to_owned(),
        "SELECT n, name, rank() OVER (PARTITION BY k ORDER BY x DESC) AS r, sum(x) OVER (PARTITION BY name ORDER BY n ROWS \
         BETWEEN 3 PRECEDING AND CURRENT ROW) AS s, lag(n, 2) OVER (ORDER BY n) FROM parquet WHERE n < 40000 ORDER BY r, n LIMIT 100"
            .to_owned(),
        "SELECT regexp_replace(name, '[0-9]+', '#'), upper(name), split_part(name, '-', 2), date_trunc('hour', \
         to_timestamp(n * 1000)), make_array(n, k), CASE WHEN k > 50 THEN 'high' ELSE 'low' END FROM csv UNION ALL \
         SELECT name, lower(name), '', now(), make_array(k), 'none' FROM json ORDER BY 2 LIMIT 500"
            .to_owned(),
        "WITH RECURSIVE steps AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM steps WHERE n < 50) SELECT s.n, p.name FROM steps s \
         CROSS JOIN (SELECT DISTINCT name FROM csv LIMIT 10) p WHERE EXISTS (SELECT 1 FROM json j WHERE j.n = s.n)"
            .to_owned(),
        "EXPLAIN ANALYZE SELECT median(x), corr(x, n), covar_samp(x, k), approx_percentile_cont(x, 0.9) FROM parquet".to_owned(),
    ];
    for query in queries {
        context.sql(&query).await?.collect().await?;
    }
    Ok(())
}

/// Where the first byte of the program's file is mapped.
fn program_start() -> Result<u64> {
    let program = std::env::current_exe()?;
    let program = program.to_string_lossy();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.ends_with(&*program)).ok_or("the program is not mapped")?;
    let (start, _) = line.split_once('-').ok_or("no range")?;
    Ok(u64::from_str_radix(start, 16)?)
}

/// Has heapward name return addresses, as anybody may; returns how many have a name.
fn name(profiler: &Profiler, addresses: &[u64]) -> Result<usize> {
    let calls: Vec<String> = addresses.iter().map(|address| format!("{:#x}", address - 1)).collect();
    let body = calls.join("+");
    let mut stream = TcpStream::connect(profiler.address().ok_or("heapward does not listen")?)?;
    let head = "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length";
    write!(stream, "{head}: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        return Err(answer.into());
    }
    Ok(answer.lines().filter(|line| line.starts_with("0x")).count())
}

/// One measurement, printed.
fn child(subject: Subject, file: &Path, count: usize, debug_file: &Path, debug_dir: &Path) -> Result<()> {
    let offsets: Vec<u64> =
        fs::read_to_string(file)?.lines().take(count).map(str::parse).collect::<std::result::Result<_, _>>()?;
    let run = match subject {
        Subject::Heapward => {
            let profiler = profiler(debug_dir, Symbolize::Always)?;
            let start = program_start()?;
            let addresses: Vec<u64> = offsets.iter().map(|offset| offset + start).collect();
            let run = measure(|| name(&profiler, &addresses))?;
            profiler.shutdown();
            run
        }
        Subject::Blazesym => measure(|| {
            use blazesym::symbolize::source::{Elf, Source};
            use blazesym::symbolize::{Input, Symbolizer};
            let calls: Vec<u64> = offsets.iter().map(|offset| offset - 1).collect();
            let symbolizer = Symbolizer::builder().enable_inlined_fns(true).enable_demangling(true).build();
            let symbols = symbolizer.symbolize(&Source::Elf(Elf::new(debug_file)), Input::VirtOffset(&calls))?;
            Ok(symbols.iter().filter(|symbol| symbol.as_sym().is_some()).count())
        })?,
        Subject::Addr2line => measure(|| {
            let loader = addr2line::Loader::new(debug_file).map_err(|error| error.to_string())?;
            let mut named = 0;
            for offset in &offsets {
                let mut frames = loader.find_frames(offset - 1).map_err(|error| error.to_string())?;
                let mut is_named = false;
                while let Some(frame) = frames.next()? {
                    if let Some(name) = frame.function {
                        is_named |= !name.demangle()?.is_empty();
                    }
                }
                named += usize::from(is_named || loader.find_symbol(offset - 1).is_some());
            }
            Ok(named)
        })?,
    };
    let Run { time, peak_rss, peak_anon, left_rss, named } = run;
    println!("{} {peak_rss} {peak_anon} {left_rss} {named}", time.as_nanos());
    Ok(())
}

/// Runs `work`, which gives how many addresses have a name.
fn measure(work: impl FnOnce() -> Result<usize>) -> Result<Run> {
    let is_done = Arc::new(AtomicBool::new(false));
    let highest = Arc::new(AtomicU64::new(0));
    let sampler = std::thread::spawn({
        let (is_done, highest) = (Arc::clone(&is_done), Arc::clone(&highest));
        move || {
            while !is_done.load(Ordering::Relaxed) {
                highest.fetch_max(status("RssAnon:").unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    // The sampler's own memory is there before the first figure is taken.
    while highest.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    highest.store(0, Ordering::Relaxed);
    fs::write("/proc/self/clear_refs", "5")?;
    let (rss, anon) = (status("VmRSS:")?, status("RssAnon:")?);
    let begun = Instant::now();
    let named = work()?;
    let time = begun.elapsed();
    let (peak, left) = (status("VmHWM:")?, status("VmRSS:")?);
    highest.fetch_max(status("RssAnon:")?, Ordering::Relaxed);
    is_done.store(true, Ordering::Relaxed);
    sampler.join().map_err(|_| "the sampler panicked")?;
    Ok(Run {
        time,
        peak_rss: peak.saturating_sub(rss),
        peak_anon: highest.load(Ordering::Relaxed).saturating_sub(anon),
        left_rss: left.saturating_sub(rss),
        named: named as u64,
    })
}

/// A line of /proc/self/status, in bytes.
fn status(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in status")?;
    let kib = line.trim().strip_suffix("kB").ok_or("not in kB")?;
    Ok(kib.trim().parse::<u64>()? << 10)
}
