//! Whatever the sources say, the parts sum up to RSS, and what was cut or cannot be told is said.

use super::*;
use crate::profile::{CgroupMemory, ProcessMemory};

const MIB: u64 = 1 << 20;

/// 100 MiB, of which jemalloc has 70 and heapward's tables 2.
fn reading() -> Reading {
    Reading {
        process: ProcessMemory {
            rss: 100 * MIB,
            virtual_size: 1000 * MIB,
            swap: Some(0),
            anonymous: Some(85 * MIB),
            files: Some(12 * MIB),
            shared_memory: Some(3 * MIB),
            threads: Some(9),
        },
        allocator: Some(AllocatorMemory {
            allocated: 40 * MIB,
            active: 50 * MIB,
            resident: 68 * MIB,
            mapped: 80 * MIB,
            retained: 500 * MIB,
            metadata: 9 * MIB,
            metadata_index: None,
            dirty: Some(12 * MIB),
            muzzy: Some(2 * MIB),
            thread_caches: Some(MIB),
        }),
        cgroup: CgroupMemory { limit: Some(512 * MIB), usage: Some(90 * MIB) },
        ..Reading::of_rss(0, 0)
    }
}

const OWN: Own = Own {
    tables: 2 * MIB,
    heap: 0,
    sampled_objects: 0,
    sampled_bytes: 0,
    dropped_objects: 0,
    dropped_bytes: 0,
    undumped_bytes: 0,
};

/// In MiB: live, slack, dirty, metadata.
fn heap(parts: &Breakdown) -> [u64; 4] {
    let heap = parts.heap.unwrap();
    [heap.live, heap.slack, heap.dirty, heap.metadata].map(|bytes| bytes / MIB)
}

/// The parts of `reading`, which sum up to RSS.
#[track_caller]
fn parts(reading: &Reading, own: Own) -> Breakdown {
    let parts = Breakdown::of(reading, None, own);
    let heap = parts.heap.map_or(0, |heap| heap.live + heap.slack + heap.dirty + heap.metadata);
    let told = [parts.mapped_files, parts.shared_memory, parts.other].into_iter().flatten().sum::<u64>();
    assert_eq!(heap + told + parts.heapward + parts.unaccounted, reading.process.rss, "{parts:?}");
    parts
}

fn with_allocator(change: impl FnOnce(&mut AllocatorMemory)) -> Reading {
    let mut reading = reading();
    change(reading.allocator.as_mut().unwrap());
    reading
}

fn with_process(change: impl FnOnce(&mut ProcessMemory)) -> Reading {
    let mut reading = reading();
    change(&mut reading.process);
    reading
}

#[test]
fn every_part_has_its_source_and_the_rest_is_other() {
    let parts = parts(&reading(), OWN);
    // Metadata that is in memory is resident − active − dirty: of the 9 MiB that jemalloc tells, 3 are allocations.
    assert_eq!(heap(&parts), [40, 10, 14, 6]);
    let (files, shared) = (parts.mapped_files.unwrap(), parts.shared_memory.unwrap());
    assert_eq!((files / MIB, shared / MIB, parts.heapward / MIB), (12, 3, 2));
    assert_eq!(parts.other, Some(13 * MIB));
    assert_eq!(parts.not_heap(), Some((12 + 3 + 2 + 13) * MIB));
    assert_eq!((parts.unaccounted, parts.not_resident), (0, 0));
    assert_eq!((parts.limit, parts.threads), (Some(512 * MIB), Some(9)));
    assert_eq!(parts.notes, [""; 0]);
}

#[test]
fn retained_address_space_is_beside_rss() {
    let with = parts(&reading(), OWN);
    let without = parts(&with_allocator(|memory| memory.retained = 0), OWN);
    assert_eq!(with.heap.unwrap().retained, 500 * MIB);
    assert_eq!((with.other, heap(&with)), (without.other, heap(&without)));
}

#[test]
fn dirty_pages_that_jemalloc_does_not_tell_are_what_is_neither_active_nor_metadata() {
    let reading = with_allocator(|memory| (memory.dirty, memory.muzzy) = (None, None));
    assert_eq!(heap(&parts(&reading, OWN)), [40, 10, 9, 9]);
    let reading = with_allocator(|memory| (memory.dirty, memory.muzzy, memory.metadata) = (None, None, 30 * MIB));
    assert_eq!(heap(&parts(&reading, OWN)), [40, 10, 0, 18]);
}

#[test]
fn what_is_claimed_beyond_rss_is_cut_and_told() {
    // Reserved and never touched, or swapped out. First the muzzy pages go, then the live heap, then the others.
    let beyond = |allocated: u64| {
        with_allocator(|memory| {
            memory.active += (allocated - 40) * MIB;
            memory.resident += (allocated - 40) * MIB;
            memory.allocated = allocated * MIB;
        })
    };
    for (allocated, expected, not_resident) in [
        (53, [53, 10, 14, 6], 0),
        (54, [54, 10, 13, 6], 1),
        (55, [55, 10, 12, 6], 2),
        (65, [55, 10, 12, 6], 12),
        (1000, [55, 10, 12, 6], 947),
    ] {
        let parts = parts(&beyond(allocated), OWN);
        assert_eq!(heap(&parts), expected, "{allocated}");
        assert_eq!(parts.not_resident, not_resident * MIB);
        assert_eq!(parts.heap.unwrap().allocated, allocated * MIB, "the exact count stays");
        let told = parts.notes.iter().any(|note| note.contains(&format!("{not_resident}.0 MiB that jemalloc")));
        assert_eq!(told, not_resident > 1, "{:?}", parts.notes);
        assert_eq!(parts.other, Some((53 - allocated.min(53)) * MIB));
    }
}

#[test]
fn the_order_of_what_is_cut_holds_to_the_end() {
    for (rss, expected, heapward) in [
        (87, [40, 10, 14, 6], 2),
        (86, [40, 10, 13, 6], 2),
        (85, [40, 10, 12, 6], 2),
        (46, [1, 10, 12, 6], 2),
        (45, [0, 10, 12, 6], 2),
        (44, [0, 9, 12, 6], 2),
        (35, [0, 0, 12, 6], 2),
        (34, [0, 0, 11, 6], 2),
        (22, [0, 0, 0, 5], 2),
        (17, [0, 0, 0, 0], 2),
        (16, [0, 0, 0, 0], 1),
        (15, [0, 0, 0, 0], 0),
        (4, [0, 0, 0, 0], 0),
    ] {
        let parts = parts(&with_process(|process| process.rss = rss * MIB), OWN);
        assert_eq!((heap(&parts), parts.heapward / MIB), (expected, heapward), "{rss}");
        assert_eq!(parts.not_resident, (87 - rss.max(15)) * MIB, "{rss}");
    }
    // Files first: they are the kernel's own count.
    let parts = parts(&with_process(|process| process.rss = 13 * MIB), OWN);
    assert_eq!((parts.mapped_files, parts.shared_memory), (Some(12 * MIB), Some(MIB)));
    assert_eq!((parts.heapward, parts.other), (0, Some(0)));
}

#[test]
fn swap_is_named_where_it_explains_something() {
    let swapped = with_process(|process| (process.rss, process.swap) = (60 * MIB, Some(30 * MIB)));
    assert!(parts(&swapped, OWN).notes[0].contains("swapped out (30.0 MiB are in swap)"));
    let unknown = with_process(|process| (process.rss, process.swap) = (60 * MIB, None));
    assert!(!parts(&unknown, OWN).notes[0].contains("in swap"));
    let none = with_process(|process| (process.rss, process.swap) = (60 * MIB, Some(0)));
    assert!(!parts(&none, OWN).notes[0].contains("in swap"));
}

#[test]
fn what_the_kernel_does_not_tell_is_unknown_and_in_the_rest() {
    let reading = with_process(|process| (process.files, process.shared_memory) = (None, None));
    let parts = parts(&reading, OWN);
    assert_eq!((parts.mapped_files, parts.shared_memory), (None, None));
    assert_eq!((parts.other, parts.not_heap()), (Some(28 * MIB), Some(30 * MIB)));
    assert!(parts.notes[0].contains("does not tell mapped files"), "{:?}", parts.notes);
}

#[test]
fn without_jemallocs_figures_the_rest_is_unaccounted() {
    let reading = Reading { allocator: None, ..reading() };
    let parts = parts(&reading, OWN);
    assert_eq!((parts.heap, parts.other, parts.not_heap()), (None, None, None));
    assert_eq!(parts.unaccounted, 83 * MIB);
    assert!(parts.notes[0].contains("jemalloc's figures could not be read"), "{:?}", parts.notes);
}

#[test]
fn figures_that_contradict_each_other_do_not_wrap() {
    parts(&with_allocator(|memory| (memory.active, memory.resident) = (0, 0)), OWN);
    parts(&with_allocator(|memory| memory.dirty = Some(90 * MIB)), OWN);
    parts(&reading(), Own { tables: u64::MAX, ..OWN });
    parts(&with_process(|process| process.files = Some(u64::MAX)), OWN);
}

/// In MiB: jemalloc's count and the samples' interval, and whether there is a note.
#[track_caller]
fn check_disagreement(low: f64, high: f64, own: Own, expected: Option<&str>) {
    let scale = MIB as f64;
    let estimate = Interval { estimate: (low + high) / 2.0 * scale, low: low * scale, high: high * scale };
    let parts = Breakdown::of(&reading(), Some(estimate), own);
    assert_eq!(parts.live_estimate, Some(estimate));
    match (expected, parts.notes.as_slice()) {
        (None, []) => {}
        (Some(words), [note]) => {
            assert!(note.contains(words) && note.contains("one in twenty"), "{note}");
            assert!(note.starts_with("jemalloc counts 40.0 MiB allocated, the samples say"), "{note}");
        }
        _ => panic!("{low} to {high}: {:?}", parts.notes),
    }
}

#[test]
fn samples_that_disagree_with_the_count_are_told_calmly() {
    check_disagreement(38.0, 42.0, OWN, None);
    check_disagreement(40.5, 42.0, OWN, Some("40.5 MiB to 42.0 MiB"));
    // Of 40 MiB, 3 are jemalloc's own allocations, 1 is in the caches of threads, and 8 are let pass.
    check_disagreement(27.0, 28.5, OWN, None);
    check_disagreement(26.0, 27.5, OWN, Some("before heapward started"));
    check_disagreement(23.0, 24.5, Own { heap: 4 * MIB, ..OWN }, None);
    check_disagreement(22.0, 23.5, Own { heap: 4 * MIB, ..OWN }, Some("before heapward started"));
}

#[test]
fn sampled_small_objects_are_live_heap_and_their_pads_may_be_untouched() {
    let own = Own { sampled_objects: 512, sampled_bytes: 3 * MIB, ..OWN };
    let with = parts(&reading(), own);
    assert_eq!(heap(&with), [43, 7, 14, 6]);
    assert_eq!(with.heap.unwrap().allocated, 43 * MIB);
    // 512 pads are 2 MiB: after the muzzy pages, before the live heap.
    for (rss, expected) in [(85, [43, 7, 12, 6]), (84, [43, 6, 12, 6]), (83, [43, 5, 12, 6]), (82, [42, 5, 12, 6])] {
        assert_eq!(heap(&parts(&with_process(|process| process.rss = rss * MIB), own)), expected, "{rss}");
    }
    // More than there is slack, and samples of which jemalloc knows nothing.
    assert_eq!(heap(&parts(&reading(), Own { sampled_objects: 1 << 40, ..OWN })), [40, 10, 14, 6]);
    assert_eq!(heap(&parts(&reading(), Own { sampled_bytes: 20 * MIB, ..OWN }))[1], 0);
    parts(&reading(), Own { sampled_bytes: u64::MAX, ..OWN });
}

#[test]
fn the_index_is_in_memory_for_the_addresses_in_use_alone() {
    // 580 MiB of addresses are 1.1 MiB of entries.
    let expected = |index: u64| {
        let parts = parts(&with_allocator(|memory| memory.metadata_index = Some(index * MIB)), OWN);
        parts.heap.unwrap().metadata
    };
    assert_eq!(expected(1), 6 * MIB);
    assert_eq!(expected(4), 2 * MIB + 580 * MIB / 512);
    assert_eq!(expected(100), 0);
}

#[test]
fn samples_that_are_missing_are_told_with_their_bytes() {
    let quiet = parts(&reading(), OWN);
    assert!(!quiet.notes.iter().any(|note| note.contains("slack")) && quiet.maybe_live() == 0, "{:?}", quiet.notes);
    let dropped = parts(&reading(), Own { dropped_objects: 7, dropped_bytes: 3 * MIB, ..OWN });
    assert!(
        dropped.notes.iter().any(|note| note.starts_with("7 samples of 3.0 MiB in all found no room")),
        "{dropped:?}"
    );
    assert_eq!(dropped.maybe_live(), 3 * MIB);
    assert_eq!(dropped.in_doubt(), 3 * MIB + 7 * 2 * 4096, "two pages for each");
    let dump = parts(&reading(), Own { undumped_bytes: 5 * MIB, ..OWN });
    assert!(dump.notes.iter().any(|note| note.contains("of 5.0 MiB that its pages grew by since")), "{dump:?}");
    assert_eq!(dump.maybe_live(), 5 * MIB);
    let all = parts(&reading(), Own { dropped_objects: 1, dropped_bytes: 900 * MIB, ..OWN });
    assert_eq!((all.maybe_live(), all.in_doubt()), (10 * MIB, 10 * MIB), "no more than there is slack");
}
