//! The last snapshots in a ring, with the first and the highest pinned beside it.

use std::sync::Arc;

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Selector, Snapshot};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::Retention;

/// The snapshots that are kept.
pub(crate) struct History {
    retention: Retention,
    /// The ring's two ends: snapshots go in here …
    newest: HeapProd<Arc<Snapshot>>,
    /// … and are read, and given up, here.
    ring: HeapCons<Arc<Snapshot>>,
    baseline: Option<Arc<Snapshot>>,
    peak: Option<Arc<Snapshot>>,
    evicted: u64,
    /// Of the snapshots in the ring.
    ring_bytes: usize,
}

impl History {
    /// An empty history.
    pub(crate) fn new(retention: Retention) -> Self {
        let (newest, ring) = HeapRb::new(retention.count).split();
        Self { retention, newest, ring, baseline: None, peak: None, evicted: 0, ring_bytes: 0 }
    }

    /// Adds a snapshot; the oldest in the ring make room for it.
    pub(crate) fn push(&mut self, snapshot: Arc<Snapshot>) {
        let sizes: Vec<usize> = self.ring.iter().map(|kept| kept.size_bytes()).collect();
        for _ in 0..self.retention.evictions(sizes.into_iter(), snapshot.size_bytes()) {
            self.ring_bytes -= self.ring.try_pop().map_or(0, |gone| gone.size_bytes());
            self.evicted += 1;
        }
        if self.baseline.is_none() {
            self.baseline = Some(snapshot.clone());
        }
        let rss = |snapshot: &Snapshot| snapshot.reading.process.rss;
        if self.peak.as_deref().is_none_or(|peak| rss(&snapshot) > rss(peak)) {
            self.peak = Some(snapshot.clone());
        }
        self.ring_bytes += snapshot.size_bytes();
        // Cannot be full: `evictions` left room for one.
        let _ = self.newest.try_push(snapshot);
    }

    /// All that are kept, oldest first, each once.
    pub(crate) fn all(&self) -> Vec<Arc<Snapshot>> {
        let mut all: Vec<Arc<Snapshot>> =
            self.baseline.iter().chain(&self.peak).chain(self.ring.iter()).cloned().collect();
        all.sort_by_key(|snapshot| snapshot.id);
        all.dedup_by_key(|snapshot| snapshot.id);
        all
    }

    /// The first and those in the ring until `last`, or all, oldest first; of more than `most` that many, evenly apart, with
    /// the first and the last. Without the pinned highest where the ring has given it up: it was
    /// chosen for being high, and would make what came after look like a fall.
    pub(crate) fn consecutive(&self, last: Option<u64>, most: usize) -> Vec<Arc<Snapshot>> {
        let mut all: Vec<Arc<Snapshot>> = self.baseline.iter().chain(self.ring.iter()).cloned().collect();
        all.dedup_by_key(|snapshot| snapshot.id);
        all.retain(|snapshot| last.is_none_or(|last| snapshot.id <= last));
        if all.len() <= most {
            return all;
        }
        let (last, steps) = (all.len() - 1, most.saturating_sub(1).max(1));
        (0..most).map(|step| Arc::clone(&all[last * step / steps])).collect()
    }

    /// The epochs that these ended, rising: objects born between two of them need not be told apart.
    pub(crate) fn epochs(&self) -> Vec<u32> {
        self.all().iter().map(|snapshot| snapshot.epoch).collect()
    }

    /// The snapshot that `selector` names, or an error that says which ones there are.
    pub(crate) fn find(&self, selector: Selector) -> Result<Arc<Snapshot>> {
        let found = match selector {
            Selector::Latest => self.ring.last().cloned(),
            Selector::Baseline => self.baseline.clone(),
            Selector::Peak => self.peak.clone(),
            Selector::Id(id) => {
                self.baseline.iter().chain(&self.peak).chain(self.ring.iter()).find(|kept| kept.id == id).cloned()
            }
        };
        found.ok_or_else(|| {
            let ids: Vec<String> = self.all().iter().map(|snapshot| snapshot.id.to_string()).collect();
            let there = match ids.as_slice() {
                [] => "none has been taken yet; POST /api/snapshots takes one now".to_owned(),
                ids => format!("there are {}, and the names latest, baseline and peak", ids.join(", ")),
            };
            Error::new(ErrorKind::NotFound, format!("no snapshot `{selector}`: {there}"))
        })
    }

    /// The oldest that is kept of those after `id`; allocates nothing.
    pub(crate) fn after(&self, id: u64) -> Option<Arc<Snapshot>> {
        let kept = self.baseline.iter().chain(&self.peak).chain(self.ring.iter());
        kept.filter(|kept| kept.id > id).min_by_key(|kept| kept.id).cloned()
    }

    /// Id of the newest; 0 before the first.
    pub(crate) fn last_id(&self) -> u64 {
        self.ring.last().map_or(0, |snapshot| snapshot.id)
    }

    /// Id of the pinned first one.
    pub(crate) fn baseline_id(&self) -> Option<u64> {
        self.baseline.as_ref().map(|snapshot| snapshot.id)
    }

    /// Id of the pinned highest one.
    pub(crate) fn peak_id(&self) -> Option<u64> {
        self.peak.as_ref().map(|snapshot| snapshot.id)
    }

    /// Snapshots in the ring.
    pub(crate) fn len(&self) -> usize {
        self.ring.occupied_len()
    }

    /// Snapshots that the ring has room for.
    pub(crate) fn most(&self) -> usize {
        self.retention.count
    }

    /// Bytes that all kept snapshots take. Asked often, so summed up as they come and go.
    pub(crate) fn size_bytes(&self) -> usize {
        let peak = self.peak.iter().filter(|peak| self.baseline_id() != Some(peak.id));
        let pinned = self.baseline.iter().chain(peak).filter(|pinned| !self.is_in_ring(pinned.id));
        self.ring_bytes + pinned.map(|pinned| pinned.size_bytes()).sum::<usize>()
    }

    /// Whether the snapshot of that id is kept.
    pub(crate) fn keeps(&self, id: u64) -> bool {
        self.is_in_ring(id) || self.baseline_id() == Some(id) || self.peak_id() == Some(id)
    }

    /// Ids rise by one, and the ring gives up the oldest.
    fn is_in_ring(&self, id: u64) -> bool {
        let ends = self.ring.first().zip(self.ring.last());
        ends.is_some_and(|(first, last)| (first.id..=last.id).contains(&id))
    }

    /// Snapshots that the ring has given up.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::Reason;
    use crate::profile::{Cohorts, Gaps, PackedTotals, Reading, Sums, Whole};
    use std::time::{Duration, SystemTime};

    /// Of an empty heap.
    pub(crate) fn snapshot(id: u64, rss: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            id,
            time: SystemTime::UNIX_EPOCH,
            reason: Reason::Requested,
            reading: Reading::of_rss(0, rss),
            epoch: 0,
            told_apart: Vec::new(),
            cohorts: Cohorts::default(),
            totals: PackedTotals::default(),
            whole: Whole::default(),
            live: Sums::default(),
            tables_bytes: 0,
            gaps: Gaps::default(),
            dropped_stacks: 0,
            mappings: Arc::new([]),
            duration: Duration::ZERO,
            partial: None,
            episode: None,
        })
    }

    fn ids(history: &History) -> Vec<u64> {
        history.all().iter().map(|snapshot| snapshot.id).collect()
    }

    #[test]
    fn the_ring_keeps_the_last_and_pins_the_first_and_the_highest() {
        let mut history = History::new(Retention { count: 3, bytes: usize::MAX });
        for (id, rss) in [(1, 10), (2, 90), (3, 20), (4, 90), (5, 30), (6, 40), (7, 50)] {
            history.push(snapshot(id, rss));
        }
        assert_eq!(ids(&history), [1, 2, 5, 6, 7]);
        assert_eq!((history.baseline_id(), history.peak_id()), (Some(1), Some(2)));
        let consecutive =
            |last, most| -> Vec<u64> { history.consecutive(last, most).iter().map(|snapshot| snapshot.id).collect() };
        assert_eq!(consecutive(None, 4), [1, 5, 6, 7]);
        assert_eq!(consecutive(Some(6), 4), [1, 5, 6]);
        assert_eq!(consecutive(None, 3), [1, 5, 7]);
        assert_eq!((history.len(), history.evicted()), (3, 4));
        let after = |id| history.after(id).map(|snapshot| snapshot.id);
        assert_eq!([0, 1, 2, 5, 7].map(after), [Some(1), Some(2), Some(5), Some(6), None]);
        let find = |selector| history.find(selector).unwrap().id;
        assert_eq!(find(Selector::Latest), 7);
        assert_eq!(find(Selector::Baseline), 1);
        assert_eq!(find(Selector::Peak), 2);
        assert_eq!(find(Selector::Id(5)), 5);
    }

    #[test]
    fn the_size_is_that_of_each_kept_snapshot_once() {
        let mut history = History::new(Retention { count: 1000, bytes: usize::MAX });
        assert_eq!(history.size_bytes(), 0);
        for id in 1..=2500u64 {
            // Of different sizes; the highest is the first one, then one in the ring, which gives it up.
            let mut one = Snapshot::clone(&snapshot(id, if id == 700 { 90 } else { 50 - id % 50 }));
            one.whole.births = vec![(0, Sums::default()); id as usize % 7];
            history.push(Arc::new(one));
            if id % 100 == 1 || id == 700 {
                let all = history.all();
                let sum: usize = all.iter().map(|snapshot| snapshot.size_bytes()).sum();
                assert_eq!(history.size_bytes(), sum, "after {id}");
                let kept: Vec<u64> = (1..=id).filter(|&id| history.keeps(id)).collect();
                assert_eq!(kept, all.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), "after {id}");
            }
        }
        assert_eq!((history.len(), history.all().len()), (1000, 1002));
    }

    #[test]
    fn an_unknown_id_says_which_ones_there_are() {
        let mut history = History::new(Retention { count: 2, bytes: usize::MAX });
        let error = history.find(Selector::Latest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("none has been taken yet"), "{error}");
        history.push(snapshot(4, 1));
        let error = history.find(Selector::Id(9)).unwrap_err().to_string();
        assert_eq!(error, "no snapshot `9`: there are 4, and the names latest, baseline and peak");
    }

    #[test]
    fn the_bound_in_bytes_holds_as_well() {
        let size = snapshot(1, 1).size_bytes();
        let mut history = History::new(Retention { count: 20, bytes: 2 * size });
        for id in 1..=5 {
            history.push(snapshot(id, 100 - id));
        }
        assert_eq!(ids(&history), [1, 4, 5]);
    }
}
