//! Whether growth has ended, or pauses as it did before.

use crate::profile::Sums;

/// Births at this share of their mean rate are as good as none.
const QUIET: f64 = 0.2;

/// Silence tells something once this many samples are missing: of a pure leak no sample is seen where six should be
/// once in 400 times.
const LEAST_MISSED: f64 = 6.0;

/// A silence that is not much longer than an earlier one is a pause: that one comes to at least this part of it.
const LEAST_PAUSE: f64 = 0.6;

/// Whether what is born and stays has ended, by the epochs of birth (its number, its seconds, what is alive of it) of
/// what is alive. A leak in bursts has been silent before; a cache that filled has not.
pub(super) fn ended(births: &[(usize, f64, Sums)], weight: f64) -> bool {
    // Seconds and bytes up to each epoch.
    let mut sums = vec![(0.0, 0.0)];
    let (mut seconds, mut bytes) = (0.0, 0.0);
    for (_, length, born) in births {
        seconds += length;
        bytes += born.estimated_bytes;
        sums.push((seconds, bytes));
    }
    let rate = bytes / seconds;
    let is_quiet = |from: (f64, f64), to: (f64, f64)| to.1 - from.1 <= QUIET * rate * (to.0 - from.0);
    let whole = (seconds, bytes);
    sums.iter().enumerate().skip(1).any(|(count, &end)| {
        let silence = seconds - end.0;
        let before = sums.get(..=count).unwrap_or_default();
        let paused = || {
            before.iter().any(|&from| {
                let long_enough = before.iter().find(|to| to.0 - from.0 >= LEAST_PAUSE * silence);
                long_enough.is_some_and(|&to| is_quiet(from, to))
            })
        };
        rate * silence >= LEAST_MISSED * weight && is_quiet(end, whole) && !paused()
    })
}
