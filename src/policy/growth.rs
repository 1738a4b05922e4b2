//! How much RSS may grow from one snapshot to the next.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::profile::ByteSize;

/// A growth: parses `256MiB`, or `20%` of what RSS was.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Growth {
    /// By that many bytes, above 0.
    Bytes(ByteSize),
    /// By that share of what RSS was, above 0; it may be more than 100.
    Percent(f64),
}

impl Growth {
    /// What RSS is after growing from `base` by this.
    pub(crate) fn from(self, base: u64) -> u64 {
        match self {
            Self::Bytes(size) => base.saturating_add(size.as_u64()),
            Self::Percent(percent) => (base as f64 * (1.0 + percent / 100.0)) as u64,
        }
    }

    /// The growth itself, when its value is allowed.
    pub(crate) fn validated(self) -> Result<Self, Error> {
        let is_allowed = match self {
            Self::Bytes(size) => size.as_u64() > 0,
            Self::Percent(percent) => percent > 0.0 && percent.is_finite(),
        };
        if is_allowed { Ok(self) } else { Err(Error::config(format!("`{self}` is no growth: {ALLOWED}"))) }
    }
}

const ALLOWED: &str = "allowed is a size such as 256MiB, or a share of what RSS was such as 20%, above 0";

impl From<ByteSize> for Growth {
    fn from(size: ByteSize) -> Self {
        Self::Bytes(size)
    }
}

impl FromStr for Growth {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::config(format!("`{text}` is no growth: {ALLOWED}"));
        let growth = match text.trim().strip_suffix('%') {
            Some(number) => Self::Percent(number.trim().parse().map_err(|_| refuse())?),
            None => Self::Bytes(text.parse().map_err(|_| refuse())?),
        };
        growth.validated().map_err(|_| refuse())
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sizes_and_shares() {
        assert_eq!("256MiB".parse::<Growth>().unwrap(), ByteSize::mib(256).into());
        assert_eq!(" 150 %".parse::<Growth>().unwrap(), Growth::Percent(150.0));
        assert_eq!(Growth::Percent(20.0).from(1000), 1200);
        assert_eq!(Growth::Bytes(ByteSize::bytes(5)).from(1000), 1005);
        assert_eq!(Growth::Bytes(ByteSize::bytes(u64::MAX)).from(1000), u64::MAX);
    }

    #[test]
    fn refuses_everything_else_by_name() {
        for text in ["banana", "", "%", "0%", "0", "-5%", "NaN%", "inf%"] {
            let error = text.parse::<Growth>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is no growth: {ALLOWED}"));
        }
    }
}
