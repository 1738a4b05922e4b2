//! The two text formats of Prometheus.

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::gauges::Gauges;
use crate::error::{Error, ErrorKind, Result};
use crate::profiler::Shared;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4.
    Text,
}

impl Exposition {
    /// For `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All gauges, in the format asked for.
pub(crate) fn scrape(shared: &Arc<Shared>, format: Exposition) -> Result<String> {
    let mut registry = Registry::with_prefix("heapward");
    registry.register_collector(Box::new(Gauges::new(Arc::clone(shared))));
    let mut text = String::new();
    text::encode(&mut text, &registry)
        .map_err(|error| Error::new(ErrorKind::Io, "writing the metrics").with_source(error))?;
    Ok(match format {
        Exposition::OpenMetrics => text,
        Exposition::Text => to_text(&text),
    })
}

/// OpenMetrics, as the library writes it, to version 0.0.4: no `# UNIT`, no `# EOF`, and a counter's `# HELP` and
/// `# TYPE` carry the name of its sample, which ends in `_total`.
fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // `# HELP` comes before the `# TYPE` that says whether it is a counter.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        if let Some((name, rest)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, rest));
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take() {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_counters_by_their_samples() {
        let open_metrics = "# HELP a_bytes A.\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes 5\n\
                            # HELP b B.\n# TYPE b counter\nb_total{x=\"y\"} 6\n# EOF\n";
        assert_eq!(
            to_text(open_metrics),
            "# HELP a_bytes A.\n# TYPE a_bytes gauge\na_bytes 5\n\
             # HELP b_total B.\n# TYPE b_total counter\nb_total{x=\"y\"} 6\n"
        );
    }
}
