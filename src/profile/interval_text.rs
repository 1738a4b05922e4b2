//! Intervals as people read them: `12.4 MiB ± 1.9`, `12.4 MiB (9.1 to 17.2)`, `1,234 ± 56`.

use std::fmt;

use super::Interval;

/// Sides that differ by less than this share of the larger one are shown as one.
const UNEVEN: f64 = 0.1;

/// 1024ⁿ bytes, largest first.
const UNITS: [(f64, &str); 4] =
    [((1u64 << 40) as f64, "TiB"), ((1u64 << 30) as f64, "GiB"), ((1u64 << 20) as f64, "MiB"), (1024.0, "KiB")];

impl Interval {
    /// Bytes, in the unit of the largest of the three: `12.4 MiB ± 1.9`; `12.4 MiB (9.1 to 17.2)` where the sides differ;
    /// `12.4 MiB` where the bounds are the same in the digits shown.
    pub(crate) fn bytes(self) -> impl fmt::Display {
        Text { interval: self, is_signed: false, is_bytes: true }
    }

    /// A change in bytes: `+12.4 MiB ± 1.9`, `+0.4 MiB (-0.2 to +1.3)`.
    pub(crate) fn signed_bytes(self) -> impl fmt::Display {
        Text { interval: self, is_signed: true, is_bytes: true }
    }

    /// Objects: `1,234 ± 56`.
    pub(crate) fn count(self) -> impl fmt::Display {
        Text { interval: self, is_signed: false, is_bytes: false }
    }

    /// A change in objects: `-1,234 ± 56`.
    pub(crate) fn signed_count(self) -> impl fmt::Display {
        Text { interval: self, is_signed: true, is_bytes: false }
    }
}

struct Text {
    interval: Interval,
    is_signed: bool,
    is_bytes: bool,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { estimate, low, high } = self.interval;
        let largest = estimate.abs().max(low.abs()).max(high.abs());
        let (unit, name) = match UNITS.iter().find(|(unit, _)| self.is_bytes && largest >= *unit) {
            Some((unit, name)) => (*unit, *name),
            None => (1.0, if self.is_bytes { "B" } else { "" }),
        };
        let (down, up) = ((estimate - low) / unit, (high - estimate) / unit);
        let side = down.max(up);
        let decimals = match unit {
            1.0 => 0,
            // One more digit where it is all that is unsure, three in all.
            _ if largest < 10.0 * unit && side < 0.095 => 2,
            _ => 1,
        };
        let number = |value: f64| digits(value / unit, decimals, self.is_signed);
        let unsigned = |value: f64| digits(value, decimals, false);

        f.write_str(&number(estimate))?;
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        if number(low) == number(high) {
            Ok(())
        } else if (up - down).abs() <= UNEVEN * side || unsigned(down) == unsigned(up) {
            write!(f, " ± {}", unsigned(side))
        } else {
            write!(f, " ({} to {})", number(low), number(high))
        }
    }
}

/// With so many decimals and with commas between thousands; signed only where it is not zero.
fn digits(value: f64, decimals: usize, is_signed: bool) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let is_zero = !plain.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    let sign = match value {
        _ if is_zero || value.is_nan() => "",
        _ if value < 0.0 => "-",
        _ if is_signed => "+",
        _ => "",
    };
    let whole = plain.find('.').unwrap_or(plain.len());
    let mut text = String::from(sign);
    for (at, character) in plain.chars().enumerate() {
        let is_thousand = at > 0 && at < whole && (whole - at).is_multiple_of(3);
        if is_thousand && character.is_ascii_digit() {
            text.push(',');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn mib(estimate: f64, low: f64, high: f64) -> Interval {
        Interval { estimate: estimate * MIB, low: low * MIB, high: high * MIB }
    }

    fn plain(estimate: f64, low: f64, high: f64) -> Interval {
        Interval { estimate, low, high }
    }

    #[track_caller]
    fn check(text: impl fmt::Display, expect: &str) {
        assert_eq!(text.to_string(), expect);
    }

    #[test]
    fn bytes_have_one_unit() {
        check(mib(12.4, 10.5, 14.3).bytes(), "12.4 MiB ± 1.9");
        check(mib(12.4, 9.1, 17.2).bytes(), "12.4 MiB (9.1 to 17.2)");
        check(mib(0.6, 0.1, 2.3).bytes(), "0.6 MiB (0.1 to 2.3)");
        check(mib(1500.0, 1400.0, 1600.0).bytes(), "1.5 GiB ± 0.1");
        check(plain(700.0, 256.0, 900.0).bytes(), "700 B (256 to 900)");
        check(plain(1536.0, 1024.0, 2048.0).bytes(), "1.5 KiB ± 0.5");
        check(plain(3e12, 2e12, 4e12).bytes(), "2.7 TiB ± 0.9");
    }

    #[test]
    fn changes_have_signs() {
        check(mib(12.4, 10.5, 14.3).signed_bytes(), "+12.4 MiB ± 1.9");
        check(mib(-12.4, -14.3, -10.5).signed_bytes(), "-12.4 MiB ± 1.9");
        check(mib(0.4, -0.2, 1.3).signed_bytes(), "+0.4 MiB (-0.2 to +1.3)");
        check(mib(0.0, -1.84, 1.84).signed_bytes(), "0.0 MiB ± 1.8");
        check(mib(-0.01, -1.84, 1.82).signed_bytes(), "0.0 MiB ± 1.8");
        check(Interval::default().signed_bytes(), "0 B");
        check(plain(-1234.0, -1290.0, -1178.0).signed_count(), "-1,234 ± 56");
        check(plain(1234.0, -1178.0, 5000.0).signed_count(), "+1,234 (-1,178 to +5,000)");
    }

    #[test]
    fn what_is_exact_has_no_tail() {
        check(mib(12.4, 12.4, 12.4).bytes(), "12.4 MiB");
        check(plain(300.0, 300.0, 300.0).bytes(), "300 B");
        check(plain(1_234_567.0, 1_234_567.0, 1_234_567.0).count(), "1,234,567");
        // Surer than the digits that are shown.
        check(mib(512.31, 512.308, 512.312).bytes(), "512.3 MiB");
        check(plain(2.00001, 2.0, 2.1).count(), "2");
    }

    #[test]
    fn a_small_doubt_has_a_digit_more() {
        check(mib(1.03, 0.99, 1.07).bytes(), "1.03 MiB ± 0.04");
        check(mib(9.5, 9.4, 9.6).bytes(), "9.5 MiB ± 0.1");
    }

    #[test]
    fn objects_are_whole() {
        check(plain(1234.2, 1178.4, 1290.1).count(), "1,234 ± 56");
        check(plain(2047.9, 91.0, 10_200.0).count(), "2,048 (91 to 10,200)");
    }

    #[test]
    fn what_is_no_number_is_said_as_it_is() {
        check(plain(f64::INFINITY, 5.0, f64::INFINITY).count(), "inf (5 to inf)");
        check(plain(f64::NAN, f64::NAN, f64::NAN).bytes(), "NaN B");
    }
}
