//! From a series to a judgement.

use super::course::course;
use super::flow::Z_95;
use super::limit::detection_limit;
use super::rate::theil_sen;
use super::window::Refusal;
use super::{Age, Fact, Hindrance, Judgement, Posterior, Shape, Window, staircase};
use crate::analysis::Series;
use crate::profile::SampleInterval;

/// With fewer snapshots than this no epoch is left to compare with.
pub(crate) const LEAST_SNAPSHOTS: usize = 4;

/// Where a window may begin, as shares of the snapshots: at the first, after a warm-up, and before a leak that begins
/// late. The longest window that shows growth without bound is judged; each that is tried makes chance likelier. With the
/// first alone 45% of the leaks on top of a warm-up are found instead of 96%.
const STARTS: [f64; 5] = [0.0, 0.15, 0.33, 0.5, 0.67];

/// A snapshot after which so much of the time passes until the next one is left out: that one epoch would be all. With
/// none left out, 95.2% of the large leaks are found instead of 97.9%.
const LONELY: f64 = 0.5;

/// Judges what one site did.
pub(crate) fn judge(series: &Series, interval: SampleInterval) -> Judgement {
    let snapshots = rising(&series.seconds).min(series.points.len());
    let last = snapshots.saturating_sub(1);
    let base = base(series, last);
    let whole = Window::new(series, interval, base, base, last);
    if snapshots < LEAST_SNAPSHOTS {
        let fact = Fact::FewSnapshots { snapshots, least: LEAST_SNAPSHOTS };
        return judgement(series, interval, &whole, 1.0, (Shape::Inconclusive, fact));
    }
    if let Some(steps) = staircase::steps(&whole) {
        let p = whole.flow.p_value_of_sampling();
        return judgement(series, interval, &whole, p, (Shape::Unbounded, Fact::Staircase { steps }));
    }
    let starts = STARTS.iter().map(|share| base + (share * (last - base) as f64).round() as usize);
    let mut starts: Vec<usize> = starts.collect();
    starts.retain(|start| start + LEAST_SNAPSHOTS <= snapshots);
    starts.dedup();
    let tries = starts.len() as f64;
    let (mut refusal, mut found) = (None, None);
    for start in starts {
        let window = Window::new(series, interval, base, start, last);
        match window.unbounded(tries) {
            Ok((p, fact)) => {
                let judgement = judgement(series, interval, &window, p * tries, (Shape::Unbounded, fact));
                // Of a leak that begins late a shorter window tells the rate.
                if judgement.rate.is_some_and(|rate| rate.low > 0.0) {
                    return judgement;
                }
                found.get_or_insert(judgement);
            }
            Err(why) => _ = refusal.get_or_insert(why),
        }
    }
    if let Some(judgement) = found {
        return judgement;
    }
    let course = course(&whole, refusal.unwrap_or(Refusal::Insignificant));
    judgement(series, interval, &whole, (whole.flow.p_value() * tries).min(1.0), course)
}

/// What is left to say where `hindrance` keeps the series from being judged: what was seen of the growth. What rests on
/// objects being followed from birth to death is unknown.
pub(super) fn hindered(series: &Series, interval: SampleInterval, hindrance: Hindrance) -> Judgement {
    let last = rising(&series.seconds).min(series.points.len()).saturating_sub(1);
    let whole = Window::new(series, interval, 0, 0, last);
    let judged = judgement(series, interval, &whole, 1.0, (Shape::Inconclusive, Fact::Hindered(hindrance)));
    Judgement { rate: None, age: Age::UNKNOWN, posterior: None, alive_share: None, ..judged }
}

/// How many of the times rise, from the first on.
fn rising(seconds: &[f64]) -> usize {
    let falls = |at: usize| seconds.get(at..=at + 1).is_none_or(|pair| !matches!(pair, [a, b] if b > a));
    (0..seconds.len()).find(|&at| falls(at)).map_or(0, |at| at + 1)
}

/// The first snapshot to judge from: one that was pinned long before the others says little about them.
fn base(series: &Series, last: usize) -> usize {
    let time = |at: usize| series.seconds.get(at).copied().unwrap_or(f64::INFINITY);
    let is_lonely = |at: usize| time(at + 1) - time(at) > LONELY * (time(last) - time(at));
    let most = (last + 1).saturating_sub(LEAST_SNAPSHOTS);
    (0..most).find(|&at| !is_lonely(at)).unwrap_or(most)
}

fn judgement(
    series: &Series,
    interval: SampleInterval,
    window: &Window<'_>,
    p_value: f64,
    (shape, fact): (Shape, Fact),
) -> Judgement {
    let Window { start, last, .. } = *window;
    let (aged, first) = window.judged();
    let levels: Vec<(f64, f64)> = (first..=last).map(|at| (aged.time(at), aged.level(at))).collect();
    // A rate is for what comes next, so that chance in what came counts as well, and not in its sampling alone.
    let margin = Z_95 * aged.flow(first, last).variance().sqrt();
    let ever = |at: usize| series.points.get(at).map_or((0, 0.0), |point| (point.samples, point.allocated_bytes));
    let ((samples_before, bytes_before), (samples, bytes)) = (ever(start), ever(last));
    let alive = window.flow.born.objects;
    let allocated = bytes - bytes_before;
    Judgement {
        start,
        seconds: window.seconds(),
        growth: window.flow.interval(interval),
        p_value: p_value.min(1.0),
        rate: theil_sen(&levels, margin / (aged.time(last) - aged.time(first))),
        shape,
        fact,
        age: Age::of(series, start),
        posterior: samples.saturating_sub(samples_before).checked_sub(alive).map(|freed| Posterior { freed, alive }),
        alive_share: (allocated > 0.0).then(|| (window.flow.born.estimated_bytes / allocated).min(1.0)),
        detection_limit: detection_limit(&window.flow, interval.bytes() as f64),
    }
}
