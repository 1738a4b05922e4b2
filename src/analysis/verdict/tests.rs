//! Every word, at each side of each bound.

use super::*;
use crate::analysis::Point;
use crate::analysis::growth::judge;
use crate::profile::SampleInterval;

const MIB: u64 = 1 << 20;

/// In MiB: live heap, slack, dirty, other memory. RSS is their sum.
fn parts([live, slack, dirty, other]: [u64; 4]) -> Breakdown {
    let [live, slack, dirty, other] = [live, slack, dirty, other].map(|mib| mib * MIB);
    Breakdown {
        rss: live + slack + dirty + other,
        heap: Some(HeapParts { live, slack, dirty, allocated: live, ..HeapParts::default() }),
        mapped_files: Some(0),
        shared_memory: Some(0),
        other: Some(other),
        threads: Some(3),
        ..Breakdown::default()
    }
}

#[track_caller]
fn check(base: Option<[u64; 4]>, now: [u64; 4], heap: HeapGrowth, word: Word, says: &[&str]) {
    let base = base.map(parts);
    let verdict = Verdict::of(&parts(now), base.as_ref(), heap);
    assert_eq!(verdict.word, word, "{now:?}: {}", verdict.why);
    for words in says {
        assert!(verdict.why.contains(words), "`{words}` is not in: {}", verdict.why);
    }
}

/// All of it does.
const UNBOUNDED: HeapGrowth = HeapGrowth::Unbounded { bytes: f64::INFINITY };
const UNKNOWN: HeapGrowth = HeapGrowth::Unknown(None);

use HeapGrowth::Bounded;
use Word::{Fragmentation, Leak, NotHeap, Unclear};

const BASE: Option<[u64; 4]> = Some([60, 10, 10, 20]);

#[test]
fn live_heap_that_grows_is_a_leak_only_by_the_snapshots() {
    let grown = [480, 12, 10, 20];
    let figures = "RSS grew 422.0 MiB since the first snapshot: +420.0 MiB live heap (allocator's count), +2.0 MiB pages \
                   that jemalloc keeps (slack +2.0 MiB, dirty +0 B), +0 B not heap";
    check(BASE, grown, UNBOUNDED, Leak, &[figures, "grows without bound"]);
    check(BASE, grown, Bounded, Unclear, &[figures, "a cache, a warm-up or a sawtooth"]);
    check(BASE, grown, UNKNOWN, Unclear, &[figures, "takes more snapshots"]);
}

#[test]
fn pages_that_jemalloc_keeps_are_fragmentation_and_what_helps_is_named() {
    check(BASE, [70, 100, 10, 20], UNBOUNDED, Fragmentation, &["slack +90.0 MiB", "Slack is free room"]);
    check(BASE, [70, 10, 100, 20], UNKNOWN, Fragmentation, &["dirty +90.0 MiB", "dirty_decay_ms", "background_thread"]);
    // What grew decides what helps, not what there is more of.
    check(Some([60, 200, 10, 20]), [60, 200, 110, 20], UNKNOWN, Fragmentation, &["Dirty pages hold nothing"]);
}

#[test]
fn other_memory_is_not_the_heaps() {
    check(BASE, [70, 10, 10, 100], UNBOUNDED, NotHeap, &["+80.0 MiB not heap", "80.0 MiB other anonymous memory"]);
    check(BASE, [70, 10, 10, 100], UNKNOWN, NotHeap, &["stacks of 3 threads"]);
}

#[test]
fn the_largest_part_that_is_no_heap_is_named() {
    let base = parts([60, 10, 10, 500]);
    for (change, words) in [
        ((|parts: &mut Breakdown| parts.mapped_files = Some(90 * MIB)) as fn(&mut Breakdown), "pages of mapped files"),
        (|parts| parts.shared_memory = Some(90 * MIB), "shared memory"),
        (|parts| parts.heapward = 90 * MIB, "heapward's own tables"),
    ] {
        let mut now = base.clone();
        change(&mut now);
        now.rss += 90 * MIB;
        let verdict = Verdict::of(&now, Some(&base), UNKNOWN);
        assert_eq!(verdict.word, NotHeap);
        // The growth's, though there is more of the other.
        assert!(verdict.why.contains(&format!("The largest part of it: 90.0 MiB {words}")), "{}", verdict.why);
    }
}

#[test]
fn growth_that_no_part_carries_is_unclear() {
    check(BASE, [110, 10, 10, 70], UNBOUNDED, Unclear, &["No part carries most of it"]);
    check(BASE, [90, 30, 20, 50], UNBOUNDED, Unclear, &["No part carries most of it"]);
    // jemalloc's tables are no part that has a word.
    let (base, mut now) = (parts([60, 10, 10, 20]), parts([60, 10, 10, 20]));
    now.rss += 100 * MIB;
    now.heap.as_mut().unwrap().metadata += 100 * MIB;
    let verdict = Verdict::of(&now, Some(&base), UNBOUNDED);
    assert_eq!(verdict.word, Unclear);
    assert!(verdict.why.contains("+100.0 MiB jemalloc's tables"), "{}", verdict.why);
}

#[test]
fn a_part_carries_growth_from_three_fifths_of_it_on() {
    check(BASE, [120, 10, 10, 60], UNBOUNDED, Leak, &["+60.0 MiB live heap"]);
    check(BASE, [119, 10, 10, 61], UNBOUNDED, Unclear, &["No part"]);
    check(BASE, [100, 40, 40, 20], UNKNOWN, Fragmentation, &["+60.0 MiB pages"]);
    check(BASE, [101, 40, 39, 20], UNKNOWN, Unclear, &["No part"]);
    check(BASE, [100, 10, 10, 80], UNKNOWN, NotHeap, &["+60.0 MiB not heap"]);
    check(BASE, [101, 10, 10, 79], UNKNOWN, Unclear, &["No part"]);
}

#[test]
fn of_two_parts_that_carry_the_growth_the_larger_decides() {
    let base = Some([60, 10, 10, 120]);
    check(base, [160, 90, 10, 20], UNBOUNDED, Leak, &["-100.0 MiB not heap"]);
    check(base, [140, 110, 10, 20], UNBOUNDED, Fragmentation, &["-100.0 MiB not heap"]);
}

#[test]
fn growth_is_material_above_sixteen_mebibytes_and_above_a_twentieth() {
    let quiet = "RSS has not grown materially since the first snapshot";
    check(BASE, [76, 10, 10, 20], UNBOUNDED, Unclear, &[quiet, "(+16.0 MiB)"]);
    check(BASE, [77, 10, 10, 20], UNBOUNDED, Leak, &["RSS grew 17.0 MiB"]);
    let large = Some([900, 50, 50, 0]);
    check(large, [950, 50, 50, 0], UNBOUNDED, Unclear, &[quiet, "(+50.0 MiB)"]);
    check(large, [951, 50, 50, 0], UNBOUNDED, Leak, &["RSS grew 51.0 MiB"]);
    check(BASE, [50, 10, 10, 20], UNBOUNDED, Unclear, &[quiet, "(-10.0 MiB)"]);
}

#[test]
fn without_growth_the_level_decides() {
    for (base, now) in [(None, [30, 40, 10, 20]), (Some([80, 5, 5, 10]), [30, 40, 10, 20])] {
        check(base, now, UNKNOWN, Fragmentation, &["Of 100.0 MiB, 30.0 MiB are live heap", "Slack is free room"]);
    }
    check(
        None,
        [30, 10, 40, 20],
        UNKNOWN,
        Fragmentation,
        &["There is no earlier snapshot", "Dirty pages hold nothing"],
    );
    check(None, [31, 9, 40, 20], UNKNOWN, Unclear, &["49.0 MiB pages"]);
    check(None, [20, 10, 10, 60], UNKNOWN, NotHeap, &["60.0 MiB not heap", "60.0 MiB other anonymous"]);
    check(None, [21, 10, 10, 59], UNKNOWN, Unclear, &["59.0 MiB not heap"]);
    // A small service has slack whatever it does.
    check(None, [1, 8, 8, 1], UNKNOWN, Fragmentation, &[]);
    check(None, [1, 7, 8, 1], UNKNOWN, Unclear, &[]);
}

#[test]
fn without_growth_of_rss_no_leak_is_called_one_but_that_the_heap_grows_is_told() {
    check(None, [90, 5, 5, 0], UNBOUNDED, Unclear, &["the live heap as a whole grows without bound"]);
    check(BASE, [62, 10, 10, 20], UNBOUNDED, Unclear, &["the live heap as a whole grows without bound"]);
    check(BASE, [62, 10, 10, 20], Bounded, Unclear, &["Nothing here asks"]);
}

#[test]
fn without_jemallocs_figures_nothing_is_called_anything() {
    let unknown = |rss: u64| Breakdown { rss: rss * MIB, unaccounted: rss * MIB, ..Breakdown::default() };
    let known = parts([60, 10, 10, 20]);
    for (now, base) in [
        (unknown(500), Some(known.clone())),
        (parts([400, 50, 50, 0]), Some(unknown(100))),
        (unknown(500), None),
        (unknown(100), Some(known)),
    ] {
        let verdict = Verdict::of(&now, base.as_ref(), UNBOUNDED);
        assert_eq!(verdict.word, Unclear);
        assert!(verdict.why.contains("Without jemalloc's figures"), "{}", verdict.why);
    }
}

#[test]
fn a_leak_carries_what_the_live_heap_grew_by() {
    let of = |mib: u64| HeapGrowth::Unbounded { bytes: (mib * MIB) as f64 };
    let grown = [160, 12, 10, 20];
    check(BASE, grown, of(60), Leak, &["the live heap as a whole grows without bound"]);
    // A cache filled beside a small leak.
    let words = "the live heap as a whole grows without bound (/api/leaks looks for where). That is seen of 1.0 MiB of \
                 the +100.0 MiB by which it grew.";
    check(BASE, grown, of(1), Unclear, &[words]);
    check(BASE, grown, of(59), Unclear, &["That is seen of 59.0 MiB"]);
}

#[test]
fn why_growth_cannot_be_judged_is_told_and_nothing_is_fine() {
    let unknown = HeapGrowth::Unknown(Some(Hindrance::Dropped { samples: 5, since: Some(3) }));
    let why = "cannot be told: 5 samples found no room since snapshot 3";
    check(BASE, [480, 12, 10, 20], unknown, Unclear, &[why]);
    for base in [BASE, None] {
        check(base, [62, 10, 10, 20], unknown, Unclear, &[why]);
        let verdict = Verdict::of(&parts([62, 10, 10, 20]), base.map(parts).as_ref(), unknown);
        assert!(!verdict.why.contains("Nothing here asks"), "{}", verdict.why);
    }
}

#[test]
fn slack_that_may_be_live_heap_is_not_called_fragmentation() {
    let check = |base: Option<[u64; 4]>, now, missing: u64, word| {
        let now = Breakdown { dropped: missing * MIB, ..parts(now) };
        let verdict = Verdict::of(&now, base.map(parts).as_ref(), UNKNOWN);
        assert_eq!(verdict.word, word, "{missing}: {}", verdict.why);
        assert_eq!(verdict.why.contains("may be live heap"), word == Unclear, "{}", verdict.why);
    };
    // Of 100 MiB that it grew by, 90 are slack: with 31 less it carries less than 60.
    check(BASE, [70, 100, 10, 20], 30, Fragmentation);
    check(BASE, [70, 100, 10, 20], 31, Unclear);
    check(BASE, [70, 100, 10, 20], 900, Unclear);
    check(None, [30, 40, 10, 20], 0, Fragmentation);
    check(None, [30, 40, 10, 20], 1, Unclear);
    // What was missing at the first snapshot already has not grown.
    let of = |now| Breakdown { dropped: 31 * MIB, ..parts(now) };
    let base = Breakdown { dropped: 31 * MIB, ..parts([20, 50, 10, 20]) };
    let verdict = Verdict::of(&of([30, 140, 10, 20]), Some(&base), UNKNOWN);
    assert_eq!(verdict.word, Fragmentation, "{}", verdict.why);
    assert_eq!(of([30, 4, 10, 20]).maybe_live(), 4 * MIB, "no more than there is");
}

/// What `bytes` each of so many samples were alive of at each snapshot, all born before the first or since.
fn series(levels: &[(f64, u32)]) -> Series {
    let one = SampleInterval::from_lg(19).unwrap().weigh(4096);
    let mut born = Vec::new();
    let points = levels
        .iter()
        .map(|(_, samples)| {
            let before: u32 = born.iter().sum();
            born.push(samples - before);
            Point { cohorts: born.iter().map(|&samples| one.times(samples)).collect(), ..Point::default() }
        })
        .collect();
    Series { seconds: levels.iter().map(|(seconds, _)| *seconds).collect(), points }
}

#[test]
fn unbounded_growth_is_that_of_the_window_and_of_what_nobody_saw() {
    let interval = SampleInterval::from_lg(19).unwrap();
    let samples = |levels: &[(f64, u32)]| {
        let series = series(levels);
        match HeapGrowth::of(&judge(&series, interval), &series, &Basis::default()) {
            HeapGrowth::Unbounded { bytes } => (bytes / interval.weigh(4096).estimated_bytes).round(),
            other => panic!("{other:?}"),
        }
    };
    let minutes = |count: u32| (0..count).map(move |at| f64::from(at) * 60.0);
    let leak: Vec<(f64, u32)> = minutes(16).zip((0..).map(|at| 100 + 6 * at)).collect();
    assert_eq!(samples(&leak), 90.0);
    // A cache that filled first is no part of it.
    let cache = |at: u32| 100 + 6 * at + 200 * at.min(4);
    let found = samples(&minutes(20).zip((0..).map(cache)).collect::<Vec<_>>());
    assert!((60.0..=95.0).contains(&found), "{found}");
    // The first snapshot is pinned, a day before the others.
    let aged = |grown: u32| -> Vec<(f64, u32)> {
        let ring = leak.iter().map(|(seconds, level)| (86_400.0 + seconds, level + grown));
        [(0.0, 100)].into_iter().chain(ring).collect()
    };
    assert_eq!(samples(&aged(5000)), 90.0 + 5000.0, "all of it at that rate, or less");
    // 8,640 at that rate.
    assert_eq!(samples(&aged(30_000)), 90.0 + 8640.0);
}

#[test]
fn in_doubt_nothing_is_bounded() {
    let interval = SampleInterval::from_lg(19).unwrap();
    let flat = series(&(0..10).map(|at| (f64::from(at), 50)).collect::<Vec<_>>());
    let growth = |basis: Basis| HeapGrowth::of(&basis.judge(&flat, interval), &flat, &basis);
    assert_eq!(growth(Basis::default()), Bounded);
    let why = Some(Hindrance::SomeThreads);
    assert_eq!(growth(Basis { caveat: why, ..Basis::default() }), HeapGrowth::Unknown(why));
    assert_eq!(growth(Basis { hindrance: why, ..Basis::default() }), HeapGrowth::Unknown(why));
}
