//! Which cells are measured, and how often.

use std::error::Error;
use std::path::Path;

use crate::average::Average;
use crate::cell::{Cell, Kind, Library};
use crate::child;

/// Written where the program is started.
const HEAP_PROF: &str = "heap.prof";

pub struct Study {
    /// Numbers of distinct values of baz.
    pub label_sets: [usize; 4],
    /// Observations of each label set, beside one.
    pub observations: [usize; 4],
    /// Label sets that are observed so often; of summaries a tenth, as each takes hundreds of times as much.
    pub observed_sets: usize,
    pub runs: u64,
    /// Beginnings of names of cells; none for all of them.
    pub chosen: Vec<String>,
    /// The cell that heap.prof shows.
    pub heap_prof: Cell,
    /// Whether to print all that the document has beside the tables.
    pub is_document: bool,
    pub is_quick: bool,
}

/// The runs of one cell, put together.
pub struct CellResult {
    pub cell: Cell,
    pub average: Average,
}

impl Study {
    pub fn full() -> Self {
        Self {
            label_sets: [25_000, 50_000, 75_000, 100_000],
            observations: [250, 500, 750, 1_000],
            observed_sets: 10_000,
            runs: 3,
            chosen: Vec::new(),
            heap_prof: histogram(100_000),
            is_document: false,
            is_quick: false,
        }
    }

    /// The same at a twenty-fifth, and once.
    pub fn quick() -> Self {
        Self {
            label_sets: [1_000, 2_000, 3_000, 4_000],
            observed_sets: 400,
            runs: 1,
            heap_prof: histogram(4_000),
            is_quick: true,
            ..Self::full()
        }
    }

    /// In the order of the tables.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for library in Library::ALL {
            for &kind in library.kinds() {
                let cell = |label_sets, observations| Cell { library, kind, label_sets, observations };
                cells.extend(self.label_sets.map(|label_sets| cell(label_sets, 1)));
                if kind.observes() {
                    let observed_sets =
                        if kind == Kind::Summary { self.observed_sets / 10 } else { self.observed_sets };
                    cells.extend(self.observations.map(|observations| cell(observed_sets, observations)));
                }
            }
        }
        cells.retain(|cell| self.chosen.is_empty() || self.chosen.iter().any(|it| cell.to_string().starts_with(it)));
        cells
    }

    /// Measures all cells, one after the other.
    pub fn run(&self) -> Result<Vec<CellResult>, Box<dyn Error>> {
        let cells = self.cells();
        if cells.is_empty() {
            return Err(format!("no cell's name begins with {}", self.chosen.join(" or ")).into());
        }
        let mut results = Vec::with_capacity(cells.len());
        for (at, &cell) in cells.iter().enumerate() {
            eprintln!("{}/{} {cell}", at + 1, cells.len());
            let runs: Vec<_> = (0..self.runs).map(|run| child::measure(cell, run, None)).collect::<Result<_, _>>()?;
            results.push(CellResult { cell, average: Average::of(runs) });
        }
        Ok(results)
    }

    /// Once more in a process of its own, as looking names up takes time and memory.
    pub fn write_heap_prof(&self) -> Result<(), Box<dyn Error>> {
        let cell = self.heap_prof;
        child::measure(cell, self.runs, Some(Path::new(HEAP_PROF)))?;
        eprintln!("{HEAP_PROF} shows {cell}: go tool pprof -top {HEAP_PROF}");
        Ok(())
    }
}

fn histogram(label_sets: usize) -> Cell {
    Cell { library: Library::Prometheus, kind: Kind::Histogram, label_sets, observations: 1 }
}
