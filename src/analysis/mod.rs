//! Pure arithmetic over snapshots and profiles.

mod change;
mod leaks;
mod series;
mod top;

pub(crate) use change::{Change, Side, changes};
pub(crate) use series::{Membership, Point, Series, levels, series};
pub(crate) use top::{Site, Top, TopRow};
