//! How the live heap went until each kept snapshot, judged once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::analysis::HeapGrowth;

/// By the id of the snapshot. Judging takes the square of the number of snapshots, and lists ask for all of them.
#[derive(Debug, Default)]
pub(super) struct Growths {
    known: Mutex<BTreeMap<u64, HeapGrowth>>,
}

impl Growths {
    /// That until the snapshot `id`, which `judge` tells the first time.
    pub(super) fn of(&self, id: u64, judge: impl FnOnce() -> HeapGrowth) -> HeapGrowth {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get(&id).copied();
        // Not while the others wait.
        found.unwrap_or_else(|| {
            let judged = judge();
            *known().entry(id).or_insert(judged)
        })
    }

    /// Forgets those of snapshots that `keeps` says no to.
    pub(super) fn retain(&self, keeps: impl Fn(u64) -> bool) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|&id, _| keeps(id));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_is_judged_once_for_as_long_as_it_is_kept() {
        let growths = Growths::default();
        let judged = Cell::new(0);
        let ask = |id| {
            growths.of(id, || {
                judged.set(judged.get() + 1);
                if id % 2 == 0 { HeapGrowth::Unknown(None) } else { HeapGrowth::Bounded }
            })
        };
        for _ in 0..3 {
            (0..1000).for_each(|id| assert_eq!(ask(id) == HeapGrowth::Unknown(None), id % 2 == 0));
        }
        assert_eq!(judged.get(), 1000);
        growths.retain(|id| id >= 600);
        assert_eq!(growths.known.lock().unwrap().len(), 400);
        (0..1000).for_each(|id| _ = ask(id));
        assert_eq!(judged.get(), 1600);
    }
}
