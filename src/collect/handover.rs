//! How a stack comes from the backtrace hook to the sample hook, on one thread: past jemalloc.
//!
//! jemalloc would hash the stack, keep a copy of each in a table of its own that has one lock for all threads, and give it
//! back to the sample hook. It is told that all stacks are the same one frame, `heapward_keeps_the_stacks`, so that there is
//! one entry for each thread that holds a live sample, and one word to hash; the stack stays where the walk put it, in
//! jemalloc's own place for this thread's stacks.
//!
//! That place is the thread's until it ends, and nothing is written to it between the two hooks: jemalloc calls the sample
//! hook before `malloc` returns, and the thread takes no other sample meanwhile.

use std::cell::Cell;

/// A stack that waits for its sample hook.
#[derive(Clone, Copy)]
struct Waiting {
    /// Null when there is none.
    place: *mut u64,
    len: usize,
    /// What was at the first place.
    leaf: u64,
    /// What is there now. Kept, and not asked for again: a function may have one address in one part of the program and another in
    /// another, as it may be compiled for both.
    kept: u64,
}

const NONE: Waiting = Waiting { place: std::ptr::null_mut(), len: 0, leaf: 0, kept: 0 };

thread_local! {
    static WAITING: Cell<Waiting> = const { Cell::new(NONE) };
}

/// Whoever reads jemalloc's own dumps finds this name in place of all stacks.
extern "C" fn heapward_keeps_the_stacks() {}

/// Keeps the `len` addresses at `place`, and puts there what jemalloc is to see; returns how many those are.
///
/// # Safety
///
/// They can be read, and the first can be written, until [`take`] or the next call on this thread.
#[inline(always)]
pub(super) unsafe fn keep(place: *mut u64, len: usize) -> usize {
    // A return address is that of the next instruction.
    let kept = heapward_keeps_the_stacks as *const () as u64 + 1;
    // SAFETY: the caller's promise.
    let leaf = unsafe { place.replace(kept) };
    WAITING.set(Waiting { place, len, leaf, kept });
    1
}

/// What jemalloc gives the sample hook, or the stack that was kept.
#[inline(always)]
pub(super) fn take(given: &[u64]) -> &[u64] {
    let Waiting { place, len, leaf, kept } = WAITING.get();
    if place.is_null() || given != [kept] {
        return given;
    }
    WAITING.set(NONE);
    // SAFETY: not null, so `keep` got it from jemalloc on this thread, in this very `malloc`: nothing was written since.
    unsafe {
        place.write(leaf);
        std::slice::from_raw_parts(place, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_taken_once() {
        let mut place = [7, 8, 9, 10];
        // SAFETY: `place` outlives the calls.
        let told = unsafe { keep(place.as_mut_ptr(), 3) };
        let given = place[..told].to_vec();
        assert!(given.len() == 1 && given != [7], "all stacks are this one");
        assert_eq!(take(&given), [7, 8, 9]);
        assert_eq!(take(&given), given);
        assert_eq!(take(&[1, 2]), [1, 2], "one that was not kept");
        assert_eq!(take(&[5]), [5]);
    }

    /// A `malloc` that fails after its stack was kept takes none: the next one on this thread keeps its own, at the same place.
    #[test]
    fn a_stack_that_nobody_took_gives_way_to_the_next() {
        let mut place = [7, 8, 9, 10];
        // SAFETY: `place` outlives the calls.
        let told = unsafe { keep(place.as_mut_ptr(), 3) };
        let given = place[..told].to_vec();
        // jemalloc walks anew: another leaf, deeper.
        place = [11, 12, 13, 14];
        // SAFETY: as above.
        assert_eq!(unsafe { keep(place.as_mut_ptr(), 4) }, told);
        assert_eq!(place[..told], given, "all stacks are this one");
        assert_eq!(take(&given), [11, 12, 13, 14]);
        assert_eq!(take(&given), given, "there is no second one");
        // And a shorter one after a deeper one that nobody took.
        // SAFETY: as above.
        unsafe { keep(place.as_mut_ptr(), 4) };
        place = [15, 16, 17, 18];
        // SAFETY: as above.
        unsafe { keep(place.as_mut_ptr(), 2) };
        assert_eq!(take(&given), [15, 16]);
    }
}
