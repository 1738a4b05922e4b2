//! A diff as a table, for people.

use std::io::{self, Write};

use super::json::time;
use crate::analysis::{Age, DiffRow, Site};
use crate::profile::ByteSize;
use crate::profiler::{DiffReport, When};

/// Writes the rows of a report. `all`: those that may be chance were asked for too.
pub(super) fn diff_table(report: &DiffReport, all: bool, out: &mut impl Write) -> io::Result<()> {
    let DiffReport { base, later, apart, sample_interval, by, diff, is_lower_bound, remarks } = report;
    writeln!(
        out,
        "{} against {}, {:.1} s apart, by {}",
        described(later),
        described(base),
        apart.as_secs_f64(),
        by.name()
    )?;
    let total = &diff.total;
    let allocated = total.allocated.map(|allocated| ByteSize::bytes(allocated.bytes));
    let allocated = allocated.map_or(String::new(), |bytes| format!("; allocated in between {bytes}"));
    writeln!(
        out,
        "one sample in {} on average; estimates with the bounds of 95% confidence",
        ByteSize::bytes(*sample_interval)
    )?;
    writeln!(
        out,
        "in all: {}{}, born {}, freed {}; before {}, after {}{allocated}",
        if *is_lower_bound { "at least " } else { "" },
        total.net.bytes.signed_bytes(),
        total.born.bytes.bytes(),
        total.freed.bytes.bytes(),
        total.before.bytes.bytes(),
        total.after.bytes.bytes()
    )?;
    if diff.detection_limit > 0.0 {
        writeln!(
            out,
            "smaller growth at a {} may be missed: {}; up to {} leaves no trace in one of twenty cases",
            by.name(),
            size(diff.detection_limit),
            size(diff.traceless)
        )?;
    }
    for remark in remarks {
        writeln!(out, "{remark}")?;
    }
    let net: Vec<String> = diff.rows.iter().map(|row| row.figures.net.bytes.signed_bytes().to_string()).collect();
    let width = net.iter().map(|net| net.chars().count()).max().unwrap_or(0);
    for (row, net) in diff.rows.iter().zip(net) {
        let born = size(row.figures.born.bytes.estimate);
        let freed = size(row.figures.freed.bytes.estimate);
        let noise = if row.is_significant { "" } else { "  (may be noise)" };
        writeln!(out, "{net:>width$}  born {born}  freed {freed}  {}{noise}", place(&row.site))?;
        for frame in &row.stack {
            writeln!(out, "{:width$}    {}", "", place(frame))?;
        }
        if let Some(history) = history(row) {
            writeln!(out, "{:width$}  {history}", "")?;
        }
    }
    let listed = diff.changed - if all { 0 } else { diff.not_significant };
    if listed > diff.rows.len() {
        writeln!(out, "{} more of the rows that changed: ?n=", listed - diff.rows.len())?;
    }
    if !all && diff.not_significant > 0 {
        writeln!(
            out,
            "{} rows whose change cannot be told from sampling noise are not listed; ?all=true",
            diff.not_significant
        )?;
    }
    Ok(())
}

fn described(when: &When) -> String {
    match (when.id, when.run) {
        (Some(id), Some(run)) => format!("snapshot {id} of run {run} ({})", time(when.time)),
        (Some(id), None) => format!("snapshot {id} ({})", time(when.time)),
        (None, _) => format!("the live heap ({})", time(when.time)),
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
        let mut ages: Vec<String> = row.ages.iter().map(age).collect();
        if let Some(oldest) = ages.first_mut().filter(|_| row.ages_folded) {
            oldest.push_str(" (all older ages in one)");
        }
        parts.push(format!("alive by birth: {}", ages.join(", ")));
    }
    parts.extend(row.since_baseline.map(|net| format!("since the baseline {}", net.bytes.signed_bytes())));
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn place(site: &Site) -> String {
    match (site.file.as_str(), site.line) {
        ("", _) => site.function.clone(),
        (file, 0) => format!("{} {file}", site.function),
        (file, line) => format!("{} {file}:{line}", site.function),
    }
}

fn size(bytes: f64) -> ByteSize {
    ByteSize::bytes(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::diff_json::DiffJson;
    use super::*;
    use crate::analysis::{Amount, Change, Diff, Figures, Grouping};
    use crate::golden;
    use crate::profile::{SampleInterval, Sums};

    const INTERVAL: u64 = 1 << 19;

    fn site(function: &str, file: &str, line: u32) -> Site {
        Site { function: function.into(), file: file.into(), line }
    }

    /// Of so many samples of 4 KiB and of 1 MiB born, freed and surviving.
    fn change(born: [u32; 2], freed: [u32; 2], survived: [u32; 2]) -> Change {
        let interval = SampleInterval::from_bytes(INTERVAL).unwrap();
        let sums = |[small, large]: [u32; 2]| -> Sums {
            interval.weigh(4096).times(small) + interval.weigh(1 << 20).times(large)
        };
        let (born, freed, survived) = (sums(born), sums(freed), sums(survived));
        Change { stack: 1, born, freed, survived, allocated_objects: 9000, allocated_bytes: 90 << 20 }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn report(by: Grouping) -> DiffReport {
        let interval = SampleInterval::from_bytes(INTERVAL).unwrap();
        let row = |site: Site, change: Change, p_value: f64| DiffRow {
            stack: if by == Grouping::Stack {
                vec![site.clone(), self::site("main", "src/main.rs", 3)]
            } else {
                vec![]
            },
            site,
            figures: Figures::of(&change, interval),
            p_value,
            adjusted_p_value: (3.0 * p_value).min(1.0),
            is_significant: 3.0 * p_value <= 0.05,
            ages_folded: change.freed.objects == 3,
            ages: vec![
                Age { before: Some((3, at(0))), bytes: change.survived.estimated_bytes },
                Age { before: None, bytes: change.born.estimated_bytes },
            ],
            since_baseline: Some(Amount::net(&change, interval)),
        };
        let rows = vec![
            row(site("service::session::open", "src/session.rs", 12), change([240, 0], [3, 0], [40, 1]), 1e-30),
            row(site("<&str as \"quoted\">::b", "", 0), change([0, 0], [7, 9], [0, 0]), 1e-4),
            DiffRow {
                ages: vec![],
                since_baseline: None,
                ..row(site("service+0x1f2a", "", 0), change([2, 0], [1, 0], [0, 0]), 0.7)
            },
        ];
        DiffReport {
            base: When { id: Some(3), run: None, time: at(0) },
            // The wall clock was set back meanwhile.
            later: When { id: None, run: None, time: at(1) },
            apart: Duration::from_secs(61),
            sample_interval: INTERVAL,
            by,
            diff: Diff {
                rows,
                total: Figures::of(&change([242, 0], [11, 9], [40, 1]), interval),
                changed: 12,
                not_significant: 9,
                below_limit: 8,
                detection_limit: 9.0 * INTERVAL as f64,
                traceless: interval.unseen_limit(),
            },
            is_lower_bound: false,
            remarks: vec!["partial: why".to_owned()],
        }
    }

    #[test]
    fn text_and_json_are_as_they_were() {
        let table = |report: &DiffReport, all: bool| {
            let mut text = Vec::new();
            diff_table(report, all, &mut text).unwrap();
            text
        };
        golden::check("diff_all.txt", table(&report(Grouping::Site), true));
        let mut significant = report(Grouping::Stack);
        significant.diff.rows.truncate(2);
        golden::check("diff.txt", table(&significant, false));
        golden::check("diff.json", serde_json::to_vec_pretty(&DiffJson::of(report(Grouping::Site))).unwrap());
    }
}
