//! What of a history can be judged.

use super::judge::{hindered, judge};
use super::{Hindrance, Judgement, LEAST_SNAPSHOTS};
use crate::analysis::Series;
use crate::profile::{Gaps, SampleInterval};

/// How a history came about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstances {
    /// Why no history of this source, or with these settings, can ever be judged.
    pub never: Option<Hindrance>,
    /// Whether only threads that ask for it are sampled.
    pub is_of_some_threads: bool,
    /// What samples have missed until now, which may be later than the last moment.
    pub now: Option<Gaps>,
}

/// What of a history can be judged: of moments one after the other, each with its snapshot's id and what samples had missed
/// until then, those since which nothing was missed.
///
/// What was missed is neither growth nor its absence. Objects whose samples found no room would count as freed, and what is
/// allocated while sampling is off as never allocated: a leak would look like a cache that filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Basis {
    /// The first moment to judge from; the first of all when nothing can be judged.
    pub start: usize,
    /// Why nothing can be judged.
    pub hindrance: Option<Hindrance>,
    /// Why nothing can be acquitted, though it can be accused.
    pub caveat: Option<Hindrance>,
    /// Why what was before `start` is not looked at.
    pub before: Option<Hindrance>,
    /// Whether samples were dropped before `start`, and count as freed since the process started.
    pub has_dropped: bool,
}

impl Basis {
    pub(crate) fn of(moments: &[(Option<u64>, Gaps)], circumstances: &Circumstances) -> Self {
        let broken = moments.windows(2).rposition(|pair| matches!(pair, [(_, a), (_, b)] if a != b)).map(|at| at + 1);
        let gap = broken.map(|at| gap(moments, at));
        let is_short = moments.len() - broken.unwrap_or(0) < LEAST_SNAPSHOTS;
        let hindrance = circumstances.never.or(gap.filter(|_| is_short));
        let start = if hindrance.is_some() { 0 } else { broken.unwrap_or(0) };
        let of_threads = circumstances.is_of_some_threads.then_some(Hindrance::SomeThreads);
        let last = moments.last();
        Self {
            start,
            hindrance,
            caveat: circumstances.now.zip(last).and_then(|(now, last)| gap_since(last, &now)).or(of_threads),
            before: gap.filter(|_| hindrance.is_none()),
            has_dropped: moments.get(start).is_some_and(|(_, gaps)| gaps.dropped_objects > 0),
        }
    }

    /// Judges a site by its series from `start` on, or says why that cannot be.
    pub(crate) fn judge(&self, series: &Series, interval: SampleInterval) -> Judgement {
        match self.hindrance {
            Some(hindrance) => hindered(series, interval, hindrance),
            None if self.has_dropped => judge(&series.without_earlier_frees(), interval),
            None => judge(series, interval),
        }
    }

    /// Why nobody can be acquitted.
    pub(crate) fn doubt(&self) -> Option<Hindrance> {
        self.hindrance.or(self.caveat)
    }
}

/// What was missed between the moment before `at` and that, with what came before of the same.
fn gap(moments: &[(Option<u64>, Gaps)], at: usize) -> Hindrance {
    let missed = |at: usize| moments[at].1.since(&moments[at - 1].1);
    let id = |at: usize| moments[at].0;
    if missed(at).rescales > 0 {
        return Hindrance::Rescaled;
    }
    if missed(at).pauses > 0 {
        let from = (1..=at).rev().take_while(|&at| missed(at).pauses > 0).last().unwrap_or(at);
        return Hindrance::Paused { from: id(from - 1), to: id(at) };
    }
    let first = (1..=at).find(|&at| missed(at).dropped_objects > 0).unwrap_or(at) - 1;
    let samples = moments[at].1.since(&moments[first].1).dropped_objects;
    Hindrance::Dropped { samples, since: id(first) }
}

/// What has been missed since the last moment.
fn gap_since(&(since, gaps): &(Option<u64>, Gaps), now: &Gaps) -> Option<Hindrance> {
    let missed = now.since(&gaps);
    match missed {
        _ if missed.is_none() => None,
        Gaps { rescales: 1.., .. } => Some(Hindrance::Rescaled),
        Gaps { pauses: 1.., .. } => Some(Hindrance::Paused { from: since, to: None }),
        Gaps { dropped_objects: samples, .. } => Some(Hindrance::Dropped { samples, since }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(objects: u64) -> Gaps {
        Gaps { dropped_objects: objects, ..Gaps::default() }
    }

    fn paused(pauses: u64) -> Gaps {
        Gaps { pauses, ..Gaps::default() }
    }

    /// Of snapshots 11, 12, …
    fn basis(gaps: &[Gaps], circumstances: &Circumstances) -> Basis {
        let moments: Vec<_> = (11..).map(Some).zip(gaps.iter().copied()).collect();
        Basis::of(&moments, circumstances)
    }

    #[track_caller]
    fn check(gaps: &[Gaps], start: usize, hindrance: Option<&str>, before: Option<&str>) {
        let found = basis(gaps, &Circumstances::default());
        let words = |why: Option<Hindrance>| why.map(|why| why.to_string());
        assert_eq!(found.start, start);
        for (found, expect) in [(words(found.hindrance), hindrance), (words(found.before), before)] {
            let fits = match (&found, expect) {
                (Some(found), Some(expect)) => found.contains(expect),
                (found, expect) => found.is_none() && expect.is_none(),
            };
            assert!(fits, "{found:?} {expect:?}");
        }
    }

    #[test]
    fn what_nothing_was_missed_in_is_judged_whole() {
        check(&[], 0, None, None);
        check(&[Gaps::default(); 2], 0, None, None);
        // Long ago.
        check(&[dropped(7); 5], 0, None, None);
        assert!(basis(&[dropped(7); 5], &Circumstances::default()).has_dropped);
        assert!(!basis(&[paused(7); 5], &Circumstances::default()).has_dropped);
    }

    #[test]
    fn only_what_came_since_the_last_gap_is_judged() {
        let early = [0, 3, 3, 3, 3].map(dropped);
        check(&early, 1, None, Some("3 samples found no room since snapshot 11: raise HEAPWARD_MAX_LIVE_SAMPLES"));
        let late = [0, 0, 0, 2, 3, 3, 3].map(dropped);
        check(&late, 0, Some("3 samples found no room since snapshot 13"), None);
        check(&[0, 1].map(dropped), 0, Some("1 sample found no room since snapshot 11"), None);
        let off = [0, 0, 0, 2, 4, 4].map(paused);
        check(&off, 0, Some("sampling was switched off between the snapshots 13 and 15"), None);
        let on_again = [0, 2, 2, 4, 4, 4, 4].map(paused);
        check(&on_again, 3, None, Some("between the snapshots 13 and 14"));
        let rescaled = [0, 0, 0, 0, 1].map(|rescales| Gaps { rescales, ..Gaps::default() });
        check(&rescaled, 0, Some("sample interval was changed"), None);
    }

    #[test]
    fn what_is_missed_now_acquits_nobody() {
        let now = |now: Gaps| basis(&[dropped(1); 5], &Circumstances { now: Some(now), ..Circumstances::default() });
        let words = |basis: Basis| basis.doubt().map(|why| why.to_string()).unwrap_or_default();
        assert_eq!(now(dropped(1)).doubt(), None);
        assert!(words(now(dropped(9))).starts_with("8 samples found no room since snapshot 15"));
        let off = now(Gaps { pauses: 1, ..dropped(1) });
        assert_eq!((off.hindrance, words(off)), (None, "sampling was switched off since snapshot 15".to_owned()));
        let some = Circumstances { is_of_some_threads: true, ..Circumstances::default() };
        assert!(words(basis(&[], &some)).contains("prof_thread_active_init"));
    }

    #[test]
    fn what_can_never_be_judged_comes_first() {
        let never = Circumstances { never: Some(Hindrance::SmallHistory { kept: 2 }), ..Circumstances::default() };
        let found = basis(&[0, 0, 1].map(dropped), &never);
        assert_eq!(found.hindrance.unwrap().to_string(), "HEAPWARD_HISTORY is 2, and it takes 3 or more");
    }
}
