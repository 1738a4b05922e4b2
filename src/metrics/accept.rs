//! Which format a scraper asks for, by its `Accept`.

use super::Exposition;

impl Exposition {
    /// OpenMetrics where it is named and wanted at least as much as Prometheus' own format, else that one, which every
    /// scraper reads: also where neither is asked for, since a refusal would help nobody.
    pub(crate) fn accepted(accept: &str) -> Self {
        let weight = |wanted: Named| {
            let ranges = accept.split(',').filter_map(parse).filter(|&(named, _)| named == wanted);
            ranges.map(|(_, weight)| weight).reduce(f64::max)
        };
        let Some(open_metrics) = weight(Named::OpenMetrics).filter(|&weight| weight > 0.0) else { return Self::Text };
        // The more specific range counts, however the other is weighed.
        let text = [Named::Text, Named::AnyText, Named::Any].into_iter().find_map(weight);
        if text.is_some_and(|text| text > open_metrics) { Self::Text } else { Self::OpenMetrics }
    }
}

/// What of ours a range of `Accept` names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    OpenMetrics,
    Text,
    AnyText,
    Any,
}

/// One element of `Accept` and its weight, as of RFC 9110, section 12.5.1. `None` where it names nothing that is written
/// here, such as OpenMetrics' draft 0.0.1, which scrapers still name, or has no weight that can be read.
fn parse(range: &str) -> Option<(Named, f64)> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let (mut version, mut weight) = (None, 1.0);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "version" => version = Some(value.trim().trim_matches('"')),
            "q" => weight = value.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?,
            _ => {}
        }
    }
    let named = match (media_type.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Named::OpenMetrics,
        ("text/plain", None | Some("0.0.4")) => Named::Text,
        ("text/*", _) => Named::AnyText,
        ("*/*", _) => Named::Any,
        _ => return None,
    };
    Some((named, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expect: Exposition) {
        assert_eq!(Exposition::accepted(accept), expect, "{accept}");
    }

    #[test]
    fn what_prometheus_sends_is_open_metrics() {
        // 2.42, as it was seen on the wire.
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Exposition::OpenMetrics,
        );
        // 3.x, as its `acceptHeader` puts it together.
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Exposition::OpenMetrics,
        );
        // The same with native histograms, for which it would rather have messages.
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Exposition::OpenMetrics,
        );
        // With `scrape_protocols: [PrometheusText0.0.4, OpenMetricsText1.0.0]`.
        check(
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             */*;q=0.4",
            Exposition::Text,
        );
    }

    #[test]
    fn the_greater_weight_wins_and_open_metrics_must_be_named() {
        for text in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain",
            "application/json",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.3",
            "application/openmetrics-text;q=0.2,*/*;q=0.3",
            "application/openmetrics-text;q=0.2,text/*;q=0.3",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=many",
            "application/openmetrics-text;q=2",
            "application/openmetrics-textual",
        ] {
            check(text, Exposition::Text);
        }
        for open_metrics in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.001",
            "text/plain,application/openmetrics-text",
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.5",
            "text/plain;q=0,application/openmetrics-text;q=0.1",
            // Named with little weight, whatever the rest has.
            "text/plain;version=0.0.4;q=0.1,application/openmetrics-text;q=0.2,*/*;q=0.9",
            "text/plain;version=1.0.0;q=0.9,application/openmetrics-text;q=0.2",
        ] {
            check(open_metrics, Exposition::OpenMetrics);
        }
    }
}
