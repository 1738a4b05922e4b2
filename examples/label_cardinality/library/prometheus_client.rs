//! The prometheus-client crate.

use std::error::Error;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Kept;
use crate::cell::{Cell, Kind};
use crate::labels::{BUCKETS, HELP, NAME, label_sets, observations};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    foo: String,
    bar: String,
    baz: String,
}

pub fn fill(cell: Cell) -> Result<Kept, Box<dyn Error>> {
    let mut registry = Registry::default();
    let labels =
        label_sets(cell.label_sets).map(|[first, second, third]| Labels { foo: first, bar: second, baz: third });
    match cell.kind {
        Kind::Counter => {
            let counters = Family::<Labels, Counter>::default();
            registry.register(NAME, HELP, counters.clone());
            labels.for_each(|labels| {
                counters.get_or_create(&labels).inc();
            });
        }
        Kind::Gauge => {
            let gauges = Family::<Labels, Gauge>::default();
            registry.register(NAME, HELP, gauges.clone());
            labels.for_each(|labels| {
                gauges.get_or_create(&labels).set(1);
            });
        }
        Kind::Histogram => {
            let histograms = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
            registry.register(NAME, HELP, histograms.clone());
            labels.for_each(|labels| {
                let histogram = histograms.get_or_create(&labels);
                observations(cell.observations).for_each(|seconds| histogram.observe(seconds));
            });
        }
        Kind::Summary | Kind::PendingHistogram => return Err("the prometheus-client crate has no such kind".into()),
    }
    Ok(Box::new(registry))
}
