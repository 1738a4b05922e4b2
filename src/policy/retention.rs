//! How many snapshots are kept.

/// Bounds on what is kept in memory: by number, and by bytes, because a snapshot of a large heap is large itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Snapshots in the ring; the pinned ones stand beside it.
    pub(crate) count: usize,
    /// Bytes of the snapshots in the ring.
    pub(crate) bytes: usize,
}

impl Retention {
    /// How many of the oldest must go so that one of `new` bytes can be added to `sizes` (oldest first).
    ///
    /// The new one is kept, whatever its size: a bound must not take the only evidence.
    pub(crate) fn evictions(&self, sizes: impl ExactSizeIterator<Item = usize>, new: usize) -> usize {
        let mut left = sizes.len();
        let sizes: Vec<usize> = sizes.collect();
        let mut total = sizes.iter().sum::<usize>().saturating_add(new);
        let mut evicted = 0;
        while left > 0 && (left + 1 > self.count || total > self.bytes) {
            total -= sizes[evicted];
            evicted += 1;
            left -= 1;
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_by_count_and_by_bytes() {
        let retention = Retention { count: 3, bytes: 100 };
        let evictions = |sizes: &[usize], new| retention.evictions(sizes.iter().copied(), new);
        assert_eq!(evictions(&[], 10), 0);
        assert_eq!(evictions(&[10, 10], 10), 0);
        assert_eq!(evictions(&[10, 10, 10], 10), 1);
        assert_eq!(evictions(&[50, 40], 20), 1);
        assert_eq!(evictions(&[50, 40], 70), 2);
        assert_eq!(evictions(&[50, 40], 1000), 2, "the new one is kept");
    }
}
