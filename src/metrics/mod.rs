//! The gauges for Prometheus. Label sets are fixed, and nothing is kept between two scrapes.

mod accept;
mod exposition;
mod gauges;
mod system;

pub(crate) use exposition::{Exposition, scrape};
