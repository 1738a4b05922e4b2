//! What is found out about the heap behind an alert, while others wait no longer than they want to.

use std::fmt;

use serde::Serialize;

use crate::analysis::Site;
use crate::profile::ByteSize;

/// A site that holds much of what is in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlertSite {
    /// Where it is.
    #[serde(flatten)]
    pub site: Site,
    /// Bytes alive, estimated.
    pub bytes: i64,
    /// Between this and `bytes_high` lies what is alive, with 95% confidence; `None` where that cannot be said.
    pub bytes_low: Option<i64>,
    /// See `bytes_low`.
    pub bytes_high: Option<i64>,
}

/// What the search for leaks says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlertLeaks {
    /// In one sentence.
    pub summary: String,
    /// The worst suspects, three at most.
    pub suspects: Vec<AlertSuspect>,
}

/// A function in which memory grows without bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlertSuspect {
    /// Where it is.
    #[serde(flatten)]
    pub site: Site,
    /// The verdict, in words.
    pub verdict: String,
}

/// What was found out about the snapshot of an alert.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// The sites that hold the most, largest first.
    pub(crate) sites: Vec<AlertSite>,
    /// Why there are none, or why they have no names.
    pub(crate) remark: Option<String>,
    /// `None` where there was no time, no room or nothing to search.
    pub(crate) leaks: Option<AlertLeaks>,
}

impl AlertSite {
    pub(crate) fn new(site: Site, bytes: i64, bounds: Option<(f64, f64)>) -> Self {
        Self {
            site,
            bytes,
            bytes_low: bounds.map(|(low, _)| low.round() as i64),
            bytes_high: bounds.map(|(_, high)| high.round() as i64),
        }
    }
}

impl AlertLeaks {
    pub(crate) fn new(summary: String, suspects: impl IntoIterator<Item = (Site, String)>) -> Self {
        let suspects = suspects.into_iter().take(3).map(|(site, verdict)| AlertSuspect { site, verdict });
        Self { summary, suspects: suspects.collect() }
    }
}

impl fmt::Display for AlertSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = ByteSize::bytes(u64::try_from(self.bytes).unwrap_or(0));
        write!(f, "{bytes} {}", Placed(&self.site))
    }
}

impl fmt::Display for AlertSuspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Placed(&self.site), self.verdict)
    }
}

impl fmt::Display for AlertLeaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)?;
        self.suspects.iter().try_for_each(|suspect| write!(f, "; {suspect}"))
    }
}

/// A site with its file, where that is known.
struct Placed<'s>(&'s Site);

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Site { function, file, line } = self.0;
        if file.is_empty() { f.write_str(function) } else { write!(f, "{function} ({file}:{line})") }
    }
}
