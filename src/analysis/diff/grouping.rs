//! What a row of a diff is, and which come first.

use super::certainty::rough_distance;
use crate::analysis::Change;
use crate::profile::SampleInterval;

/// What a row of a [`Diff`](crate::Diff) is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grouping {
    /// Every stack for itself.
    Stack,
    /// All stacks of one site: where a person would look, the first frame that is neither the allocator's nor the
    /// language's own.
    #[default]
    Site,
    /// All stacks that pass through one function, however often: cumulative, so rows overlap.
    Function,
}

impl Grouping {
    pub(crate) const ALL: [Self; 3] = [Self::Stack, Self::Site, Self::Function];
    /// Of each of `ALL`.
    pub(crate) const NAMES: [&str; 3] = ["stack", "site", "function"];

    /// As in a query.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Which rows come first. Growth and shrinking count alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// By how far the interval of the change stays away from zero, then by the change.
    #[default]
    Certain,
    /// By the size of the change.
    Net,
    Born,
    Freed,
    /// By what was alive at the earlier moment.
    Before,
    /// By what was alive at the later moment.
    After,
    /// By what was allocated in between.
    Allocated,
}

impl Sort {
    pub(crate) const ALL: [Self; 7] =
        [Self::Certain, Self::Net, Self::Born, Self::Freed, Self::Before, Self::After, Self::Allocated];
    /// Of each of `ALL`.
    pub(crate) const NAMES: [&str; 7] = ["certain", "net", "born", "freed", "before", "after", "allocated"];

    /// Rows with larger ones come first; by certainty only about.
    pub(super) fn order(self, change: &Change, interval: SampleInterval) -> [f64; 2] {
        let net = change.net_bytes().abs();
        let first = match self {
            Self::Certain => rough_distance(change, interval),
            Self::Net => net,
            Self::Born => change.born.estimated_bytes,
            Self::Freed => change.freed.estimated_bytes,
            Self::Before => change.before().estimated_bytes,
            Self::After => change.after().estimated_bytes,
            Self::Allocated => change.allocated_bytes as f64,
        };
        [first, net]
    }
}
