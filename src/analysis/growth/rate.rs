//! How fast a level rises: Theil and Sen's median of slopes.

use super::flow::Z_95;
use crate::profile::Interval;

/// The median of the slopes between all pairs of (seconds, bytes), in bytes per second, with the 95% bounds of Sen (1968):
/// slopes counted from the median by Kendall's variance. Never narrower than `least_margin` to each side: neighbouring
/// levels share most of their samples, so that the slopes alone look surer than they are. `None` of fewer than two
/// points, or of no time between them.
pub(crate) fn theil_sen(points: &[(f64, f64)], least_margin: f64) -> Option<Interval> {
    if !least_margin.is_finite() {
        return None;
    }
    let Interval { estimate, low, high } = theil_sen_of(points, 1.0)?;
    Some(Interval { estimate, low: low.min(estimate - least_margin), high: high.max(estimate + least_margin) })
}

/// The same with the bounds for points that tell no more than `1 / inflation` as many independent ones would.
pub(crate) fn theil_sen_of(points: &[(f64, f64)], inflation: f64) -> Option<Interval> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, a) in points.iter().enumerate() {
        for b in points.iter().skip(index + 1) {
            let slope = (b.1 - a.1) / (b.0 - a.0);
            if slope.is_finite() {
                slopes.push(slope);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let estimate = median(&slopes)?;
    let n = points.len() as f64;
    let reach = Z_95 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0 * inflation).sqrt();
    let pairs = slopes.len() as f64;
    let at = |rank: f64| slopes.get((rank.max(0.0) as usize).min(slopes.len() - 1)).copied().unwrap_or(estimate);
    Some(Interval {
        estimate,
        low: at(((pairs - reach) / 2.0).floor() - 1.0).min(estimate),
        high: at(((pairs + reach) / 2.0).ceil()).max(estimate),
    })
}

/// Of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (upper + sorted.get(middle - 1)?) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_slope_with_bounds_of_kendall() {
        // 2 bytes a second, but for one outlier.
        let mut points: Vec<(f64, f64)> = (0..10).map(|at| (f64::from(at), 2.0 * f64::from(at))).collect();
        points[3].1 = 100.0;
        let rate = theil_sen(&points, 0.5).unwrap();
        assert_eq!((rate.estimate, rate.low, rate.high), (2.0, 1.5, 2.5));
        // Of 45 slopes, the reach is 1.96·√125 = 21.9: the 12th from below, and the 35th.
        let squares: Vec<(f64, f64)> = (0..10).map(|at| (f64::from(at), f64::from(at * at))).collect();
        let rate = theil_sen(&squares, 0.0).unwrap();
        assert_eq!((rate.estimate, rate.low, rate.high), (9.0, 6.0, 12.0));
        assert_eq!(theil_sen(&points[..1], 0.0), None);
        assert_eq!(theil_sen(&points, f64::NAN), None);
    }
}
