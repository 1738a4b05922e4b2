//! An estimate and how sure it is.

use super::{Sums, unseen};

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

impl Sums {
    /// How many bytes there are. Zero without a sample: see [`super::SampleInterval::unseen_limit`].
    pub(crate) fn bytes_interval(&self) -> Interval {
        let (low, high) = unseen::bounds(self.bytes as f64, self.estimated_bytes, self.variance_bytes);
        Interval { estimate: self.estimated_bytes, low, high }
    }

    /// How many objects there are, if they are of the sizes seen: of smaller ones there may be any number unseen.
    /// Zero without a sample.
    pub(crate) fn objects_interval(&self) -> Interval {
        let (low, high) = unseen::bounds(self.objects as f64, self.estimated_objects, self.variance_objects);
        Interval { estimate: self.estimated_objects, low, high }
    }
}

#[cfg(test)]
mod tests;
