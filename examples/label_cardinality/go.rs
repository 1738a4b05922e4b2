//! Figures of Go's client, to compare with. They were given by the first users of this study, not measured here.

use crate::average::Average;
use crate::cell::{Cell, Kind, Library};
use crate::study::CellResult;
use crate::table::Table;
use crate::text::{count, list, mib, number, print_paragraph, title};

/// Kind, label sets, what the users read off Go's heap profile, and what a later run of theirs read there and counted exactly.
const GIVEN: [(Kind, usize, &str, &str, &str); 8] = [
    (Kind::Counter, 25_000, "21,267 kB", "10.8 MB", "14.2 MB"),
    (Kind::Counter, 50_000, "32,551 kB", "29.3 MB", "27.0 MB"),
    (Kind::Counter, 75_000, "47,127 kB", "44.5 MB", "40.6 MB"),
    (Kind::Counter, 100_000, "55.5 MB", "60.0 MB", "52.6 MB"),
    (Kind::Gauge, 25_000, "18,707 kB", "", ""),
    (Kind::Gauge, 100_000, "56.5 MB", "42.5 MB", "49.5 MB"),
    (Kind::Histogram, 25_000, "29 MB", "", ""),
    (Kind::Histogram, 100_000, "99 MB", "", ""),
];

pub fn compare(results: &[CellResult]) {
    println!("## Beside Go's client\n");
    print_paragraph(
        "Go's figures are as given by those who first asked what labels cost: read off its heap profile, and, run again on this \
         kind of machine, read off beside its exact heap. They were not measured here, and their buckets and label values may be \
         others. Of the crates it is the exact growth, in MiB, which pprof calls MB.",
    );
    let [first, second, third] = Library::ALL.map(Library::name);
    let mut table = Table::new(["kind", "label sets", "Go, given", "again", "its exact heap", first, second, third]);
    for (kind, label_sets, given, again, exact) in GIVEN {
        let measured =
            |library| find(results, library, kind, label_sets).map_or(String::new(), |it| mib(it.figures.exact));
        let [first, second, third] = Library::ALL.map(measured);
        let text = str::to_owned;
        table.row([text(title(kind)), count(label_sets), text(given), text(again), text(exact), first, second, third]);
    }
    println!("{table}");
    const MANY: usize = 100_000;
    let each = Library::ALL.iter().filter_map(|&library| {
        let bytes = find(results, library, Kind::Counter, MANY)?.bytes_per_label_set(MANY);
        Some(format!("{} in {}", number(bytes, 0), library.name()))
    });
    print_paragraph(&format!(
        "With {} label sets a counter takes, in bytes a label set, {}. As given, Go's profile was off its own exact heap by up to \
         24% and did not say so: it has no interval. It also takes one sample in 512 KiB, where these have one in {}
         bytes.",
        count(MANY),
        list(&each.collect::<Vec<_>>()),
        number(results[0].average.figures.sample_interval, 0)
    ));
}

fn find(results: &[CellResult], library: Library, kind: Kind, label_sets: usize) -> Option<&Average> {
    let wanted = Cell { library, kind, label_sets, observations: 1 };
    results.iter().find(|result| result.cell == wanted).map(|result| &result.average)
}
