//! When what a row holds was born, in a few figures however many snapshots are kept.

/// So many ages of a row are told apart at most, the youngest ones: of a thousand kept snapshots a row would have as many.
const MOST_AGES: usize = 8;

/// Bytes by the snapshot that they were born before: its index, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ages {
    /// At most [`MOST_AGES`], oldest first.
    bytes: Vec<(usize, f64)>,
    /// Whether the first of them has others in it, which are older.
    are_folded: bool,
}

impl Ages {
    /// Adds `bytes` that were born before the snapshot `before`, in any order.
    pub(super) fn add(&mut self, before: usize, bytes: f64) {
        match self.bytes.binary_search_by_key(&before, |age| age.0) {
            Ok(at) => self.bytes[at].1 += bytes,
            Err(0) if self.bytes.len() == MOST_AGES => {
                self.bytes[0].1 += bytes;
                self.are_folded = true;
            }
            Err(at) => {
                self.bytes.insert(at, (before, bytes));
                if self.bytes.len() > MOST_AGES {
                    let (_, oldest) = self.bytes.remove(0);
                    self.bytes[0].1 += oldest;
                    self.are_folded = true;
                }
            }
        }
    }

    /// Each with its bytes, oldest first; what was born before the first of them was born before any older one too.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        self.bytes.iter().copied().filter(|(_, bytes)| *bytes > 0.0)
    }

    /// Whether the oldest has others in it.
    pub(super) fn are_folded(&self) -> bool {
        self.are_folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_are_told_apart_and_the_rest_is_the_oldest_in_any_order() {
        let expect: Vec<(usize, f64)> =
            [(992, 1.0 + 992.0)].into_iter().chain((993..1000).map(|at| (at, 1.0))).collect();
        // A permutation of 0 to 999 for each step that has no factor in common with it.
        for step in [1, 999, 7, 333, 501] {
            let mut ages = Ages::default();
            for at in 0..1000 {
                ages.add(at * step % 1000, 0.5);
                ages.add(at * step % 1000, 0.5);
                assert!(ages.bytes.len() <= MOST_AGES);
            }
            assert_eq!((ages.iter().collect::<Vec<_>>(), ages.are_folded()), (expect.clone(), true), "{step}");
        }
        let mut few = Ages::default();
        (0..MOST_AGES).for_each(|at| few.add(at, 1.0));
        assert_eq!((few.iter().count(), few.are_folded()), (MOST_AGES, false));
    }
}
