//! What samples missed until a moment.

/// What samples missed until a moment, in counts that only rise: where two moments have the same, nothing is known to
/// have been missed between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// Samples that found no room in the live set.
    pub dropped_objects: u64,
    /// Their usable bytes, as sampled.
    pub dropped_bytes: u64,
    /// How often sampling was found switched off.
    pub pauses: u64,
    /// How often jemalloc was found to sample at another interval.
    pub rescales: u64,
}

impl Gaps {
    /// What was missed since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            dropped_objects: self.dropped_objects.saturating_sub(earlier.dropped_objects),
            dropped_bytes: self.dropped_bytes.saturating_sub(earlier.dropped_bytes),
            pauses: self.pauses.saturating_sub(earlier.pauses),
            rescales: self.rescales.saturating_sub(earlier.rescales),
        }
    }

    /// Whether nothing was missed.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
