//! The table of the largest sites, for people.

use crate::analysis::Top;
use crate::profile::{ByteSize, SAMPLE_TYPES};

/// The sites of `top` with their value at index `by` of [`SAMPLE_TYPES`].
pub(super) fn table(top: &Top, by: usize) -> String {
    let unit = SAMPLE_TYPES[by].unit;
    let show = |value: i64| match unit {
        "bytes" => format!("{}{}", if value < 0 { "-" } else { "" }, ByteSize::bytes(value.unsigned_abs())),
        _ => value.to_string(),
    };
    let total = top.totals[by];
    let mut text = format!(
        "{} of {} sites, by {}; estimated, {} in all\n",
        top.rows.len(),
        top.sites,
        SAMPLE_TYPES[by].name,
        show(total)
    );
    for row in &top.rows {
        let value = row.values[by];
        let share = if total == 0 { 0.0 } else { 100.0 * value as f64 / total as f64 };
        let place = match row.site.file.as_str() {
            "" => String::new(),
            file => format!(" {file}:{}", row.site.line),
        };
        text.push_str(&format!("{:>12} {share:>5.1}% {}{place}\n", show(value), row.site.function));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::json::TopReport;
    use super::table;
    use crate::analysis::{Site, Top, TopRow};
    use crate::golden;
    use crate::profile::INUSE_SPACE;

    fn top() -> Top {
        let site = |function: &str, file: &str, line| Site { function: function.into(), file: file.into(), line };
        Top {
            rows: vec![
                TopRow { site: site("service::open", "src/session.rs", 12), values: [9, 9 << 20, 5, 5 << 20] },
                TopRow { site: site("<&str as \"quoted\">::b", "", 0), values: [3, 3000, 2, 2000] },
                // A difference shrinks.
                TopRow { site: site("service+0x1f2a", "", 0), values: [0, 0, -1, -1024] },
            ],
            totals: [20, 12 << 20, 10, 6 << 20],
            sites: 7,
        }
    }

    #[test]
    fn text_and_json_are_as_they_were() {
        golden::check("top_by_bytes.txt", table(&top(), INUSE_SPACE));
        golden::check("top_by_objects.txt", table(&top(), 0));
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let report = TopReport::of(top(), time, vec!["heapward".to_owned(), "partial: why".to_owned()]);
        golden::check("top.json", serde_json::to_vec_pretty(&report).unwrap());
    }
}
