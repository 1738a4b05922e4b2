//! Pure arithmetic over snapshots and profiles.

mod rss;
mod series;
mod top;
mod verdict;

pub(crate) use rss::{Breakdown, Own, SMALL_BYTES};
pub(crate) use series::{Point, Series};
pub(crate) use top::{Site, Top, TopRow};
pub(crate) use verdict::{HeapGrowth, Verdict};
