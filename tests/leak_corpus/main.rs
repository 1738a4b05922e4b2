//! Small services that leak and that do not, each run for real in a process of its own, with heapward asked at the end
//! who leaks. Prints what it said of each, precision and recall, and fails when either is below 1.
//!
//! `cargo test --test leak_corpus`, or `cargo test --test leak_corpus -- NAME …` for some of them.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod corpus;
mod growth;
mod leaks;
mod report;
mod run;
mod score;
mod steady;
mod verdict;
mod workload;

use std::process::ExitCode;

heapward::install!("lg_prof_sample:12");

/// The mean sample interval that the line above asks for, in bytes.
const SAMPLE_INTERVAL: f64 = 4096.0;

/// Comes before the name of a workload: then this process is one, and nothing else.
const CHILD: &str = "--workload";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [CHILD, name] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return child::run(name);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // What the usual harness would answer: none of the workloads is ignored.
    let ignored_only = has("--ignored");
    if has("--list") {
        let names = workload::ALL.iter().filter(|_| !ignored_only);
        names.for_each(|workload| println!("{}: test", workload.name));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<_> = workload::ALL.iter().filter(|it| !ignored_only && is_chosen(it.name, &arguments)).collect();
    if chosen.is_empty() {
        println!("none of the {} workloads is asked for", workload::ALL.len());
        return ExitCode::SUCCESS;
    }
    corpus::run(&chosen)
}

/// Options of the usual harness whose value is an argument of its own.
const WITH_VALUE: [&str; 6] = ["--color", "--format", "--logfile", "--shuffle-seed", "--test-threads", "-Z"];

/// Whether arguments such as those of the usual harness ask for a workload: by a part of its name, or by no name at all.
fn is_chosen(name: &str, arguments: &[String]) -> bool {
    let (mut is_wanted, mut is_any_wanted) = (false, true);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "--skip" if arguments.next().is_some_and(|part| name.contains(part)) => return false,
            "--skip" => {}
            option if WITH_VALUE.contains(&option) => drop(arguments.next()),
            option if option.starts_with('-') => {}
            part => {
                is_any_wanted = false;
                is_wanted |= name.contains(part);
            }
        }
    }
    is_wanted || is_any_wanted
}
