//! How people name a snapshot.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A snapshot by its id, or by its part in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// The one of that id.
    Id(u64),
    /// The newest.
    Latest,
    /// The first one taken.
    Baseline,
    /// The one with the highest RSS.
    Peak,
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "latest" => Ok(Self::Latest),
            "baseline" => Ok(Self::Baseline),
            "peak" => Ok(Self::Peak),
            _ => text.parse().map(Self::Id).map_err(|_| {
                Error::config(format!(
                    "`{text}` does not name a snapshot: allowed is an id (a whole number), `latest`, `baseline` or `peak`"
                ))
            }),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Latest => f.write_str("latest"),
            Self::Baseline => f.write_str("baseline"),
            Self::Peak => f.write_str("peak"),
        }
    }
}
