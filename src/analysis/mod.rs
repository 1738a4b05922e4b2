//! Pure arithmetic over snapshots and profiles.

mod growth;
mod series;
mod top;

pub(crate) use growth::{Judgement, Verdict, accuse, judge};
pub(crate) use series::{Point, Series};
pub(crate) use top::{Site, Top, TopRow};
