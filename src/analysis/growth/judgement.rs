//! What came out for one site.

use super::{Age, Fact, Posterior, Shape};
use crate::profile::Interval;

/// What a site did over a history of snapshots, with the evidence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// The snapshot, counted from 0, at which the judged window begins. It ends with the last.
    pub start: usize,
    /// Length of the window.
    pub seconds: f64,
    /// Bytes by which the site grew over the window, as sampling tells.
    pub growth: Interval,
    /// The chance of at least the growth that is judged where there is none, corrected for the windows that were tried.
    pub p_value: f64,
    /// Bytes a second, where three snapshots or more can tell.
    pub rate: Option<Interval>,
    /// The course that it took.
    pub shape: Shape,
    /// What decided for the shape.
    pub fact: Fact,
    /// How old what it holds is.
    pub age: Age,
    /// How likely its allocations of the window are not freed; `None` where it is not told how many there were.
    pub posterior: Option<Posterior>,
    /// Share of the bytes allocated since the window's start that is alive; `None` when nothing was.
    pub alive_share: Option<f64>,
    /// What grows by less in this window is not told from chance, in bytes.
    pub detection_limit: f64,
}
