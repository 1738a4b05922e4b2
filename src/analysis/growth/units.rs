//! Bytes, rates and times as people read them.

/// Units of bytes, smallest first.
const SIZES: [(f64, &str); 4] =
    [(1.0, "B"), (1024.0, "KiB"), (1024.0 * 1024.0, "MiB"), (1024.0 * 1024.0 * 1024.0, "GiB")];

/// Units of time, shortest first, each with the number of seconds from which on the next one is used.
const TIMES: [(f64, &str, f64); 4] =
    [(1.0, "s", 120.0), (60.0, "min", 7200.0), (3600.0, "h", 172_800.0), (86_400.0, "days", f64::INFINITY)];

/// What a rate may be per, shortest first.
const PER: [(f64, &str); 3] = [(1.0, "s"), (60.0, "min"), (3600.0, "h")];

/// A size without sign: `18 MiB`, `3.1 MiB`.
pub(crate) fn size(bytes: f64) -> String {
    let (unit, name) = size_unit(bytes.abs(), 1.0);
    format!("{} {name}", number(bytes.abs() / unit))
}

/// A change with its margin: `+3.1 MiB ± 0.2`.
pub(crate) fn change(bytes: f64, margin: f64) -> String {
    let (unit, name) = size_unit(bytes.abs().max(margin), 1.0);
    format!("{}{} {name} ± {}", sign(bytes), number(bytes.abs() / unit), number(margin / unit))
}

/// A rate with its margin, per second, minute or hour, whichever is the first to make a kibibyte of it, and a mebibyte
/// if an hour does: `+3.1 MiB/min ± 0.2`.
pub(crate) fn rate(bytes_per_second: f64, margin: f64) -> String {
    let largest = bytes_per_second.abs().max(margin);
    let reaches = |size: f64| PER.iter().find(|(seconds, _)| largest * seconds >= size);
    let (seconds, per) = reaches(SIZES[2].0).or_else(|| reaches(SIZES[1].0)).unwrap_or(&PER[2]);
    let (unit, name) = size_unit(largest * seconds, 1.0);
    let value = |bytes: f64| number(bytes.abs() * seconds / unit);
    format!("{}{} {name}/{per} ± {}", sign(bytes_per_second), value(bytes_per_second), value(margin))
}

/// A time: `40 s`, `14 min`, `2 h`, `3 days`.
pub(crate) fn time(seconds: f64) -> String {
    let unit = TIMES.iter().find(|(.., until)| seconds < *until).unwrap_or(&TIMES[3]);
    format!("{} {}", number(seconds / unit.0), unit.1)
}

/// The largest unit of which there is at least `least`.
fn size_unit(bytes: f64, least: f64) -> (f64, &'static str) {
    SIZES.iter().rev().find(|(unit, _)| bytes >= least * unit).copied().unwrap_or(SIZES[0])
}

/// Two digits or all before the point.
fn number(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn sign(value: f64) -> &'static str {
    if value < 0.0 { "-" } else { "+" }
}
