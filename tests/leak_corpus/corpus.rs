//! Runs workloads side by side, each in a process of its own, and compares what heapward says with their labels.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::report::{MARK, Report};
use crate::score::Score;
use crate::workload::{Label, Workload};
use crate::{CHILD, SAMPLE_INTERVAL, common};

/// They sleep most of the time.
const AT_ONCE: usize = 6;

/// How long a child may take. It has a deadline of its own, shorter, at which it says what it was doing.
const DEADLINE: Duration = Duration::from_secs(320);

/// Runs them and prints what came of it.
pub fn run(workloads: &[&Workload]) -> ExitCode {
    println!("running {} workloads, {AT_ONCE} at once; seed {:#x} (LIVE_SEED)", workloads.len(), common::seed());
    let begun = Instant::now();
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..workloads.len()).collect());
    let outcomes: Mutex<Vec<Option<Result<Report, String>>>> = Mutex::new(vec![None; workloads.len()]);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    // A statement of its own, so that the lock is let go before the workload runs.
                    let next = lock(&waiting).pop_front();
                    let Some(next) = next else { return };
                    let outcome = observe(workloads[next]);
                    lock(&outcomes)[next] = Some(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut score = Score::default();
    let mut wrong = Vec::new();
    print_head();
    for (workload, outcome) in workloads.iter().zip(outcomes) {
        match outcome.unwrap_or_else(|| Err("it was not run".to_owned())) {
            Ok(report) => {
                print_row(workload, &report);
                score.add(workload, &report);
                wrong
                    .extend(complaints(workload, &report).into_iter().map(|what| format!("{}: {what}", workload.name)));
            }
            Err(error) => wrong.push(format!("{}: {error}", workload.name)),
        }
    }
    println!("\n{score:?}, in {:.1} s", begun.elapsed().as_secs_f64());
    println!("precision {:.3}, recall {:.3}", score.precision(), score.recall());
    wrong.iter().for_each(|what| eprintln!("\nFAILED {what}"));
    let is_perfect = score.precision() == 1.0 && score.recall() == 1.0;
    if wrong.is_empty() && is_perfect { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one workload in a child and reads its report.
fn observe(workload: &Workload) -> Result<Report, String> {
    let this = std::env::current_exe().map_err(|error| format!("no path of this program: {error}"))?;
    let mut command = Command::new(this);
    command.args([CHILD, workload.name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Settings that were meant for something else.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HEAPWARD_") || name.ends_with("MALLOC_CONF")) {
            command.env_remove(name);
        }
    }
    command.env("HEAPWARD_PROFILES_DIR", "off");
    let mut child = command.spawn().map_err(|error| format!("no child: {error}"))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let ended = wait(&mut child);
    // What the child left open ends with it.
    let (stdout, stderr) = (text(stdout), text(stderr));
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("it ended with {status}\n{stderr}")),
        Err(error) => return Err(format!("{error}\n{stderr}")),
    }
    let line = stdout.lines().find_map(|line| line.strip_prefix(MARK));
    let line = line.ok_or_else(|| format!("it reported nothing\n{stdout}\n{stderr}"))?;
    serde_json::from_str(line).map_err(|error| format!("its report cannot be read: {error}\n{line}"))
}

/// Waits for the child to end, and ends it at the deadline.
fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(20)),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                return Err(format!("hung: not done after {} s; killed: {killed:?}", DEADLINE.as_secs()));
            }
            Err(error) => return Err(format!("waiting for it failed: {error}")),
        }
    }
}

/// Reads all of a pipe, on a thread, so that the child never waits for room in it.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

fn text(reader: JoinHandle<io::Result<Vec<u8>>>) -> String {
    match reader.join() {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Err(error)) => format!("(not read: {error})"),
        Err(_) => "(not read: its reader panicked)".to_owned(),
    }
}

/// What is wrong with a report, in words.
fn complaints(workload: &Workload, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_leak = |site: &str| workload.label.is_leak(site);
    for accused in report.accused.iter().filter(|accused| !is_leak(&accused.site)) {
        wrong.push(format!("falsely accused: {} of {}", accused.site, bytes(accused.growth.estimate)));
    }
    let truth = report.truth;
    match workload.label {
        Label::Leaks(sites) => {
            if !report.accused.iter().any(|accused| sites.has_named(&accused.site)) {
                wrong.push(format!("{:?} leaks and is not accused; what grew: {:#?}", sites.one_of, report.growth));
            }
            // Whatever is said of it, it must have been seen.
            let seen: f64 = report.growth.iter().filter(|row| is_leak(&row.site)).map(|row| row.bytes as f64).sum();
            let error = (SAMPLE_INTERVAL * truth.growth.max(0.0)).sqrt();
            if truth.growth < 128.0 * 1024.0 {
                wrong.push(format!("its label is wrong: it grew by {}", bytes(truth.growth)));
            }
            if (seen - truth.growth).abs() > 5.0 * error + 0.05 * truth.growth {
                wrong.push(format!("its sites grew by {} where it leaked {}", bytes(seen), bytes(truth.growth)));
            }
        }
        Label::Steady => {
            let [before, after] = report.peaks;
            // A twentieth for what random numbers make of it.
            if after > before + before / 20 || before < 256 << 10 {
                wrong.push(format!("its label is wrong: it held {before} bytes at most, then {after}"));
            }
        }
    }
    wrong
}

fn print_head() {
    println!(
        "\n{:<18} {:<7} {:<8} {:<44} {:>9} {:>9} {:>9} {:>9} {:<4} {:>9} {:>5} {:>5} {:>5} {:>6}",
        "workload",
        "label",
        "verdict",
        "site",
        "low",
        "growth",
        "high",
        "truth",
        "in",
        "2/3",
        "snaps",
        "gap s",
        "cpu s",
        "ask ms"
    );
}

fn print_row(workload: &Workload, report: &Report) {
    let first = report.accused.first();
    let label = match workload.label {
        Label::Leaks(_) => "leaks",
        Label::Steady => "steady",
    };
    let [low, growth, high] = match first {
        Some(accused) => [accused.growth.low, accused.growth.estimate, accused.growth.high].map(bytes),
        None => [const { String::new() }; 3],
    };
    let inside =
        first.map_or("", |accused| if accused.growth.contain(report.truth_of_window.growth) { "yes" } else { "no" });
    println!(
        "{:<18} {label:<7} {:<8} {:<44} {low:>9} {growth:>9} {high:>9} {:>9} {inside:<4} {:>9} {:>5} {:>5.2} {:>5.2} {:>6.0}",
        workload.name,
        if report.accused.is_empty() { "steady" } else { "leaks" },
        first.map_or("", |accused| short(&accused.site)),
        bytes(report.truth_of_window.growth),
        bytes(report.truth.growth),
        report.snapshots,
        report.longest_gap_secs,
        report.cpu_secs,
        report.verdict_secs * 1000.0,
    );
    report.accused.iter().for_each(|accused| println!("    {}: {}", short(&accused.site), accused.verdict));
    report.let_go.iter().for_each(|let_go| println!("    {}", short_site(let_go)));
}

/// The end of a site's name.
fn short(site: &str) -> &str {
    let start = site.char_indices().rev().nth(43).map_or(0, |(start, _)| start);
    &site[start..]
}

/// Without the folder of the file.
fn short_site(let_go: &str) -> &str {
    let_go
}

/// Bytes in KiB.
fn bytes(bytes: f64) -> String {
    format!("{:.1}K", bytes / 1024.0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
