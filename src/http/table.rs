//! The table of the largest sites, for people.

use crate::analysis::{Amount, Top};
use crate::profile::{ByteSize, INUSE_OBJECTS, INUSE_SPACE, SAMPLE_TYPES};

/// The sites of `top` with their value at index `by` of [`SAMPLE_TYPES`].
pub(super) fn table(top: &Top, by: usize) -> String {
    let unit = SAMPLE_TYPES[by].unit;
    let show = |value: i64| match unit {
        "bytes" => format!("{}{}", if value < 0 { "-" } else { "" }, ByteSize::bytes(value.unsigned_abs())),
        _ => value.to_string(),
    };
    let measured = |value: i64, inuse: &Option<Amount>| match (by, inuse) {
        (INUSE_SPACE, Some(inuse)) => inuse.bytes.bytes().to_string(),
        (INUSE_OBJECTS, Some(inuse)) => inuse.objects.count().to_string(),
        _ => show(value),
    };
    let total = top.totals[by];
    let mut text = format!(
        "{} of {} sites, by {}; estimated, {} in all\n",
        top.rows.len(),
        top.sites,
        SAMPLE_TYPES[by].name,
        measured(total, &top.inuse)
    );
    let shown: Vec<String> = top.rows.iter().map(|row| measured(row.values[by], &row.inuse)).collect();
    let width = shown.iter().map(|value| value.chars().count()).max().unwrap_or(0);
    for (row, shown) in top.rows.iter().zip(shown) {
        let value = row.values[by];
        let share = if total == 0 { 0.0 } else { 100.0 * value as f64 / total as f64 };
        let place = match row.site.file.as_str() {
            "" => String::new(),
            file => format!(" {file}:{}", row.site.line),
        };
        text.push_str(&format!("{shown:>width$} {share:>5.1}% {}{place}\n", row.site.function));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::json::TopReport;
    use super::table;
    use crate::analysis::{Amount, Site, Top, TopRow};
    use crate::golden;
    use crate::profile::{INUSE_OBJECTS, INUSE_SPACE, Sums};

    fn top() -> Top {
        let site = |function: &str, file: &str, line| Site { function: function.into(), file: file.into(), line };
        let inuse = |objects: u64, estimated_objects: f64, estimated_bytes: f64| {
            let relative = 1.0 / objects as f64;
            Some(Amount::of(&Sums {
                objects,
                bytes: objects * 4096,
                estimated_objects,
                estimated_bytes,
                variance_objects: estimated_objects * estimated_objects * relative,
                variance_bytes: estimated_bytes * estimated_bytes * relative,
            }))
        };
        Top {
            rows: vec![
                TopRow {
                    site: site("service::open", "src/session.rs", 12),
                    values: [9000, 900 << 20, 5000, 500 << 20],
                    inuse: inuse(1000, 5000.0, (500 << 20) as f64),
                },
                TopRow {
                    site: site("<&str as \"quoted\">::b", "", 0),
                    values: [300, 3_000_000, 200, 2_000_000],
                    inuse: inuse(40, 200.0, 2_000_000.0),
                },
                // A difference shrinks.
                TopRow { site: site("service+0x1f2a", "", 0), values: [0, 0, -1, -1024], inuse: None },
            ],
            totals: [20_000, 1200 << 20, 10_000, 600 << 20],
            inuse: inuse(1100, 10_000.0, (600 << 20) as f64),
            sites: 7,
        }
    }

    #[test]
    fn text_and_json_are_as_they_were() {
        golden::check("top_by_bytes.txt", table(&top(), INUSE_SPACE));
        golden::check("top_by_objects.txt", table(&top(), INUSE_OBJECTS));
        golden::check("top_by_allocated.txt", table(&top(), 0));
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let report = TopReport::of(top(), time, vec!["heapward".to_owned(), "partial: why".to_owned()]);
        golden::check("top.json", serde_json::to_vec_pretty(&report).unwrap());
    }
}
