//! How old what a site holds is.

use crate::analysis::Series;

/// How old what a site holds is, against what its objects usually reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Age {
    /// Mean lifetime of the samples freed since the first snapshot, or ever if none since, in seconds; `None` if none
    /// ever was. Those that live on are not in it.
    pub usual_lifetime: Option<f64>,
    /// Share of the live bytes that is older than [`OLD`] times that, as far as epochs tell; `None` with no lifetime.
    pub old_share: Option<f64>,
    /// Share of the live bytes that was there two or more snapshots ago; `None` where nothing tells.
    pub survivor_share: Option<f64>,
}

/// An object is old after so many usual lifetimes. If lifetimes are exponential, 5% of the freed ones ever got so old;
/// if a batch is freed at once, none did (the mean is half of the longest).
pub(crate) const OLD: f64 = 3.0;

impl Age {
    /// Where objects cannot be followed from birth to death.
    pub(crate) const UNKNOWN: Self = Self { usual_lifetime: None, old_share: None, survivor_share: None };

    pub(crate) fn of(series: &Series, start: usize) -> Self {
        let usual_lifetime = usual_lifetime(series, start);
        let Some((last, now)) = series.points.last().zip(series.seconds.last()) else {
            return Self { usual_lifetime, ..Self::UNKNOWN };
        };
        let bytes = |count: usize| last.cohorts.iter().take(count).map(|cohort| cohort.estimated_bytes).sum::<f64>();
        let live = bytes(last.cohorts.len());
        let share = |count: usize| if live > 0.0 { bytes(count) / live } else { 0.0 };
        let old = |lifetime: f64| series.seconds.iter().take_while(|&&time| time <= now - OLD * lifetime).count();
        Self {
            usual_lifetime,
            old_share: usual_lifetime.map(|lifetime| share(old(lifetime))),
            survivor_share: Some(share(series.points.len().saturating_sub(2))),
        }
    }
}

/// See [`Age::usual_lifetime`].
fn usual_lifetime(series: &Series, start: usize) -> Option<f64> {
    let freed = |at: usize| {
        let point = series.points.get(at)?;
        let alive: u64 = point.cohorts.iter().map(|cohort| cohort.objects).sum();
        Some((point.samples.saturating_sub(alive), point.freed_lifetimes_millis))
    };
    let (ever, ever_millis) = freed(series.points.len().checked_sub(1)?)?;
    let (before, before_millis) = freed(start)?;
    let mean = |count: u64, millis: u64| (count > 0).then(|| millis as f64 / 1000.0 / count as f64);
    mean(ever.saturating_sub(before), ever_millis.saturating_sub(before_millis)).or_else(|| mean(ever, ever_millis))
}
