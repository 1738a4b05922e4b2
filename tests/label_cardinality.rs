//! `examples/label_cardinality`, run as a user runs it: heapward's intervals must hold the allocator's exact growth as often
//! as they promise, and where every object is a sample its estimate must be that growth.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use heapward::HeapProfile;

/// The example, built if it is not: a test on its own does not build examples.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", "label_cardinality"]);
    // As this test was built, so that nothing is built anew.
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !cfg!(feature = "c-malloc") {
        build.arg("--no-default-features");
    }
    if cfg!(feature = "cpu") {
        build.args(["--features", "cpu"]);
    }
    assert!(build.status().expect("cargo runs").success());
    let test = std::env::current_exe().expect("a path");
    // target/debug/deps/label_cardinality-…
    test.ancestors().nth(2).expect("a folder of a profile").join("examples/label_cardinality")
});

/// A cell as `--measure` prints it, in bytes.
#[derive(Debug)]
struct Figures {
    exact: f64,
    estimate: f64,
    low: f64,
    high: f64,
}

impl Figures {
    /// How many standard deviations the estimate is off: the interval has 1.96 to each side.
    fn deviations(&self) -> f64 {
        (self.estimate - self.exact) / ((self.high - self.low) / 3.92)
    }

    fn holds(&self) -> bool {
        (self.low..=self.high).contains(&self.exact)
    }
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the example runs");
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

/// A row of a table: without what stands first, numbers in KiB.
fn row(line: &str) -> Option<Figures> {
    let mut cells = line.strip_prefix("| ")?.split('|').map(|cell| cell.trim().replace(',', ""));
    cells.next()?.parse::<f64>().ok()?;
    let estimate = cells.next()?.parse().ok()?;
    let interval = cells.next()?;
    let (low, high) = interval.split_once(" to ")?;
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    Some(Figures { exact: cells.next()?.parse().ok()?, estimate, low, high })
}

#[test]
fn the_quick_study_holds_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(Command::new(&*PROGRAM).arg("--quick").current_dir(&folder));
    let rows: Vec<Figures> = printed.lines().filter_map(row).collect();
    assert_eq!(rows.len(), 64, "{printed}");

    // Of 64 intervals of 95%, 16 and more fail in one of ten million studies. What is printed is rounded to KiB, and the
    // intervals are not so wide that this would matter often.
    let held = rows.iter().filter(|row| row.holds()).count();
    assert!(held > 48, "{held} of {}:\n{printed}", rows.len());
    // What is told of it is told of the figures before they are rounded.
    let told =
        printed.lines().find_map(|line| line.strip_prefix("In ")?.split_once(" of 64 runs heapward's 95% interval"));
    let told: usize = told.unwrap_or_else(|| panic!("{printed}")).0.parse().unwrap();
    assert!(told > 48 && told.abs_diff(held) <= 4, "{told} told, {held} found:\n{printed}");

    // And it is not off to one side: the mean of 64 has a deviation of an eighth; five of them are one in a million.
    let mean = rows.iter().map(Figures::deviations).sum::<f64>() / rows.len() as f64;
    assert!(mean.abs() < 5.0 / 8.0, "{mean} standard deviations on average:\n{printed}");
    // Nor are the intervals much too narrow or too wide: the mean square is 1, and in one of a million studies outside of this.
    let square = rows.iter().map(|row| row.deviations().powi(2)).sum::<f64>() / rows.len() as f64;
    assert!((0.3..2.2).contains(&square), "{square} variances on average:\n{printed}");

    for said in ["linear", "Independent of observations", "Not independent of observations", "## prometheus 0."] {
        assert!(printed.contains(said), "{said} is missing:\n{printed}");
    }
    heap_prof_shows_the_cell(&std::fs::read(folder.path().join("heap.prof")).unwrap());
}

/// The largest histogram of the quick study: 4 MB, of which one sample in 4 KiB tells to 10% with six deviations.
#[track_caller]
fn heap_prof_shows_the_cell(bytes: &[u8]) {
    let profile = HeapProfile::read(bytes).unwrap();
    assert_eq!(profile.sample_interval(), Some(4096));
    let bytes = profile.totals().inuse_bytes;
    assert!((3_300_000..5_300_000).contains(&bytes), "{bytes}");
    let top = profile.top(5);
    assert!(top.iter().all(|site| site.function.contains("prometheus")), "{top:#?}");
    assert!(top.iter().any(|site| site.function.contains("histogram")), "{top:#?}");
}

/// With a sample for every object nothing is left to chance.
#[test]
fn the_estimate_is_the_exact_growth_where_every_object_is_a_sample() {
    for cell in [
        "prometheus/counter/700",
        "prometheus/gauge/700",
        "prometheus/histogram/500x50",
        "prometheus-client/counter/1800",
        "prometheus-client/gauge/1800",
        "prometheus-client/histogram/500x50",
        "metrics-exporter-prometheus/counter/700",
        "metrics-exporter-prometheus/gauge/700",
        "metrics-exporter-prometheus/histogram/500x50",
        "metrics-exporter-prometheus/summary/20x50",
        "metrics-exporter-prometheus/pending-histogram/300x100",
    ] {
        let mut command = Command::new(&*PROGRAM);
        command.args(["--measure", cell, "--run", "1"]).env("MALLOC_CONF", "lg_prof_sample:0");
        let line = run(command.env("HEAPWARD_PROFILES_DIR", "off"));
        let figures: Vec<f64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [exact, estimate, low, high, _, interval] = figures[..] else { panic!("{line}") };
        assert_eq!((low, high, interval), (estimate, estimate, 1.0), "{cell}: {line}");
        // The question itself is alive while it is answered: some hundred bytes.
        let question = estimate - exact;
        assert!((0.0..2_000.0).contains(&question) && exact > 200_000.0, "{cell}: {line}");
    }
}

#[test]
fn heap_prof_shows_the_cell_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(&*PROGRAM);
    command.args(["--quick", "--runs", "2", "--heap-prof", "prometheus-client/counter/3000", "prometheus/gauge/1000"]);
    let printed = run(command.current_dir(&folder));
    assert_eq!(printed.lines().filter_map(row).count(), 1, "{printed}");
    assert!(printed.contains(" of 2 |") && printed.contains("average of 2 runs"), "{printed}");
    let profile = HeapProfile::read(&std::fs::read(folder.path().join("heap.prof")).unwrap()).unwrap();
    let top = profile.top(3);
    assert!(top.iter().any(|site| site.function.contains("prometheus_client")), "{top:#?}");
}

#[test]
fn what_is_not_understood_is_told() {
    for (arguments, expect) in [
        (&["--quik"][..], "allowed are --quick"),
        (&["--runs", "0"], "allowed is 1 and more"),
        (&["--heap-prof"], "wants a value"),
        (&["--heap-prof", "prometheus/summary/10"], "prometheus/{counter,gauge,histogram}"),
        (&["go/"], "no cell's name begins with go/"),
    ] {
        let output = Command::new(&*PROGRAM).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expect), "{arguments:?}: {said}");
    }
}
