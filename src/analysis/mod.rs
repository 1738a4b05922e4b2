//! Pure arithmetic over snapshots and profiles.

mod detection;
mod false_discovery;
mod series;
mod significance;
mod top;

pub(crate) use detection::detection_limit;
pub(crate) use false_discovery::{Tested, benjamini_hochberg};
pub(crate) use series::{Point, Series};
pub(crate) use significance::Significance;
pub(crate) use top::{Site, Top, TopRow};
