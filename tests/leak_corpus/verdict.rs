//! Who leaks. The one place that asks heapward.
//!
//! TO BE REPLACED by `Profiler::leaks()`: until there is that, a rule of this test's own over what each site held.

use std::time::Duration;

use heapward::Profiler;

use crate::SAMPLE_INTERVAL;
use crate::growth::Series;
use crate::report::{Accused, Bounds};

/// Growth that is taken for nothing, in bytes.
const NOTHING: f64 = 8192.0;

/// The sites that are said to leak: what they hold at the least in the last sixth of the run is more than what they
/// held at the most between a third and a half of it, by more than chance would have it.
pub fn accused(_profiler: &Profiler, series: &Series) -> heapward::Result<Vec<Accused>> {
    let (third, half, last) = (series.at(1, 3), series.at(1, 2), series.at(5, 6));
    let secs = seconds(series, third);
    let mut accused = Vec::new();
    for (site, held) in &series.sites {
        let before = held[third..=half].iter().max().copied().unwrap_or(0) as f64;
        let after = held[last..].iter().min().copied().unwrap_or(0) as f64;
        // No estimate of what is held has a standard error above this.
        let error = (SAMPLE_INTERVAL * after.max(0.0)).sqrt();
        if after - before > NOTHING + 2.5 * error {
            let estimate = (held[held.len() - 1] - held[third]) as f64;
            let margin = 1.96 * (SAMPLE_INTERVAL * estimate.max(0.0)).sqrt();
            let growth = Bounds { low: estimate - margin, estimate, high: estimate + margin };
            let rate = Bounds { low: growth.low / secs, estimate: estimate / secs, high: growth.high / secs };
            accused.push(Accused { site: site.clone(), growth, rate });
        }
    }
    accused.sort_by(|a, b| b.growth.estimate.total_cmp(&a.growth.estimate));
    Ok(accused)
}

/// From the snapshot at `index` to the last.
fn seconds(series: &Series, index: usize) -> f64 {
    let last = series.times[series.times.len() - 1];
    last.duration_since(series.times[index]).unwrap_or(Duration::ZERO).as_secs_f64()
}
