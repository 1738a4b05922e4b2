//! What is measured at a time.

use std::fmt;
use std::str::FromStr;

/// A library, a kind of metric, and how many label sets with how many observations each. Written
/// `prometheus/histogram/100000`, or `prometheus/histogram/10000x250` with more than one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub library: Library,
    pub kind: Kind,
    pub label_sets: usize,
    pub observations: usize,
}

/// A client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Prometheus,
    PrometheusClient,
    MetricsExporterPrometheus,
}

/// A kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// As metrics-exporter-prometheus holds it until a scrape or its upkeep, five seconds apart by default, folds the
    /// observations into buckets.
    PendingHistogram,
}

impl Library {
    pub const ALL: [Self; 3] = [Self::Prometheus, Self::PrometheusClient, Self::MetricsExporterPrometheus];

    /// Its crate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::PrometheusClient => "prometheus-client",
            Self::MetricsExporterPrometheus => "metrics-exporter-prometheus",
        }
    }

    /// What it has. The first two have no summary.
    pub fn kinds(self) -> &'static [Kind] {
        use Kind::*;
        match self {
            Self::Prometheus | Self::PrometheusClient => &[Counter, Gauge, Histogram],
            Self::MetricsExporterPrometheus => &[Counter, Gauge, Histogram, Summary, PendingHistogram],
        }
    }
}

impl Kind {
    const ALL: [Self; 5] = [Self::Counter, Self::Gauge, Self::Histogram, Self::Summary, Self::PendingHistogram];

    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::PendingHistogram => "pending-histogram",
        }
    }

    /// Whether it is told more than its present value.
    pub fn observes(self) -> bool {
        !matches!(self, Self::Counter | Self::Gauge)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.library.name(), self.kind.name(), self.label_sets)?;
        if self.observations > 1 { write!(f, "x{}", self.observations) } else { Ok(()) }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cell = || {
            let (library, rest) = text.split_once('/')?;
            let (kind, size) = rest.split_once('/')?;
            let (label_sets, observations) = size.split_once('x').unwrap_or((size, "1"));
            let library = Library::ALL.into_iter().find(|it| it.name() == library)?;
            Some(Self {
                library,
                kind: Kind::ALL.into_iter().find(|it| it.name() == kind && library.kinds().contains(it))?,
                label_sets: label_sets.parse().ok()?,
                observations: observations.parse().ok()?,
            })
        };
        cell().ok_or_else(|| {
            let known = |library: Library| {
                format!(
                    "{}/{{{}}}",
                    library.name(),
                    library.kinds().iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
                )
            };
            format!(
                "{text}: no such cell; one is LIBRARY/KIND/LABEL_SETS or LIBRARY/KIND/LABEL_SETSxOBSERVATIONS, of {}",
                Library::ALL.map(known).join(", ")
            )
        })
    }
}
