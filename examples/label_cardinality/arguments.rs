//! What the command line asks for.

use std::path::PathBuf;

use crate::cell::Cell;
use crate::study::Study;

pub enum Task {
    /// One run of one cell, in this process.
    Measure { cell: Cell, run: u64, heap_prof: Option<PathBuf> },
    /// All of it.
    Study(Study),
}

impl Task {
    pub fn of(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.collect();
        match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--measure", cell, "--run", run, rest @ ..] => {
                let heap_prof = match rest {
                    [] => None,
                    ["--heap-prof", path] => Some(PathBuf::from(path)),
                    _ => return Err(format!("unknown: {}", rest.join(" "))),
                };
                let run = run.parse().map_err(|_| format!("--run {run}: no number"))?;
                Ok(Self::Measure { cell: cell.parse()?, run, heap_prof })
            }
            arguments => Ok(Self::Study(study(arguments)?)),
        }
    }
}

fn study(arguments: &[&str]) -> Result<Study, String> {
    // What is chosen first, as other settings change it.
    let mut study = if arguments.contains(&"--quick") { Study::quick() } else { Study::full() };
    let mut arguments = arguments.iter().copied();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument {
            "--quick" => {}
            "--markdown" => study.is_document = true,
            "--runs" => {
                let runs = value()?;
                let allowed = runs.parse().ok().filter(|&runs| runs > 0);
                study.runs = allowed.ok_or_else(|| format!("--runs {runs}: allowed is 1 and more"))?;
            }
            "--heap-prof" => study.heap_prof = value()?.parse()?,
            option if option.starts_with('-') => {
                return Err(format!(
                    "{option}: allowed are --quick, --markdown, --runs N, --heap-prof CELL, and beginnings of cells"
                ));
            }
            beginning => study.chosen.push(beginning.to_owned()),
        }
    }
    Ok(study)
}
