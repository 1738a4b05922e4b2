//! RSS has grown since the last snapshot.

use super::{Confirmed, Hold, Verdict};
use crate::policy::{Growth, Reason};
use crate::profile::Reading;

/// Compares with the last snapshot, whatever it was taken for; before the first, with the first reading. A process that
/// shrinks and grows again to where it was has not grown.
#[derive(Debug)]
pub(super) struct GrowthRule {
    growth: Option<Growth>,
    /// RSS to grow from, and the snapshot that it is of.
    base: Option<(u64, Option<u64>)>,
    grown: Confirmed,
}

impl GrowthRule {
    pub(super) fn new(growth: Option<Growth>) -> Self {
        Self { growth, base: None, grown: Confirmed::default() }
    }

    pub(super) fn judge(&mut self, reading: &Reading) -> Verdict {
        let rss = reading.process.rss;
        let (from, since) = *self.base.get_or_insert((rss, None));
        let Some(growth) = self.growth else {
            return Verdict::Holds(Hold::Off { setting: "HEAPWARD_TRIGGER_GROWTH" });
        };
        // A share of little rounds down to nothing, which nobody has grown by.
        let has_grown = rss > from && rss >= growth.from(from);
        if self.grown.note(has_grown) {
            Verdict::Fires(Reason::RssGrowth { rss, from, since })
        } else if has_grown {
            Verdict::Holds(Hold::GrownOnce { rss, from, since })
        } else {
            Verdict::Holds(Hold::NotGrown { rss, from, since, growth })
        }
    }

    /// A snapshot was taken.
    pub(super) fn taken(&mut self, id: u64, reading: &Reading) {
        self.base = Some((reading.process.rss, Some(id)));
        self.grown.note(false);
    }
}
