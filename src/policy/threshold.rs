//! An amount of memory, as such or as a share of the limit.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::profile::ByteSize;

/// An amount of memory: parses `512MiB`, or `70%` of the memory limit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Threshold {
    /// That many bytes.
    Bytes(ByteSize),
    /// That share of the memory limit, above 0 and at most 100.
    PercentOfLimit(f64),
}

impl Threshold {
    /// The threshold in bytes under `limit`; `None` for a share of a limit that is unknown.
    pub(crate) fn bytes(self, limit: Option<u64>) -> Option<u64> {
        match self {
            Self::Bytes(size) => Some(size.as_u64()),
            Self::PercentOfLimit(percent) => Some((limit? as f64 * percent / 100.0) as u64),
        }
    }

    /// The threshold itself, when its value is allowed.
    pub(crate) fn validated(self) -> Result<Self, Error> {
        match self {
            Self::PercentOfLimit(percent) if !(percent > 0.0 && percent <= 100.0) => Err(Error::config(format!(
                "`{percent}%` is not a share of the memory limit: allowed is above 0% and at most 100%"
            ))),
            ok => Ok(ok),
        }
    }
}

impl From<ByteSize> for Threshold {
    fn from(size: ByteSize) -> Self {
        Self::Bytes(size)
    }
}

impl FromStr for Threshold {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::config(format!(
                "`{text}` is not an amount of memory: allowed is a size such as 512MiB, or a share of the memory limit such as 70%"
            ))
        };
        match text.trim().strip_suffix('%') {
            Some(number) => {
                let percent = number.trim().parse().map_err(|_| refuse())?;
                Self::PercentOfLimit(percent).validated()
            }
            None => text.parse().map(Self::Bytes).map_err(|_| refuse()),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => size.fmt(f),
            Self::PercentOfLimit(percent) => write!(f, "{percent}% of the memory limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sizes_and_shares() {
        assert_eq!("512MiB".parse::<Threshold>().unwrap(), ByteSize::mib(512).into());
        assert_eq!("70%".parse::<Threshold>().unwrap(), Threshold::PercentOfLimit(70.0));
        assert_eq!(Threshold::PercentOfLimit(70.0).bytes(Some(1000)), Some(700));
        assert_eq!(Threshold::PercentOfLimit(70.0).bytes(None), None);
    }

    #[test]
    fn refuses_everything_else_by_name() {
        for text in ["banana", "", "%", "0%", "-5%", "101%", "NaN%"] {
            let error = text.parse::<Threshold>().unwrap_err().to_string();
            assert!(error.contains("allowed is"), "{text}: {error}");
        }
    }
}
