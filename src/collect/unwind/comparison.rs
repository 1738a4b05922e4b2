//! The unwinder in use beside libgcc's, sample by sample: for heapward's own tests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::libgcc;
use super::rules::Frames;

const ROOM: usize = 256;

static BY_FRAME_POINTERS: AtomicBool = AtomicBool::new(false);
static WALKS: AtomicU64 = AtomicU64::new(0);
static EQUAL: AtomicU64 = AtomicU64::new(0);
/// Of all stacks together.
static FRAMES: AtomicU64 = AtomicU64::new(0);
/// The last address that both had, in the first pair that was not equal.
static LAST_IN_COMMON: AtomicU64 = AtomicU64::new(0);

/// How many stacks were compared, and how that went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) walks: u64,
    pub(crate) equal: u64,
    pub(crate) frames: u64,
    pub(crate) last_in_common: Option<u64>,
}

pub(super) fn is_by_frame_pointers() -> bool {
    BY_FRAME_POINTERS.load(Ordering::Relaxed)
}

pub(super) fn start(by_frame_pointers: bool) {
    BY_FRAME_POINTERS.store(by_frame_pointers, Ordering::Relaxed);
}

/// Inside of `malloc`.
pub(super) fn compare(found: &Frames<'_>, from: u64) {
    let mut expected = [0; ROOM];
    let Some(expected) = expected.get_mut(..found.room()) else { return };
    let found = found.as_slice();
    let mut expected = Frames::new(expected);
    libgcc::walk(from, &mut expected);
    let expected = expected.as_slice();
    WALKS.fetch_add(1, Ordering::Relaxed);
    FRAMES.fetch_add(expected.len() as u64, Ordering::Relaxed);
    if found == expected {
        EQUAL.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let common = found.iter().zip(expected).take_while(|(found, expected)| found == expected).last();
    let last = common.map_or(0, |(address, _)| *address);
    let _ = LAST_IN_COMMON.compare_exchange(0, last, Ordering::Relaxed, Ordering::Relaxed);
}

/// So far.
pub(super) fn figures() -> Comparison {
    let last = LAST_IN_COMMON.load(Ordering::Relaxed);
    Comparison {
        // Read first, as it is counted last.
        equal: EQUAL.load(Ordering::Relaxed),
        walks: WALKS.load(Ordering::Relaxed),
        frames: FRAMES.load(Ordering::Relaxed),
        last_in_common: (last != 0).then_some(last),
    }
}
