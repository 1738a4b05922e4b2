//! How bad it is.

use std::fmt;

use serde::Serialize;

/// How far memory use is above the alert threshold, in points: percentage points of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Less than 5 points above the threshold.
    Low,
    /// From 5 to 15 points above it, both included.
    Medium,
    /// More than 15 points above it, or over 95% of the limit; exactly 95% is not over.
    High,
}

impl Severity {
    /// All of them, rising.
    pub(crate) const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// One word for labels and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Its place in [`Severity::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
