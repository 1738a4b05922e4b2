//! How likely an allocation is never to be freed.

use super::probability::beta_quantile;
use crate::profile::Interval;

/// The share of a site's allocations that are not freed, after the sampled ones of a window have been seen.
///
/// Each is freed with an unknown chance q that may be anything, so after `freed` and `alive` of them the chance 1 − q of
/// not being freed is Beta(alive + 1, freed + 1), the mirror of q's Beta(freed + 1, alive + 1). (The score that
/// Scalene publishes for this, 1 − (frees + 1)/(mallocs − frees + 2), is no probability: 10 and 9 give −2.33.)
/// It takes what is alive for not freed, so it is an upper bound while lifetimes are long against the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Posterior {
    /// Samples of the window that were freed.
    pub freed: u64,
    /// Samples of the window that are alive.
    pub alive: u64,
}

impl Posterior {
    /// Mean and 95% bounds of the share that is not freed.
    pub(crate) fn not_freed(&self) -> Interval {
        let (a, b) = (self.alive as f64 + 1.0, self.freed as f64 + 1.0);
        Interval { estimate: a / (a + b), low: beta_quantile(0.025, a, b), high: beta_quantile(0.975, a, b) }
    }
}
