//! The largest sites of each snapshot that is kept.

use std::sync::Arc;

use super::moment::Moment;
use super::story::NamedStacks;
use super::{Namer, Shared, Wanted, stopped};
use crate::analysis::{Held, largest_held};
use crate::error::Result;
use crate::snapshot::Snapshot;

/// So many snapshots are shown at most: the pinned ones and the newest.
const SHOWN: usize = 64;

/// The largest sites of the kept snapshots.
pub(crate) struct KeptSites {
    /// Oldest first.
    pub(crate) snapshots: Vec<(Arc<Snapshot>, Held)>,
    /// Snapshots that are kept and not shown: older ones.
    pub(crate) left_out: usize,
    /// What is missing, and what could not be named.
    pub(crate) comments: Vec<String>,
}

impl Shared {
    /// The `count` largest sites of each of the kept snapshots, for the renderer's thread.
    ///
    /// # Errors
    ///
    /// When nobody waits for it any more, or heapward ends.
    pub(crate) fn kept_sites(&self, count: usize, namer: &mut Namer<'_>, wanted: &Wanted) -> Result<KeptSites> {
        let go_on = || if self.is_stopped() { Err(stopped()) } else { wanted.check() };
        go_on()?;
        let (kept, pinned) = {
            let history = self.history();
            (history.all(), [history.baseline_id(), history.peak_id()])
        };
        let all = kept.len();
        let shown = shown(kept, |snapshot| pinned.contains(&Some(snapshot.id)));
        let moments: Vec<Moment> = shown.iter().cloned().map(Moment::Kept).collect();
        let NamedStacks { profile, stacks } = NamedStacks::of(&moments, self.collector(), namer);
        let sides: Vec<_> = moments.iter().map(Moment::side).collect();
        let held = largest_held(&profile, &stacks, &sides, count, go_on)?;
        Ok(KeptSites {
            left_out: all - shown.len(),
            snapshots: shown.into_iter().zip(held).collect(),
            comments: profile.comments,
        })
    }
}

/// Of snapshots, oldest first, those that are pinned and the newest others, [`SHOWN`] in all.
fn shown<T>(mut all: Vec<T>, is_pinned: impl Fn(&T) -> bool) -> Vec<T> {
    let mut too_many = all.len().saturating_sub(SHOWN);
    all.retain(|one| {
        let goes = too_many > 0 && !is_pinned(one);
        too_many -= usize::from(goes);
        !goes
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_ones_and_the_newest_are_shown() {
        assert_eq!(shown((1..=64).collect(), |_| false), (1..=64).collect::<Vec<_>>());
        let expect: Vec<_> = [1, 5].into_iter().chain(39..=100).collect();
        assert_eq!(shown((1..=100).collect(), |id| [1, 5].contains(id)), expect);
    }
}
