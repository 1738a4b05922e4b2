//! Amounts as people read them.

use crate::profile::{ByteSize, Interval};

/// A size without its sign.
pub(super) fn size(bytes: f64) -> ByteSize {
    ByteSize::bytes(bytes.abs().round() as u64)
}

/// `12.4 MiB ± 1.9 MiB`
pub(super) fn bytes(interval: &Interval) -> String {
    let sign = if interval.estimate < 0.0 { "-" } else { "" };
    format!("{sign}{} ± {}", size(interval.estimate), size((interval.high - interval.low) / 2.0))
}

/// `340 ± 51`
pub(super) fn objects(interval: &Interval) -> String {
    format!("{:.0} ± {:.0}", interval.estimate, (interval.high - interval.low) / 2.0)
}

/// `+12.4 MiB ± 1.9 MiB`
pub(super) fn change(interval: &Interval) -> String {
    let sign = if interval.estimate < 0.0 { "" } else { "+" };
    format!("{sign}{}", bytes(interval))
}
