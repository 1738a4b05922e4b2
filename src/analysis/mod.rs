//! Pure arithmetic over snapshots and profiles.

mod top;

pub(crate) use top::{Site, Top, TopRow};
