//! What is printed: Markdown.

use crate::cell::{Kind, Library};
use crate::coverage::Coverage;
use crate::figures::Figures;
use crate::study::{CellResult, Study};
use crate::table::Table;
use crate::text::{count, kib, number, print_paragraph, title};
use crate::{go, growth, machine};

pub fn print(study: &Study, results: &[CellResult]) {
    println!("# What labels cost\n");
    introduce(study, results);
    for library in Library::ALL {
        let of_library: Vec<&CellResult> = results.iter().filter(|result| result.cell.library == library).collect();
        if of_library.is_empty() {
            continue;
        }
        println!("## {}\n", machine::version(library));
        library.kinds().iter().for_each(|&kind| print_kind(kind, &of_library));
    }
    judge(study, results);
    if study.is_document {
        go::compare(results);
    }
}

fn introduce(study: &Study, results: &[CellResult]) {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let options = [(study.is_quick, " --quick"), (study.is_document, " --markdown")];
    let options: String = options.iter().filter(|(is_set, _)| *is_set).map(|(_, option)| *option).collect();
    print_paragraph(&format!(
        "Printed by `label_cardinality{options}` ({build} build, {}) on {}.",
        machine::rustc(),
        machine::machine()
    ));
    let runs = match study.runs {
        1 => "is of one run".to_owned(),
        runs => format!("is the average of {runs} runs, each"),
    };
    print_paragraph(&format!(
        "The live heap of metrics with labels foo, bar and baz, where baz has as many distinct values as there are label \
         sets. Each figure {runs} in a process of its own, with one sample in {} bytes. *Estimate* and *95% interval* are \
         heapward's, of what the heap grew by (`Profiler::diff_live`); the interval is that of the average. *Exact* is what \
         jemalloc counted for the thread that did it, `thread.allocated` less `thread.deallocated`. Both are usable sizes: \
         what the allocator set aside for an object, which is more than was asked for. KiB are what pprof calls kB.",
        number(results[0].average.figures.sample_interval, 0)
    ));
    if study.is_document {
        print!("{}", include_str!("how_to_read.md"));
        println!();
    }
}

fn print_kind(kind: Kind, results: &[&CellResult]) {
    let of_kind = |is_observed: bool| -> Vec<&CellResult> {
        let of_kind = results.iter().filter(|result| result.cell.kind == kind);
        of_kind.filter(|result| (result.cell.observations > 1) == is_observed).copied().collect()
    };
    let by_label_sets = of_kind(false);
    if !by_label_sets.is_empty() {
        println!("### {}\n", title(kind));
        println!("{}", table("label sets", &by_label_sets, |result| result.cell.label_sets));
        if by_label_sets.len() > 1 {
            print_paragraph(&growth::by_label_sets(&by_label_sets));
        }
    }
    let by_observations = of_kind(true);
    if let Some(first) = by_observations.first() {
        println!("### {}, {} label sets\n", title(kind), count(first.cell.label_sets));
        println!("{}", table("observations of each", &by_observations, |result| result.cell.observations));
        if by_observations.len() > 1 {
            print_paragraph(&growth::by_observations(&by_observations));
        }
    }
}

fn table(what: &str, results: &[&CellResult], size: fn(&CellResult) -> usize) -> Table {
    let heading =
        [what, "estimate, KiB", "95% interval, KiB", "exact, KiB", "within", "runs within", "exact bytes a label set"];
    let mut table = Table::new(heading);
    for result in results {
        let average = &result.average;
        let Figures { exact, estimate, low, high, .. } = average.figures;
        let within = average.runs.iter().filter(|run| run.holds()).count();
        table.row([
            count(size(result)),
            kib(estimate),
            format!("{} to {}", kib(low), kib(high)),
            kib(exact),
            if average.figures.holds() { "yes" } else { "no" }.to_owned(),
            format!("{within} of {}", average.runs.len()),
            number(average.bytes_per_label_set(result.cell.label_sets), 1),
        ]);
    }
    table
}

/// Says how often the intervals held the exact growth.
fn judge(study: &Study, results: &[CellResult]) {
    let of_runs = Coverage::of(results.iter().flat_map(|result| &result.average.runs).map(Figures::holds));
    println!("## Do the intervals hold?\n");
    let mut said = format!(
        "In {} of {} runs heapward's 95% interval held the exact growth; right intervals do so in {} to {} (99 of 100 \
         times).",
        of_runs.held,
        of_runs.of,
        of_runs.least_expected(),
        of_runs.most_expected()
    );
    if study.runs > 1 {
        let averages = Coverage::of(results.iter().map(|result| result.average.figures.holds()));
        said += &format!(
            " Of the {} averages, {} did; right ones, {} to {}.",
            averages.of,
            averages.held,
            averages.least_expected(),
            averages.most_expected()
        );
    }
    let errors = results.iter().flat_map(|result| &result.average.runs).map(|run| run.estimate / run.exact - 1.0);
    let largest = errors.fold(0f64, |largest, error| if error.abs() > largest.abs() { error } else { largest });
    said += &format!(" The estimate that was farthest off in a single run was off by {:+.1}%.", 100.0 * largest);
    print_paragraph(&said);
}
