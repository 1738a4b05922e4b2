//! An estimate and how sure it is.

/// An estimate with the bounds between which the truth lies with 95% confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// At most the estimate.
    pub low: f64,
    /// At least the estimate.
    pub high: f64,
}
