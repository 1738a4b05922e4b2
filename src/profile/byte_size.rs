//! A number of bytes that people write and read.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A number of bytes. Parses `104857600`, `100MiB`, `100 MB`, `1.5GiB`; prints `100.0 MiB`.
///
/// `k`, `M`, `G`, `T` with or without `B` are powers of 1000, with `iB` powers of 1024. Case does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

impl ByteSize {
    /// `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` × 1024 bytes; the largest value there is if that is more.
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(KIB))
    }

    /// `n` × 1024² bytes; the largest value there is if that is more.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(MIB))
    }

    /// `n` × 1024³ bytes; the largest value there is if that is more.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(GIB))
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            n if n >= TIB => (TIB, "TiB"),
            n if n >= GIB => (GIB, "GiB"),
            n if n >= MIB => (MIB, "MiB"),
            n if n >= KIB => (KIB, "KiB"),
            n => return write!(f, "{n} B"),
        };
        write!(f, "{:.1} {name}", self.0 as f64 / unit as f64)
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::config(format!(
                "`{text}` is not a size: allowed is a number with an optional unit B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 512MiB"
            ))
        };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" | "ki" => KIB,
            "mib" | "mi" => MIB,
            "gib" | "gi" => GIB,
            "tib" | "ti" => TIB,
            _ => return Err(refuse()),
        };
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(factor).ok_or_else(refuse)?,
            Err(_) => {
                let bytes = number.parse::<f64>().map_err(|_| refuse())? * factor as f64;
                // Above 2^63 a float no longer says which byte is meant.
                if !(0.0..9.0e18).contains(&bytes) {
                    return Err(refuse());
                }
                bytes as u64
            }
        };
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, bytes: u64) {
        assert_eq!(text.parse::<ByteSize>().unwrap().as_u64(), bytes, "{text}");
    }

    #[test]
    fn parses_what_people_write() {
        check("0", 0);
        check("104857600", 104_857_600);
        check("100MiB", 100 << 20);
        check(" 100 mb ", 100_000_000);
        check("1.5GiB", 3 << 29);
        check("2Gi", 2 << 30);
        check("64k", 64_000);
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "banana", "-1", "1e9", "5 XB", "MiB", "1.2.3", "99999999999TiB", "inf"] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn prints_with_one_digit() {
        assert_eq!(ByteSize::bytes(1023).to_string(), "1023 B");
        assert_eq!(ByteSize::mib(100).to_string(), "100.0 MiB");
        assert_eq!(ByteSize::bytes(1_610_612_736).to_string(), "1.5 GiB");
    }
}
