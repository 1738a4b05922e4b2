//! Pure arithmetic over snapshots and profiles.

mod change;
mod detection;
mod diff;
mod false_discovery;
pub(crate) mod growth;
mod held;
mod leaks;
mod rss;
mod series;
mod significance;
mod top;
mod trend;
mod verdict;

pub(crate) use change::{Change, Side, changes};
pub(crate) use detection::detection_limit;
pub use diff::Grouping;
pub(crate) use diff::{Age, Amount, Baseline, Diff, DiffRow, Figures, Kept, Past, Question, Sort};
pub(crate) use false_discovery::{Tested, benjamini_hochberg};
pub(crate) use held::{Held, HeldSite, largest_held};
pub(crate) use leaks::{History, Leaks, Suspect, find as find_leaks};
pub(crate) use rss::{Breakdown, Own};
#[cfg(test)]
pub(crate) use series::Point;
pub(crate) use series::{Membership, Series, rises, series, series_of_all};
pub(crate) use significance::Significance;
pub use top::Site;
pub(crate) use top::{Top, TopRow};
pub(crate) use trend::Trend;
pub(crate) use verdict::{HeapGrowth, Verdict};
