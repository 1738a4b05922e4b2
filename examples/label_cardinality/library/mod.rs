//! The libraries that are measured.

mod metrics_exporter_prometheus;
mod prometheus;
mod prometheus_client;

use std::any::Any;
use std::error::Error;

use crate::cell::{Cell, Library};

/// What a library returns is kept alive by this.
pub type Kept = Box<dyn Any>;

/// Makes what `cell` says, as a service would; it is there until what this returns is dropped.
pub fn fill(cell: Cell) -> Result<Kept, Box<dyn Error>> {
    match cell.library {
        Library::Prometheus => prometheus::fill(cell),
        Library::PrometheusClient => prometheus_client::fill(cell),
        Library::MetricsExporterPrometheus => metrics_exporter_prometheus::fill(cell),
    }
}
