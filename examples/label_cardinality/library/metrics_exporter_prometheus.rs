//! The metrics crate with the exporter metrics-exporter-prometheus.

use std::error::Error;

use metrics::{counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::Kept;
use crate::cell::{Cell, Kind};
use crate::labels::{BUCKETS, NAME, label_sets, observations};

pub fn fill(cell: Cell) -> Result<Kept, Box<dyn Error>> {
    let builder = PrometheusBuilder::new();
    let recorder = match cell.kind {
        // Without buckets it makes summaries of histograms.
        Kind::Summary => builder,
        _ => builder.set_buckets(&BUCKETS)?,
    }
    .build_recorder();
    let sets = label_sets(cell.label_sets);
    with_local_recorder(&recorder, || match cell.kind {
        Kind::Counter => {
            for [first, second, third] in sets {
                counter!(NAME, "foo" => first, "bar" => second, "baz" => third).increment(1);
            }
        }
        Kind::Gauge => {
            for [first, second, third] in sets {
                gauge!(NAME, "foo" => first, "bar" => second, "baz" => third).set(1.0);
            }
        }
        Kind::Histogram | Kind::Summary | Kind::PendingHistogram => {
            for [first, second, third] in sets {
                let histogram = histogram!(NAME, "foo" => first, "bar" => second, "baz" => third);
                observations(cell.observations).for_each(|seconds| histogram.record(seconds));
            }
        }
    });
    if cell.kind != Kind::PendingHistogram {
        recorder.handle().run_upkeep();
    }
    Ok(Box::new(recorder))
}
