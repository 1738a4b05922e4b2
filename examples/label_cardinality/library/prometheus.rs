//! The prometheus crate.

use std::error::Error;

use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

use super::Kept;
use crate::cell::{Cell, Kind};
use crate::labels::{BUCKETS, HELP, LABELS, NAME, label_sets, observations};

pub fn fill(cell: Cell) -> Result<Kept, Box<dyn Error>> {
    let registry = Registry::new();
    match cell.kind {
        Kind::Counter => {
            let counters = CounterVec::new(Opts::new(NAME, HELP), &LABELS)?;
            registry.register(Box::new(counters.clone()))?;
            for values in label_sets(cell.label_sets) {
                counters.with_label_values(&values).inc();
            }
        }
        Kind::Gauge => {
            let gauges = GaugeVec::new(Opts::new(NAME, HELP), &LABELS)?;
            registry.register(Box::new(gauges.clone()))?;
            for values in label_sets(cell.label_sets) {
                gauges.with_label_values(&values).set(1.0);
            }
        }
        Kind::Histogram => {
            let options = HistogramOpts::new(NAME, HELP).buckets(BUCKETS.to_vec());
            let histograms = HistogramVec::new(options, &LABELS)?;
            registry.register(Box::new(histograms.clone()))?;
            for values in label_sets(cell.label_sets) {
                let histogram = histograms.with_label_values(&values);
                observations(cell.observations).for_each(|seconds| histogram.observe(seconds));
            }
        }
        Kind::Summary | Kind::PendingHistogram => return Err("the prometheus crate has no such kind".into()),
    }
    Ok(Box::new(registry))
}
