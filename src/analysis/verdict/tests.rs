//! Every word, at each side of each bound.

use super::*;

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

use HeapGrowth::{Bounded, Unbounded, Unknown};
use Word::{Fragmentation, Leak, NotHeap, Unclear};

const BASE: Option<[u64; 4]> = Some([60, 10, 10, 20]);

#[test]
fn live_heap_that_grows_is_a_leak_only_by_the_snapshots() {
    let grown = [480, 12, 10, 20];
    let figures = "RSS grew 422.0 MiB since the first snapshot: +420.0 MiB live heap (allocator's count), +2.0 MiB pages \
                   that jemalloc keeps (slack +2.0 MiB, dirty +0 B), +0 B not heap";
    check(BASE, grown, Unbounded, Leak, &[figures, "grows without bound"]);
    check(BASE, grown, Bounded, Unclear, &[figures, "a cache, a warm-up or a sawtooth"]);
    check(BASE, grown, Unknown, Unclear, &[figures, "takes more snapshots"]);
}

#[test]
fn pages_that_jemalloc_keeps_are_fragmentation_and_what_helps_is_named() {
    check(BASE, [70, 100, 10, 20], Unbounded, Fragmentation, &["slack +90.0 MiB", "Slack is free room"]);
    check(BASE, [70, 10, 100, 20], Unknown, Fragmentation, &["dirty +90.0 MiB", "dirty_decay_ms", "background_thread"]);
    // What grew decides what helps, not what there is more of.
    check(Some([60, 200, 10, 20]), [60, 200, 110, 20], Unknown, Fragmentation, &["Dirty pages hold nothing"]);
}

#[test]
fn other_memory_is_not_the_heaps() {
    check(BASE, [70, 10, 10, 100], Unbounded, NotHeap, &["+80.0 MiB not heap", "80.0 MiB other anonymous memory"]);
    check(BASE, [70, 10, 10, 100], Unknown, NotHeap, &["stacks of 3 threads"]);
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
        let verdict = Verdict::of(&now, Some(&base), Unknown);
        assert_eq!(verdict.word, NotHeap);
        // The growth's, though there is more of the other.
        assert!(verdict.why.contains(&format!("The largest part of it: 90.0 MiB {words}")), "{}", verdict.why);
    }
}

#[test]
fn growth_that_no_part_carries_is_unclear() {
    check(BASE, [110, 10, 10, 70], Unbounded, Unclear, &["No part carries most of it"]);
    check(BASE, [90, 30, 20, 50], Unbounded, Unclear, &["No part carries most of it"]);
    // jemalloc's tables are no part that has a word.
    let (base, mut now) = (parts([60, 10, 10, 20]), parts([60, 10, 10, 20]));
    now.rss += 100 * MIB;
    now.heap.as_mut().unwrap().metadata += 100 * MIB;
    let verdict = Verdict::of(&now, Some(&base), Unbounded);
    assert_eq!(verdict.word, Unclear);
    assert!(verdict.why.contains("+100.0 MiB jemalloc's tables"), "{}", verdict.why);
}

#[test]
fn a_part_carries_growth_from_three_fifths_of_it_on() {
    check(BASE, [120, 10, 10, 60], Unbounded, Leak, &["+60.0 MiB live heap"]);
    check(BASE, [119, 10, 10, 61], Unbounded, Unclear, &["No part"]);
    check(BASE, [100, 40, 40, 20], Unknown, Fragmentation, &["+60.0 MiB pages"]);
    check(BASE, [101, 40, 39, 20], Unknown, Unclear, &["No part"]);
    check(BASE, [100, 10, 10, 80], Unknown, NotHeap, &["+60.0 MiB not heap"]);
    check(BASE, [101, 10, 10, 79], Unknown, Unclear, &["No part"]);
}

#[test]
fn of_two_parts_that_carry_the_growth_the_larger_decides() {
    let base = Some([60, 10, 10, 120]);
    check(base, [160, 90, 10, 20], Unbounded, Leak, &["-100.0 MiB not heap"]);
    check(base, [140, 110, 10, 20], Unbounded, Fragmentation, &["-100.0 MiB not heap"]);
}

#[test]
fn growth_is_material_above_sixteen_mebibytes_and_above_a_twentieth() {
    let quiet = "RSS has not grown materially since the first snapshot";
    check(BASE, [76, 10, 10, 20], Unbounded, Unclear, &[quiet, "(+16.0 MiB)"]);
    check(BASE, [77, 10, 10, 20], Unbounded, Leak, &["RSS grew 17.0 MiB"]);
    let large = Some([900, 50, 50, 0]);
    check(large, [950, 50, 50, 0], Unbounded, Unclear, &[quiet, "(+50.0 MiB)"]);
    check(large, [951, 50, 50, 0], Unbounded, Leak, &["RSS grew 51.0 MiB"]);
    check(BASE, [50, 10, 10, 20], Unbounded, Unclear, &[quiet, "(-10.0 MiB)"]);
}

#[test]
fn without_growth_the_level_decides() {
    for (base, now) in [(None, [30, 40, 10, 20]), (Some([80, 5, 5, 10]), [30, 40, 10, 20])] {
        check(base, now, Unknown, Fragmentation, &["Of 100.0 MiB, 30.0 MiB are live heap", "Slack is free room"]);
    }
    check(
        None,
        [30, 10, 40, 20],
        Unknown,
        Fragmentation,
        &["There is no earlier snapshot", "Dirty pages hold nothing"],
    );
    check(None, [31, 9, 40, 20], Unknown, Unclear, &["49.0 MiB pages"]);
    check(None, [20, 10, 10, 60], Unknown, NotHeap, &["60.0 MiB not heap", "60.0 MiB other anonymous"]);
    check(None, [21, 10, 10, 59], Unknown, Unclear, &["59.0 MiB not heap"]);
    // A small service has slack whatever it does.
    check(None, [1, 8, 8, 1], Unknown, Fragmentation, &[]);
    check(None, [1, 7, 8, 1], Unknown, Unclear, &[]);
}

#[test]
fn without_growth_of_rss_no_leak_is_called_one_but_a_site_that_grows_is_told() {
    check(None, [90, 5, 5, 0], Unbounded, Unclear, &["a site's live heap grows without bound"]);
    check(BASE, [62, 10, 10, 20], Unbounded, Unclear, &["a site's live heap grows without bound"]);
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
        let verdict = Verdict::of(&now, base.as_ref(), Unbounded);
        assert_eq!(verdict.word, Unclear);
        assert!(verdict.why.contains("Without jemalloc's figures"), "{}", verdict.why);
    }
}
