//! What to call the memory that a process has: a leak, fragmentation, not heap, or unclear.

use super::Series;
use super::growth::{Basis, Hindrance, Judgement, Shape};
use super::rss::{Breakdown, HeapParts};
use crate::profile::ByteSize;

/// RSS has grown when it is more than this above the baseline. A service that does the same all day wanders by some MiB,
/// and the kernel's count alone may be off by nr_cpus² pages: 16 MiB at 64 processors.
const MATERIAL_BYTES: u64 = 16 << 20;

/// … and more than this share of the baseline's RSS: what is large wanders more.
const MATERIAL_SHARE: f64 = 0.05;

/// A part carries the growth with at least this share of it: more than half, with a margin for what the sources disagree
/// about, so that where nothing shrank no other part can do so too.
const CARRIES: f64 = 0.6;

/// Without growth it is fragmentation when jemalloc keeps at least this share of RSS unused. Half: for each byte in use
/// one is not. Above [`MATERIAL_BYTES`] only: a small service has slack of a few MiB whatever it does.
const FRAGMENTED_SHARE: f64 = 0.5;

/// Without growth it is not the heap's when at least this share of RSS is no heap, for the reason of [`CARRIES`].
const NOT_HEAP_SHARE: f64 = 0.6;

/// What the snapshots say of the live heap, all sites taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum HeapGrowth {
    /// It grows without bound, and has grown so by so many bytes.
    Unbounded { bytes: f64 },
    /// It grew, but as a cache, a warm-up or a sawtooth does.
    Bounded,
    /// It cannot be told: there are too few snapshots, or something hinders.
    Unknown(Option<Hindrance>),
}

impl HeapGrowth {
    /// What the history of all stacks together was judged to be.
    pub(crate) fn of(judgement: &Judgement, series: &Series, basis: &Basis) -> Self {
        match judgement.shape {
            Shape::Unbounded => Self::Unbounded { bytes: unbounded_bytes(judgement, series) },
            _ if basis.doubt().is_some() => Self::Unknown(basis.doubt()),
            Shape::Inconclusive => Self::Unknown(None),
            _ => Self::Bounded,
        }
    }
}

/// The growth of the judged window; and of an interval before it that is as long as all of that (the first snapshot is
/// pinned, and the ring may have moved on for days), as much as the same rate makes. Of what was before and seen, the judge
/// has found that it is not so.
fn unbounded_bytes(judgement: &Judgement, series: &Series) -> f64 {
    let level = |at: usize| -> Option<f64> {
        Some(series.points.get(at)?.cohorts.iter().map(|cohort| cohort.estimated_bytes).sum())
    };
    let growth = judgement.growth.estimate;
    let rate = growth / judgement.seconds;
    let unseen = (1..=judgement.start).filter_map(|at| {
        let seconds = series.seconds.get(at)? - series.seconds.get(at - 1)?;
        let grown = level(at)? - level(at - 1)?;
        (seconds >= judgement.seconds).then(|| grown.min(rate * seconds).max(0.0))
    });
    growth + unseen.sum::<f64>()
}

/// What to call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Leak,
    Fragmentation,
    NotHeap,
    Unclear,
}

impl Word {
    /// As people read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Fragmentation => "fragmentation",
            Self::NotHeap => "not heap",
            Self::Unclear => "unclear",
        }
    }
}

/// A word, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub word: Word,
    /// Sentences with figures.
    pub why: String,
}

impl Verdict {
    /// What to call the memory of `now`, which has grown since `baseline` or not.
    pub(crate) fn of(now: &Breakdown, baseline: Option<&Breakdown>, heap: HeapGrowth) -> Self {
        match baseline {
            None => by_level(now, heap, "There is no earlier snapshot to compare with."),
            Some(base) if is_material(now, base) => by_growth(now, base, heap),
            Some(base) => {
                let grown = signed(change(now.rss, base.rss));
                by_level(now, heap, &format!("RSS has not grown materially since the first snapshot ({grown})."))
            }
        }
    }
}

fn is_material(now: &Breakdown, base: &Breakdown) -> bool {
    let share = (base.rss as f64 * MATERIAL_SHARE) as u64;
    now.rss.saturating_sub(base.rss) > MATERIAL_BYTES.max(share)
}

fn by_growth(now: &Breakdown, base: &Breakdown, heap: HeapGrowth) -> Verdict {
    let total = change(now.rss, base.rss);
    let grew = format!("RSS grew {} since the first snapshot", ByteSize::bytes(now.rss.saturating_sub(base.rss)));
    let (Some(to), Some(from), Some(outside), Some(outside_before)) =
        (&now.heap, &base.heap, now.not_heap(), base.not_heap())
    else {
        let why = format!("{grew}. Without jemalloc's figures of both moments it cannot be told what grew.");
        return Verdict { word: Word::Unclear, why };
    };
    let live = change(to.live, from.live);
    let (slack, dirty) = (change(to.slack, from.slack), change(to.dirty, from.dirty));
    let not_heap = change(outside, outside_before);
    let metadata = change(to.metadata, from.metadata);
    let figures = format!(
        "{grew}: {} live heap (allocator's count), {} pages that jemalloc keeps (slack {}, dirty {}), {} not heap, {} \
         jemalloc's tables.",
        signed(live),
        signed(slack + dirty),
        signed(slack),
        signed(dirty),
        signed(not_heap),
        signed(metadata)
    );
    let carrier = |live: i128, kept: i128| carrier(total, live, kept, not_heap);
    // What may be either: samples that are missing from the live heap pass for slack.
    let either = i128::from(now.in_doubt().saturating_sub(base.in_doubt()));
    let carried = carrier(live, slack + dirty);
    if carried != carrier(live + either, slack + dirty - either) {
        return Verdict { word: Word::Unclear, why: format!("{figures} {}", in_doubt(either)) };
    }
    let (word, more) = match (carried, heap) {
        (Some(Carrier::Live), HeapGrowth::Unbounded { bytes }) if bytes >= live as f64 * CARRIES => {
            (Word::Leak, GROWS_WITHOUT_BOUND.to_owned())
        }
        (Some(Carrier::Live), HeapGrowth::Unbounded { bytes }) => (
            Word::Unclear,
            format!(
                "{GROWS_WITHOUT_BOUND} That is seen of {} of the {} by which it grew.",
                ByteSize::bytes(bytes.round().max(0.0) as u64),
                signed(live)
            ),
        ),
        (Some(Carrier::Live), HeapGrowth::Bounded) => (
            Word::Unclear,
            "The live heap grew, but as a cache, a warm-up or a sawtooth does: as a whole it is not seen to grow without \
             bound; /api/leaks judges site by site."
                .to_owned(),
        ),
        (Some(Carrier::Live), HeapGrowth::Unknown(None)) => (
            Word::Unclear,
            "The live heap grew; to call it a leak takes more snapshots, in which it grows without bound as a whole."
                .to_owned(),
        ),
        (Some(Carrier::Live), HeapGrowth::Unknown(Some(why))) => {
            (Word::Unclear, format!("The live heap grew; whether without bound cannot be told: {why}."))
        }
        (Some(Carrier::Kept), _) => (Word::Fragmentation, what_helps(slack, dirty).to_owned()),
        (Some(Carrier::NotHeap), _) => (Word::NotHeap, largest_outside(now, Some(base))),
        (None, _) => (Word::Unclear, "No part carries most of it.".to_owned()),
    };
    Verdict { word, why: format!("{figures} {more}") }
}

#[derive(Clone, Copy, PartialEq)]
enum Carrier {
    Live,
    Kept,
    NotHeap,
}

/// The part that carries a growth by `total`. Two can when a third shrank: the larger one it is.
fn carrier(total: i128, live: i128, kept: i128, not_heap: i128) -> Option<Carrier> {
    [(Carrier::Live, live), (Carrier::Kept, kept), (Carrier::NotHeap, not_heap)]
        .into_iter()
        .filter(|&(_, grown)| grown as f64 >= total as f64 * CARRIES)
        .max_by_key(|&(_, grown)| grown)
        .map(|(part, _)| part)
}

/// Why it cannot be told whether the live heap or what jemalloc keeps is that much larger.
fn in_doubt(bytes: i128) -> String {
    format!(
        "Up to {} of the slack may be live heap of which samples are missing, with their pages: which of the two it is cannot \
         be told.",
        ByteSize::bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
    )
}

fn by_level(now: &Breakdown, growth: HeapGrowth, since: &str) -> Verdict {
    let (Some(heap), Some(not_heap)) = (&now.heap, now.not_heap()) else {
        let why = format!("{since} Without jemalloc's figures heap and other memory cannot be told apart.");
        return Verdict { word: Word::Unclear, why };
    };
    let figures = levels(now.rss, heap, not_heap);
    let share = |bytes: u64, share: f64| bytes as f64 >= now.rss as f64 * share;
    let is_fragmented = |kept: u64| share(kept, FRAGMENTED_SHARE) && kept >= MATERIAL_BYTES;
    let (word, more) = if is_fragmented(heap.kept()) && !is_fragmented(heap.kept() - now.in_doubt()) {
        (Word::Unclear, in_doubt(now.in_doubt().into()))
    } else if is_fragmented(heap.kept()) {
        (Word::Fragmentation, what_helps(heap.slack.into(), heap.dirty.into()).to_owned())
    } else if share(not_heap, NOT_HEAP_SHARE) {
        (Word::NotHeap, largest_outside(now, None))
    } else {
        let more = match growth {
            HeapGrowth::Unbounded { .. } => GROWS_WITHOUT_BOUND.to_owned(),
            HeapGrowth::Unknown(Some(why)) => {
                format!("Whether the live heap grows without bound cannot be told: {why}.")
            }
            HeapGrowth::Bounded | HeapGrowth::Unknown(None) => "Nothing here asks for an explanation.".to_owned(),
        };
        (Word::Unclear, more)
    };
    Verdict { word, why: format!("{since} {figures} {more}") }
}

fn levels(rss: u64, heap: &HeapParts, not_heap: u64) -> String {
    format!(
        "Of {}, {} are live heap (allocator's count), {} pages that jemalloc keeps (slack {}, dirty {}), {} not heap, {} \
         jemalloc's tables.",
        ByteSize::bytes(rss),
        ByteSize::bytes(heap.live),
        ByteSize::bytes(heap.kept()),
        ByteSize::bytes(heap.slack),
        ByteSize::bytes(heap.dirty),
        ByteSize::bytes(not_heap),
        ByteSize::bytes(heap.metadata)
    )
}

const GROWS_WITHOUT_BOUND: &str =
    "By the snapshots, the live heap as a whole grows without bound (/api/leaks looks for where).";

/// What helps against pages that are kept, of which slack and dirty ones are so many bytes.
fn what_helps(slack: i128, dirty: i128) -> &'static str {
    if dirty > slack {
        "Dirty pages hold nothing: jemalloc gives them back within dirty_decay_ms (10 s unless set) while threads go on \
         allocating. background_thread:true has it do so for idle ones too, a smaller dirty_decay_ms sooner."
    } else {
        "Slack is free room on pages that few live objects hold: objects that live long lie between objects that are gone. \
         It helps to keep those that live long together (one vector instead of many boxes), or to rebuild them after a \
         peak; sampling finer than the default adds to it."
    }
}

/// The largest part that is no heap; of what grew since `base`, if there is one.
fn largest_outside(now: &Breakdown, base: Option<&Breakdown>) -> String {
    let outside = |parts: &Breakdown| {
        [parts.mapped_files, parts.shared_memory, Some(parts.heapward), parts.other].map(Option::unwrap_or_default)
    };
    let threads = now.threads.map_or(String::new(), |threads| format!(" of {threads} threads"));
    let names = [
        "pages of mapped files".to_owned(),
        "shared memory".to_owned(),
        "heapward's own tables".to_owned(),
        format!(
            "other anonymous memory, which is stacks{threads}, mappings of the program's own, and other allocators"
        ),
    ];
    let changes = outside(now).into_iter().zip(base.map(outside).unwrap_or_default());
    let largest = changes.map(|(now, before)| now.saturating_sub(before)).zip(names).max_by_key(|&(bytes, _)| bytes);
    let (bytes, name) = largest.unwrap_or_default();
    format!("The largest part of it: {} {name}.", ByteSize::bytes(bytes))
}

/// In 128 bits, which the difference of two sizes, or of two sums of them, fits into.
fn change(now: u64, before: u64) -> i128 {
    i128::from(now) - i128::from(before)
}

fn signed(bytes: i128) -> String {
    let size = ByteSize::bytes(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
    format!("{}{size}", if bytes < 0 { '-' } else { '+' })
}

#[cfg(test)]
mod tests;
