//! Addresses of an earlier run as those of this one.

use std::collections::HashMap;

use crate::profile::{Address, Cohorts, Mapping, PackedTotals, ReturnAddress, Totals};
use crate::snapshot::{Stored, StoredStacks};

/// Where files are put that are not loaded now and whose place is taken: where no process has memory.
const ELSEWHERE: u64 = 1 << 60;

/// Added to an address that no file covered and that one covers now: it is that of nothing.
const NOWHERE: u64 = 1 << 61;

/// Gives every address of `stored` that lies in a file that is loaded now as well, the same build by its build id, the address
/// that its code has now. Files that are not loaded now, and those without a build id, keep their places, or get one where
/// nothing is.
pub(super) fn relocate(stored: &mut Stored, loaded: &[Mapping]) {
    let mut is_taken = vec![false; loaded.len()];
    let mut moved: Vec<(Mapping, Option<u64>)> = Vec::with_capacity(stored.mappings.len());
    for mapping in &stored.mappings {
        let same = loaded.iter().enumerate().position(|(at, now)| !is_taken[at] && is_same_segment(mapping, now));
        if let Some(at) = same {
            is_taken[at] = true;
        }
        moved.push((mapping.clone(), same.map(|at| loaded[at].start)));
    }
    let mut placed: Vec<Mapping> = Vec::with_capacity(moved.len());
    let place = |mapping: &Mapping, start: u64| {
        let limit = start.saturating_add(mapping.limit - mapping.start);
        Mapping { start, limit, ..mapping.clone() }
    };
    let mut starts = vec![0; moved.len()];
    for (at, (mapping, start)) in moved.iter().enumerate() {
        if let Some(start) = *start {
            starts[at] = start;
            placed.push(place(mapping, start));
        }
    }
    let mut elsewhere = ELSEWHERE;
    for (at, (mapping, start)) in moved.iter().enumerate() {
        if start.is_none() {
            let here = |other: &Mapping| mapping.start < other.limit && other.start < mapping.limit;
            // Another file may be there now, which has names of its own.
            let is_free = !placed.iter().any(here) && !loaded.iter().any(here);
            starts[at] = if is_free { mapping.start } else { elsewhere };
            let end = place(mapping, starts[at]);
            if !is_free {
                elsewhere = end.limit.next_multiple_of(1 << 12).saturating_add(1 << 12);
            }
            placed.push(end);
        }
    }
    placed.sort_by_key(|mapping| mapping.start);
    let before = std::mem::replace(&mut stored.mappings, placed);
    let after = &stored.mappings;
    stored.stacks.relocate(|frame| match Mapping::find(&before, frame.call_site()) {
        Some(at) => ReturnAddress(frame.0.wrapping_sub(before[at].start).wrapping_add(starts[at])),
        None if is_covered(frame, after) || is_covered(frame, loaded) => ReturnAddress(frame.0 | NOWHERE),
        None => frame,
    });
}

fn is_covered(frame: ReturnAddress, mappings: &[Mapping]) -> bool {
    Mapping::find(mappings, Address(frame.call_site().0)).is_some()
}

/// Whether both are the same segment of the same build, wherever it is loaded.
fn is_same_segment(one: &Mapping, other: &Mapping) -> bool {
    one.build_id.is_some()
        && one.build_id == other.build_id
        && one.file_offset == other.file_offset
        && one.limit - one.start == other.limit - other.start
}

/// Gives the stacks of `stored` the numbers that the stacks of another run with the same frames have by `find`, and those that
/// are not there numbers from `next` on. Returns these. All that is alive in it was born before the other run.
pub(super) fn renumber(stored: &mut Stored, find: impl Fn(&[ReturnAddress]) -> Option<u32>, next: u32) -> StoredStacks {
    let mut added = StoredStacks::default();
    let stacks = std::mem::take(&mut stored.stacks);
    let mut numbers: HashMap<u32, u32> = HashMap::with_capacity(stacks.len());
    let mut next = next;
    for (stack, frames) in stacks.iter() {
        let number = find(frames).unwrap_or_else(|| {
            let number = next;
            next = next.saturating_add(1);
            added.push(number, frames.iter().copied());
            number
        });
        numbers.insert(stack, number);
    }
    drop(stacks);
    let number = |stack: u32| numbers.get(&stack).copied();
    let mut rows: Vec<_> =
        stored.cohorts.rows().filter_map(|row| Some((number(row.stack)?, row.weight, row.objects))).collect();
    rows.sort_unstable();
    let row = |(stack, weight, objects)| crate::profile::CohortRow { stack, epoch: 0, weight, objects };
    stored.cohorts = Cohorts::pack(rows.len(), rows.iter().copied().map(row), stored.cohorts.weights().to_vec());
    let mut totals: Vec<Totals> =
        stored.totals.iter().filter_map(|totals| Some(Totals { stack: number(totals.stack)?, ..totals })).collect();
    totals.sort_unstable_by_key(|totals| totals.stack);
    totals.dedup_by(|later, kept| {
        let is_same = later.stack == kept.stack;
        if is_same {
            *kept += *later;
        }
        is_same
    });
    stored.totals = PackedTotals::pack(totals.len(), totals.into_iter());
    stored.head.epoch = 0;
    stored.told_apart.clear();
    added
}

/// The same cohorts, each born an epoch later: after all that another run had.
pub(super) fn born_later(cohorts: &Cohorts) -> Cohorts {
    let rows = cohorts.rows().map(|row| crate::profile::CohortRow { epoch: row.epoch.saturating_add(1), ..row });
    Cohorts::pack(cohorts.bytes().len() / 4, rows, cohorts.weights().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{BuildId, Cohort, SampleInterval};
    use crate::snapshot::{HeadText, Packer, RunId, Snapshot, decode, empty_snapshot};

    fn mapping(start: u64, pages: u64, build: u8) -> Mapping {
        Mapping {
            start,
            limit: start + pages * 0x1000,
            file_offset: 0x40,
            path: format!("/lib/{build}.so"),
            build_id: (build > 0).then(|| BuildId([build].into())),
        }
    }

    fn stored(mappings: &[Mapping], stacks: &[&[u64]]) -> Stored {
        let mut snapshot = Snapshot::clone(&empty_snapshot(1, 1));
        let weigh = |bytes: u64| SampleInterval::from_lg(19).unwrap().weigh(bytes);
        let cohort =
            |stack: usize| Cohort { stack: stack as u32 * 3, epoch: stack as u32, live: weigh(16 + stack as u64) };
        let cohorts: Vec<Cohort> = (0..stacks.len()).map(cohort).collect();
        (snapshot.cohorts, snapshot.mappings) = (Cohorts::of(&cohorts), mappings.into());
        let total = |stack: usize| Totals { stack: stack as u32 * 3, objects: 1 + stack as u64, ..Totals::default() };
        snapshot.totals = PackedTotals::pack(9, (0..stacks.len()).map(total));
        let text = HeadText {
            run: RunId { number: 1, random: 1 },
            program: String::new(),
            build_id: None,
            sample_interval: 1 << 19,
            has_birthdays: true,
        };
        let mut bytes = Vec::new();
        let frames = |stack: u32, each: &mut dyn FnMut(ReturnAddress)| {
            stacks[stack as usize / 3].iter().for_each(|frame| each(ReturnAddress(*frame)));
        };
        Packer::new().write(&snapshot, &text, &frames, &mut bytes).unwrap();
        decode(&bytes).unwrap()
    }

    fn frames(stored: &Stored) -> Vec<Vec<u64>> {
        stored.stacks.iter().map(|(_, frames)| frames.iter().map(|frame| frame.0).collect()).collect()
    }

    #[test]
    fn code_of_the_same_build_is_found_where_it_is_loaded_now() {
        let then = [mapping(0x1000, 1, 1), mapping(0x4000, 2, 2), mapping(0x8000, 1, 3), mapping(0xa000, 1, 0)];
        // 1 moved to where 2 was, 2 is another build now, 3 is gone and 4 is where it was; 0 has no build id.
        let now = [mapping(0x4000, 1, 1), mapping(0x7000, 2, 4), mapping(0xa000, 1, 0), mapping(0xe000, 1, 5)];
        let mut one = stored(&then, &[&[0x1010, 0x4010, 0x2000, 0x1001], &[0x8010, 0xa010, 0xf00, 0xe010]]);
        relocate(&mut one, &now);
        let elsewhere = [0x10, 0x2000 + 0x1000 + 0x10, 0x2000 + 0x1000 + 0x2000 + 0x10].map(|at| ELSEWHERE + at);
        assert_eq!(
            frames(&one),
            [
                // One past the end is a return address of the last call in it.
                vec![0x4010, elsewhere[0], 0x5000, 0x4001],
                vec![elsewhere[1], elsewhere[2], 0xf00, 0xe010 | NOWHERE]
            ]
        );
        assert!(one.mappings.is_sorted_by(|one, next| one.limit <= next.start), "{:?}", one.mappings);
        let place = |address: u64| {
            let mapping = &one.mappings[Mapping::find(&one.mappings, Address(address)).unwrap()];
            (&*mapping.path, mapping.file_offset + address - mapping.start)
        };
        assert_eq!(place(0x4010), ("/lib/1.so", 0x50));
        assert_eq!(elsewhere.map(place), [("/lib/2.so", 0x50), ("/lib/3.so", 0x50), ("/lib/0.so", 0x50)]);
    }

    #[test]
    fn stacks_with_the_same_frames_get_the_same_numbers() {
        let mut one = stored(&[], &[&[1, 2], &[3], &[4, 5]]);
        let find = |frames: &[ReturnAddress]| (frames == [ReturnAddress(4), ReturnAddress(5)]).then_some(1);
        let added = renumber(&mut one, find, 100);
        let added: Vec<_> = added.iter().map(|(stack, frames)| (stack, frames[0].0)).collect();
        assert_eq!(added, [(100, 1), (101, 3)]);
        let cohorts: Vec<_> =
            one.cohorts.iter().map(|cohort| (cohort.stack, cohort.epoch, cohort.live.bytes)).collect();
        assert_eq!(cohorts, [(1, 0, 18), (100, 0, 16), (101, 0, 17)]);
        let totals: Vec<_> = one.totals.iter().map(|totals| (totals.stack, totals.objects)).collect();
        assert_eq!(totals, [(1, 3), (100, 1), (101, 2)]);
        let later: Vec<_> = born_later(&one.cohorts).iter().map(|cohort| (cohort.stack, cohort.epoch)).collect();
        assert_eq!(later, [(1, 1), (100, 1), (101, 1)]);
    }
}
