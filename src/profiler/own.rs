//! What heapward itself takes, and what its samples say of the heap.

use super::Shared;
use crate::analysis::Own;
use crate::collect::Source;
use crate::profile::{Reading, Sums};
use crate::snapshot::{Selector, Snapshot};

impl Shared {
    /// At `reading`, which is the last, with tables of that many bytes; and all that is sampled and alive, where that is known
    /// at any time. Without heapward's own part of jemalloc's heap.
    pub(crate) fn own_now(&self, reading: &Reading, tables: u64) -> (Own, Option<Sums>) {
        if self.collector().source() == Source::Dump {
            return (self.own_of_dumps(reading, tables), None);
        }
        let sums = self.collector().live_sums();
        let [_, small] = sums.unwrap_or_default();
        let gaps = self.collector().gaps();
        let own = Own {
            tables,
            sampled_objects: small.objects,
            sampled_bytes: small.bytes,
            dropped_objects: gaps.dropped_objects,
            dropped_bytes: gaps.dropped_bytes,
            ..Own::default()
        };
        (own, sums.map(|[all, _]| all))
    }

    /// At a snapshot.
    pub(crate) fn own_at(&self, snapshot: &Snapshot) -> Own {
        let small = &snapshot.whole.small;
        Own {
            tables: snapshot.tables_bytes,
            sampled_objects: small.objects,
            sampled_bytes: small.bytes,
            dropped_objects: snapshot.gaps.dropped_objects,
            dropped_bytes: snapshot.gaps.dropped_bytes,
            ..Own::default()
        }
    }

    /// As at the last snapshot, which is when jemalloc's dump was read; what came since is not known, but it is on pages.
    fn own_of_dumps(&self, reading: &Reading, tables: u64) -> Own {
        let last = self.history().find(Selector::Latest).ok();
        let active = |reading: &Reading| reading.allocator.map_or(0, |memory| memory.active);
        let before = last.as_ref().map_or(0, |last| active(&last.reading));
        let own = last.map(|last| self.own_at(&last)).unwrap_or_default();
        Own { tables, undumped_bytes: active(reading).saturating_sub(before), ..own }
    }
}
