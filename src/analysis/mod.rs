//! Pure arithmetic over snapshots and profiles.

mod change;
pub(crate) mod growth;
mod leaks;
mod series;
mod top;

pub(crate) use change::{Change, Side, changes};
pub(crate) use series::{Membership, Point, Series, levels, series};
pub(crate) use top::{Site, Top, TopRow};
