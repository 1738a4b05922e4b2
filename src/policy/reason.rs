//! Why a snapshot was taken.

use std::fmt;

use crate::profile::ByteSize;

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// RSS stood above the threshold, on two readings in a row.
    RssAboveThreshold {
        /// RSS then, in bytes.
        rss: u64,
        /// The threshold then, in bytes.
        threshold: u64,
    },
    /// Somebody asked, through the handle or over HTTP.
    Requested,
}

impl Reason {
    /// Every name that [`Reason::name`] gives.
    pub(crate) const NAMES: [&'static str; 2] = ["rss_above_threshold", "requested"];

    /// One word for metrics and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RssAboveThreshold { .. } => Self::NAMES[0],
            Self::Requested => Self::NAMES[1],
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RssAboveThreshold { rss, threshold } => {
                write!(f, "RSS {} above the threshold {}", ByteSize::bytes(rss), ByteSize::bytes(threshold))
            }
            Self::Requested => f.write_str("requested"),
        }
    }
}
