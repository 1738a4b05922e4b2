//! What labels cost: the live heap of Prometheus clients as label values grow in number, measured by heapward with its 95%
//! intervals, and beside it the allocator's exact count, which these must hold.
//!
//! ```text
//! cargo run --release --example label_cardinality               all tables, and heap.prof of one cell
//! go tool pprof -top heap.prof                                  where that cell's memory is
//!
//!   --quick             smaller and once, in seconds
//!   --markdown          the whole document: examples/label_cardinality.md
//!   --runs N            of each cell (3); the tables show averages
//!   --heap-prof CELL    another cell for heap.prof (prometheus/histogram/100000)
//!   CELL …              only cells whose name begins so: prometheus-client/, prometheus/histogram/10000x250
//! ```
//!
//! Each run of a cell is a process of its own: this program, with `--measure CELL`. One sample in 4 KiB, 2^12; the variable
//! `MALLOC_CONF=lg_prof_sample:N` makes it another.

mod arguments;
mod average;
mod cell;
mod child;
mod coverage;
mod document;
mod exact;
mod figures;
mod go;
mod growth;
mod labels;
mod library;
mod line;
mod machine;
mod measure;
mod study;
mod table;
mod text;

use std::error::Error;

use arguments::Task;

heapward::install!("lg_prof_sample:12");

fn main() -> Result<(), Box<dyn Error>> {
    match Task::of(std::env::args().skip(1))? {
        Task::Measure { cell, run, heap_prof } => {
            println!("{}", measure::measure(cell, run, heap_prof.as_deref())?);
            Ok(())
        }
        Task::Study(study) => {
            let results = study.run()?;
            document::print(&study, &results);
            study.write_heap_prof()
        }
    }
}
