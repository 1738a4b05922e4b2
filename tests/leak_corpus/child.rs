//! One workload, in a process of its own.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use heapward::{ByteSize, Profiler, SnapshotInfo};

use crate::common::{fail_fast, set_sampled, step};
use crate::growth::Series;
use crate::report::{MARK, Report, Truth};
use crate::run::{Run, TICKS};
use crate::verdict;
use crate::workload::{Workload, named};

/// Fewer snapshots than this tell too little.
const LEAST_SNAPSHOTS: usize = 16;

/// The time between two looks at what the service holds.
const LOOK: Duration = Duration::from_millis(10);

/// Runs the workload of that name with heapward beside it, and prints a [`Report`].
pub fn run(name: &str) -> ExitCode {
    let Some(workload) = named(name) else {
        eprintln!("there is no workload `{name}`");
        return ExitCode::FAILURE;
    };
    fail_fast();
    // This thread is none of the service's.
    set_sampled(false);
    let report = watch(workload);
    println!("{MARK}{}", serde_json::to_string(&report).expect("a report is plain data"));
    ExitCode::SUCCESS
}

fn watch(workload: &Workload) -> Report {
    step("starting heapward");
    let profiler = Profiler::builder()
        .listen("off")
        // Any service is above this.
        .rss_threshold(ByteSize::mib(1))
        .poll_interval(Duration::from_millis(50))
        .min_interval(Duration::from_millis(250))
        .history(100)
        // Names are those of the files themselves, on every machine.
        .debug_dirs(Vec::<&str>::new())
        .start()
        .expect("heapward starts");
    let run = Run::begin();
    let report = std::thread::scope(|scope| {
        scope.spawn(|| (workload.serve)(&run));
        step("running the service");
        let mut looks = Vec::with_capacity(2 * TICKS as usize + 64);
        while let Some(left) = run.left() {
            looks.push(Look { time: SystemTime::now(), held: run.held() });
            std::thread::sleep(left.min(LOOK));
        }
        looks.push(Look { time: SystemTime::now(), held: run.held() });
        // The service goes on meanwhile, so that heapward sees no end of the growth.
        step("asking who leaks");
        let report = report(workload, &profiler, &looks);
        run.end();
        step("ending the service");
        report
    });
    step("ending heapward");
    profiler.shutdown();
    report
}

fn report(workload: &Workload, profiler: &Profiler, looks: &[Look]) -> Report {
    // Those that were taken since the last look are not for comparing with the truth.
    let last_look = looks.last().map(|look| look.time);
    let snapshots: Vec<SnapshotInfo> =
        profiler.snapshots().into_iter().filter(|snapshot| Some(snapshot.time) <= last_look).collect();
    let partial = snapshots.iter().find_map(|snapshot| snapshot.partial.clone());
    assert_eq!(partial, None, "a snapshot does not show everything");
    assert!(snapshots.len() >= LEAST_SNAPSHOTS, "only {} snapshots: {}", snapshots.len(), profiler.last_decision());
    let asked = Instant::now();
    let (leaks, accused) = verdict::accused(profiler).expect("a verdict");
    let verdict_secs = asked.elapsed().as_secs_f64();
    let series = Series::of(profiler, &snapshots).expect("snapshots that are kept");
    let mut growth = series.growth();
    // Enough to see what was nearly accused; those that leak are among them.
    growth.retain({
        let mut rank = 0;
        move |row| {
            rank += 1;
            rank <= 5 || workload.label.is_leak(&row.site)
        }
    });
    let last = series.times[series.times.len() - 1];
    let since = accused.first().and_then(|accused| accused.since);
    let since = snapshots.iter().find(|snapshot| Some(snapshot.id) == since).map(|snapshot| snapshot.time);
    let since = since.unwrap_or(series.times[series.at(1, 3)]);
    let gaps = snapshots.windows(2).filter_map(|pair| pair[1].time.duration_since(pair[0].time).ok());
    Report {
        name: workload.name.to_owned(),
        snapshots: snapshots.len(),
        longest_gap_secs: gaps.max().unwrap_or_default().as_secs_f64(),
        growth,
        truth: truth(looks, series.times[series.at(1, 3)], last),
        truth_of_window: truth(looks, since, leaks.to.unwrap_or(last)),
        let_go: leaks.let_go.iter().map(|let_go| format!("{}: {}", let_go.site, let_go.evidence.verdict)).collect(),
        accused,
        peaks: peaks(looks),
        cpu_secs: cpu_secs(),
        verdict_secs,
    }
}

/// What the service held at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    time: SystemTime,
    held: i64,
}

/// What grew between two snapshots.
fn truth(looks: &[Look], from: SystemTime, to: SystemTime) -> Truth {
    // The mean of what was seen before and after.
    let held_at = |time: SystemTime| {
        let after = looks.partition_point(|look| look.time < time).min(looks.len() - 1);
        (looks[after.saturating_sub(1)].held + looks[after].held) as f64 / 2.0
    };
    Truth { growth: held_at(to) - held_at(from), secs: to.duration_since(from).unwrap_or_default().as_secs_f64() }
}

fn peaks(looks: &[Look]) -> [i64; 2] {
    let (first, second) = looks.split_at(looks.len() / 2);
    [first, second].map(|looks| looks.iter().map(|look| look.held).max().unwrap_or(0))
}

fn cpu_secs() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time`, which is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
