//! What one stack allocated in one epoch and still holds.

use std::ops::AddAssign;

/// Sums over samples: what was seen, what it stands for, and how sure that is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    /// Sampled objects.
    pub objects: u64,
    /// Their usable bytes.
    pub bytes: u64,
    /// Estimate of all objects.
    pub estimated_objects: f64,
    /// Estimate of all bytes.
    pub estimated_bytes: f64,
    /// Variance of `estimated_objects`.
    pub variance_objects: f64,
    /// Variance of `estimated_bytes`, in bytes².
    pub variance_bytes: f64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.estimated_objects += other.estimated_objects;
        self.estimated_bytes += other.estimated_bytes;
        self.variance_objects += other.variance_objects;
        self.variance_bytes += other.variance_bytes;
    }
}

/// What one stack allocated in one epoch and still held when the snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cohort {
    /// The stack's number in the stack table.
    pub stack: u32,
    /// The epoch in which these objects were born.
    pub epoch: u32,
    /// The objects still alive.
    pub live: Sums,
}

/// Everything one stack ever allocated, freed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    /// The stack's number in the stack table.
    pub stack: u32,
    /// Sampled objects.
    pub objects: u64,
    /// Their usable bytes.
    pub bytes: u64,
    /// Estimate of all objects.
    pub estimated_objects: f64,
    /// Estimate of all bytes.
    pub estimated_bytes: f64,
}
