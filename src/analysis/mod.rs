//! Pure arithmetic over snapshots and profiles.

mod change;
pub(crate) mod growth;
mod leaks;
mod series;
mod top;

pub(crate) use change::{Change, Side, changes};
pub(crate) use leaks::{History, Leaks, LetGo, Suspect, find as find_leaks};
pub(crate) use series::{Membership, Point, Series, levels, series};
pub use top::Site;
pub(crate) use top::{Top, TopRow};
