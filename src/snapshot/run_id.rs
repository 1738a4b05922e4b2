//! How a run of the service is called.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// One run of the service: a number that rises with every run that wrote to the folder, whatever the clock says, and a
/// random part, as two that start at once may draw the same number. Prints as `12-9f3c0a1b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId {
    pub(crate) number: u32,
    pub(crate) random: u32,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.number, self.random)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = || {
            let (number, random) = text.split_once('-')?;
            let run = Self { number: number.parse().ok()?, random: u32::from_str_radix(random, 16).ok()? };
            // One spelling for each, as it is the name of files.
            (run.to_string() == text).then_some(run)
        };
        parts().ok_or_else(|| {
            Error::config(format!("`{text}` does not name a run: allowed is an id such as 12-9f3c0a1b, or `previous`"))
        })
    }
}

/// How people name a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunSelector {
    /// The one of that id.
    Id(RunId),
    /// The last one of this program that began before this one, is over and left snapshots.
    Previous,
}

impl FromStr for RunSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "previous" => Ok(Self::Previous),
            id => id.parse().map(Self::Id),
        }
    }
}

impl fmt::Display for RunSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Previous => f.write_str("previous"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_prints_and_in_no_other_way() {
        let run = RunId { number: 12, random: 0x9f3c };
        assert_eq!(run.to_string(), "12-00009f3c");
        assert_eq!(run.to_string().parse::<RunId>().unwrap(), run);
        for wrong in ["", "12", "12-", "-1", "012-00009f3c", "12-9f3c", "12-00009F3C", "+12-00009f3c", "12-00009f3c-"] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
        assert_eq!("previous".parse::<RunSelector>().unwrap().to_string(), "previous");
        let error = "last".parse::<RunSelector>().unwrap_err().to_string();
        assert_eq!(error, "`last` does not name a run: allowed is an id such as 12-9f3c0a1b, or `previous`");
    }
}
