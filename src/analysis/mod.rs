//! Pure arithmetic over snapshots and profiles.

mod change;
mod diff;
pub(crate) mod growth;
mod leaks;
mod series;
mod top;

pub(crate) use change::{Change, Side, changes};
pub use diff::Grouping;
pub(crate) use diff::{Age, Amount, Baseline, Diff, DiffRow, Figures, Kept, Past, Question, Sort};
pub(crate) use series::{Membership, Point, Series, levels, series};
pub(crate) use top::{Site, Top, TopRow};
