//! Numbers as people read them.

use crate::format::call_tree::Values;
use crate::profile::{ByteSize, SampleType};

/// What a value counts.
pub(super) fn noun(value: SampleType) -> &'static str {
    match value.unit {
        "count" => "objects",
        unit => unit,
    }
}

/// `1.3 MiB` or `1,204 objects`.
pub(super) fn amount(value: SampleType, number: u64) -> String {
    match value.unit {
        "bytes" => ByteSize::bytes(number).to_string(),
        _ => format!("{} {}", grouped(number), noun(value)),
    }
}

/// `+1.3 MiB`, `-12 B`, `+0 B`.
pub(super) fn signed(value: SampleType, change: i64) -> String {
    format!("{}{}", if change < 0 { '-' } else { '+' }, amount(value, change.unsigned_abs()))
}

/// `+1.3 MiB (12.0 MiB → 13.3 MiB)`.
pub(super) fn change(value: SampleType, values: &Values) -> String {
    let (first, second) = (amount(value, values.first), amount(value, values.second));
    match values.change() {
        0 => format!("unchanged ({first})"),
        change => format!("{} ({first} → {second})", signed(value, change)),
    }
}

/// `1 frame`, `1,204 frames`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1,204`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SAMPLE_TYPES;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 12, 999, 1_000, 1_204, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "999", "1,000", "1,204", "123,456", "1,234,567"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "frame")), ["0 frames", "1 frame", "2 frames"]);
    }

    #[test]
    fn a_change_tells_both_values() {
        let [objects, bytes, ..] = SAMPLE_TYPES;
        let values = |first, second| Values { first, second, width: 0 };
        assert_eq!(change(bytes, &values(1024, 512)), "-512 B (1.0 KiB → 512 B)");
        assert_eq!(change(bytes, &values(0, 1024)), "+1.0 KiB (0 B → 1.0 KiB)");
        assert_eq!(change(bytes, &values(7, 7)), "unchanged (7 B)");
        assert_eq!(change(objects, &values(0, 1204)), "+1,204 objects (0 objects → 1,204 objects)");
    }
}
