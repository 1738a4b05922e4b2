//! What some stacks held, snapshot by snapshot.

use crate::profile::Sums;

/// What some stacks (a site's, a function's, all) held at each of the snapshots in hand, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Seconds since the first of them, rising.
    pub seconds: Vec<f64>,
    /// One for each of `seconds`.
    pub points: Vec<Point>,
}

/// What some stacks held at one snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// What was alive, by birth: element 0 was born before the first snapshot, element k > 0 between the snapshots
    /// k − 1 and k. Of snapshot j there are j + 1.
    pub cohorts: Vec<Sums>,
    /// Samples ever taken at these stacks until then, freed or not.
    pub samples: u64,
    /// Estimated bytes ever allocated at these stacks until then.
    pub allocated_bytes: f64,
    /// Milliseconds that the samples freed until then had lived, in all.
    pub freed_lifetimes_millis: u64,
}
