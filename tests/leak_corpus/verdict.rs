//! Who leaks. The one place that asks heapward.

use heapward::{LeakReport, Profiler};

use crate::report::{Accused, Bounds};

/// Heapward's answer, and whom it accuses.
pub fn accused(profiler: &Profiler) -> heapward::Result<(LeakReport, Vec<Accused>)> {
    let report = profiler.leaks()?;
    let accused = report
        .suspects
        .iter()
        .map(|suspect| {
            let evidence = &suspect.evidence;
            let rate = |bound: Option<f64>| bound.unwrap_or(f64::NAN);
            Accused {
                site: suspect.site.function.clone(),
                verdict: evidence.verdict.clone(),
                since: evidence.since_snapshot,
                growth: Bounds { low: evidence.bytes_low, estimate: evidence.bytes, high: evidence.bytes_high },
                rate: Bounds {
                    low: rate(evidence.bytes_per_second_low),
                    estimate: rate(evidence.bytes_per_second),
                    high: rate(evidence.bytes_per_second_high),
                },
            }
        })
        .collect();
    Ok((report, accused))
}
