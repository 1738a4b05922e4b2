//! Pure arithmetic over snapshots and profiles.

mod change;
mod series;
mod top;

pub(crate) use change::{Change, Side, changes};
pub(crate) use series::{Point, Series};
pub(crate) use top::{Site, Top, TopRow};
