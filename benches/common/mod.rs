//! What every benchmark does: reads its command line, runs itself as a child for each variant, and prints rows.
//!
//! The settings of jemalloc's profiler and its hooks are one a process, so each variant is a process of its own: the
//! benchmark starts itself with `--child` and reads what that prints, a JSON value a line. The other files of this folder are
//! for those benchmarks that name them.

use std::error::Error;
use std::process::Command;

use serde::Serialize;
use serde_json::{Value, json};

pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// `cargo test --benches`: the smallest case once, to see that it still works.
    Test,
    /// `--quick`: all that a change of the benchmark needs to see.
    Quick,
    Full,
}

/// What the command line asks for.
pub enum Call {
    /// To be one variant, with what `command` was given.
    Child(Vec<String>),
    /// To measure.
    Bench(Report),
}

impl Call {
    /// The command line of the benchmark `name`, whose rows are printed in `columns`.
    pub fn read(name: &'static str, columns: &'static [Column]) -> Self {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.first().is_some_and(|first| first == "--child") {
            return Self::Child(arguments.split_off(1));
        }
        let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
        // Cargo gives `--bench` to a benchmark that it benches, and nothing to one that it tests.
        let effort = match (given("--bench"), given("--quick")) {
            (false, _) => Effort::Test,
            (true, true) => Effort::Quick,
            (true, false) => Effort::Full,
        };
        let report = Report { name, columns, effort, json: given("--json"), rows: Vec::new() };
        if report.json {
            println!("{}", json!({ "bench": name, "machine": machine() }));
        }
        Self::Bench(report)
    }
}

/// Where the figures were taken.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()),
        "rustflags": option_env!("RUSTFLAGS").unwrap_or_default(),
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}

/// This program, to be run as a child with `arguments`.
pub fn command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--child").args(arguments);
    Ok(command)
}

/// Of a child: one line of its outcome.
pub fn tell(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// A column of the table: title, where in the row, what the number is divided by, decimals.
pub struct Column(pub &'static str, pub &'static str, pub f64, pub usize);

impl Column {
    fn text(&self, row: &Value) -> String {
        match row.pointer(self.1) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(true)) => "met".to_owned(),
            Some(Value::Bool(false)) => "MISSED".to_owned(),
            Some(number) => {
                number.as_f64().map_or_else(String::new, |number| format!("{:.*}", self.3, number / self.2))
            }
        }
    }
}

/// The rows of a benchmark: printed as they come with `--json`, else as one table at the end.
pub struct Report {
    name: &'static str,
    columns: &'static [Column],
    pub effort: Effort,
    json: bool,
    rows: Vec<Value>,
}

impl Report {
    /// One row, with `more` fields: the figure that it is about is the `median` of `runs` runs.
    pub fn row(&mut self, variant: &str, parameters: Value, unit: &str, median: f64, runs: usize, more: Value) {
        let mut row = json!({
            "variant": variant, "parameters": parameters, "unit": unit, "median": median, "runs": runs,
        });
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        self.add(row);
    }

    /// A row of these fields.
    pub fn add(&mut self, mut row: Value) {
        row["bench"] = self.name.into();
        if self.json {
            println!("{row}");
        }
        self.rows.push(row);
    }

    /// Prints the table, and what its columns mean.
    pub fn end(self, notes: &str) {
        if self.json {
            return;
        }
        let (bars, rows): (Vec<Value>, Vec<Value>) = self.rows.into_iter().partition(|row| row.get("bar").is_some());
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| self.columns.iter().map(|column| column.text(row)).collect()).collect();
        let width = |at: usize, title: &str| cells.iter().map(|row| row[at].len()).max().unwrap_or(0).max(title.len());
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(at, column)| width(at, column.0)).collect();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        };
        println!("\n{}, on {}", self.name, machine());
        line(&self.columns.iter().map(|column| column.0.to_owned()).collect::<Vec<_>>());
        cells.iter().for_each(|row| line(row));
        println!("\n{notes}");
        for bar in bars {
            println!("bar: {}", bar["text"].as_str().unwrap_or_default());
        }
    }
}

pub fn median<T: Copy + PartialOrd>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable_by(|a, b| a.partial_cmp(b).expect("a measured figure is a number"));
    values[values.len() / 2]
}
