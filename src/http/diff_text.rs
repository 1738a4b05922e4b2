//! A diff as a table, for people.

use std::fmt::Write as _;

use super::amounts::{bytes, change, size};
use super::json::time;
use crate::analysis::{Age, DiffRow, Site};
use crate::profile::ByteSize;
use crate::profiler::{DiffReport, When};

/// The rows of a report. `all`: those that may be chance were asked for too.
pub(super) fn diff_table(report: &DiffReport, all: bool) -> String {
    let DiffReport { base, later, sample_interval, by, diff, remarks } = report;
    let apart = later.time.duration_since(base.time).unwrap_or_else(|backwards| backwards.duration());
    let mut text = format!(
        "{} against {}, {:.1} s apart, by {}\n",
        described(later),
        described(base),
        apart.as_secs_f64(),
        by.name()
    );
    let total = &diff.total;
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!(
        "one sample in {} on average; estimates with the bounds of 95% confidence",
        ByteSize::bytes(*sample_interval)
    ));
    line(format_args!(
        "in all: {}, born {}, freed {}; before {}, after {}; allocated in between {}",
        change(&total.net.bytes),
        bytes(&total.born.bytes),
        bytes(&total.freed.bytes),
        bytes(&total.before.bytes),
        bytes(&total.after.bytes),
        ByteSize::bytes(total.allocated_bytes)
    ));
    if diff.detection_limit > 0.0 {
        line(format_args!(
            "smaller growth at a {} may be missed: {}; up to {} leaves no trace in one of twenty cases",
            by.name(),
            size(diff.detection_limit),
            size(diff.traceless)
        ));
    }
    remarks.iter().for_each(|remark| line(format_args!("{remark}")));
    let net: Vec<String> = diff.rows.iter().map(|row| change(&row.figures.net.bytes)).collect();
    let width = net.iter().map(|net| net.chars().count()).max().unwrap_or(0);
    for (row, net) in diff.rows.iter().zip(net) {
        let born = size(row.figures.born.bytes.estimate);
        let freed = size(row.figures.freed.bytes.estimate);
        let noise = if row.is_significant { "" } else { "  (may be noise)" };
        line(format_args!("{net:>width$}  born {born}  freed {freed}  {}{noise}", place(&row.site)));
        row.stack.iter().for_each(|frame| line(format_args!("{:width$}    {}", "", place(frame))));
        if let Some(history) = history(row) {
            line(format_args!("{:width$}  {history}", ""));
        }
    }
    let listed = diff.changed - if all { 0 } else { diff.not_significant };
    if listed > diff.rows.len() {
        line(format_args!("{} more rows changed; ?n=", listed - diff.rows.len()));
    }
    if !all && diff.not_significant > 0 {
        line(format_args!(
            "{} rows whose change cannot be told from sampling noise are not listed; ?all=true",
            diff.not_significant
        ));
    }
    text
}

fn described(when: &When) -> String {
    match when.id {
        Some(id) => format!("snapshot {id} ({})", time(when.time)),
        None => format!("the live heap ({})", time(when.time)),
    }
}

/// Birthdays and the baseline, in one line.
fn history(row: &DiffRow) -> Option<String> {
    let age = |Age { before, bytes }: &Age| match before {
        Some((id, _)) => format!("{} before snapshot {id}", size(*bytes)),
        None => format!("{} since", size(*bytes)),
    };
    let mut parts = Vec::new();
    if !row.ages.is_empty() {
        parts.push(format!("alive by birth: {}", row.ages.iter().map(age).collect::<Vec<_>>().join(", ")));
    }
    parts.extend(row.since_baseline.map(|net| format!("since the baseline {}", change(&net.bytes))));
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn place(site: &Site) -> String {
    match (site.file.as_str(), site.line) {
        ("", _) => site.function.clone(),
        (file, 0) => format!("{} {file}", site.function),
        (file, line) => format!("{} {file}:{line}", site.function),
    }
}
