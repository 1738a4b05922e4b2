//! The stack that a walk reads, and no memory besides.
//!
//! A walk reads words above the stack pointer that it began with, on one of two kinds of stacks:
//!
//! - **The thread's own**: all pages from the stack pointer up to its top were seen to be readable, once, and a thread's
//!   own stack stays where it is for as long as the thread runs. The top is known without asking anybody: glibc and
//!   musl put a thread's control block, which the thread register points to, above its stack in the same mapping; the
//!   main thread's has the program's file name at its top.
//! - **Any other**: a coroutine's, a signal handler's. It may be gone tomorrow, so every walk asks the kernel for every page.

use std::cell::Cell;

use crate::system::{is_readable, thread_pointer, top_of_main_stack};

/// Of all systems; where pages are larger, some are asked for more than once.
const PAGE: u64 = 4096;

/// Pages that one walk asks for while it finds out whether a stack is the thread's own: 8 MiB, which is the main thread's
/// on most systems. The next walk goes on from there.
const MOST_PAGES_OF_OWN: u64 = 2048;

/// Pages that one walk asks for on a foreign stack.
const MOST_PAGES_OF_OTHER: u32 = 64;

thread_local! {
    /// The part of the thread's own stack that was seen, lowest page to top; empty before the first walk.
    static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    /// A part of a foreign stack that was seen not to lead to the own one's top, not to try again at every walk.
    static OTHER: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    /// Pages that were asked for on the way to the top, by a walk that did not get there.
    static ASKED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// What a walk may read.
#[derive(Debug)]
pub(super) struct Stack {
    /// The stack pointer that the walk began with; a multiple of 8.
    low: u64,
    /// Up to here all is readable; a multiple of 8.
    high: u64,
    /// How many more pages may be asked for above `high`.
    pages: u32,
}

impl Stack {
    /// The stack that `sp` points into, which is in use.
    #[inline(always)]
    pub(super) fn at(sp: u64) -> Self {
        let (low, high) = OWN.get();
        // Aligned up: a stack pointer that is not would make every word be read across two.
        let sp = sp.wrapping_add(7) & !7;
        if sp >= low && sp < high {
            return Self { low: sp, high, pages: 0 };
        }
        Self::find(sp)
    }

    #[cold]
    fn find(sp: u64) -> Self {
        let page = sp & !(PAGE - 1);
        let (seen_low, seen_high) = OWN.get();
        let (other_low, other_high) = OTHER.get();
        // That of the page in use is readable, unless somebody has put the stack pointer where no stack is.
        let other = || {
            let high = if is_readable(page) { page.saturating_add(PAGE) } else { sp };
            Self { low: sp, high, pages: MOST_PAGES_OF_OTHER }
        };
        let tops = [thread_pointer() & !7, top_of_main_stack() & !7];
        let Some(top) = tops.into_iter().filter(|&top| top > sp).min() else { return other() };
        if page >= other_low && page < other_high {
            return other();
        }
        // What was seen of the own stack need not be asked for again.
        let goal = if seen_high == top && page < seen_low { seen_low } else { top };
        let (asked_low, asked_high) = ASKED.get();
        let mut next = if page >= asked_low && page < asked_high { asked_high } else { page };
        let last = next.saturating_add(MOST_PAGES_OF_OWN * PAGE);
        while next < goal {
            if !is_readable(next) {
                OTHER.set((page, next.saturating_add(PAGE)));
                return other();
            }
            next = next.saturating_add(PAGE);
            if next >= last {
                ASKED.set((page, next));
                return other();
            }
        }
        OWN.set((page, top));
        Self { low: sp, high: top, pages: 0 }
    }

    /// The lowest address that may be read.
    #[inline(always)]
    pub(super) fn low(&self) -> u64 {
        self.low
    }

    /// Whether all words below `limit`, a multiple of 8, may be read.
    #[inline(always)]
    pub(super) fn reaches(&mut self, limit: u64) -> bool {
        limit <= self.high || self.extend(limit)
    }

    #[cold]
    fn extend(&mut self, limit: u64) -> bool {
        while self.pages > 0 && limit > self.high && is_readable(self.high) {
            self.pages -= 1;
            self.high = (self.high & !(PAGE - 1)).saturating_add(PAGE);
        }
        limit <= self.high
    }

    /// The word at `address`, a multiple of 8 that is not below [`Stack::low`] and below a limit that the stack was seen
    /// to reach.
    #[inline(always)]
    pub(super) fn word(&self, address: u64) -> u64 {
        debug_assert!(address & 7 == 0 && address >= self.low && address < self.high, "{address:#x} of {self:x?}");
        // SAFETY: by the condition above, which every caller has checked, the word lies on a stack of this thread, in
        // pages that were seen to be readable and that are not taken away while the thread runs on that stack. It belongs to
        // frames that do not run meanwhile; volatile, because the compiler knows nothing of who wrote it.
        unsafe { (address as *const u64).read_volatile() }
    }

    /// A stack of these words.
    #[cfg(test)]
    pub(super) fn of(words: &[u64]) -> Self {
        let low = words.as_ptr() as u64;
        Self { low, high: low + words.len() as u64 * 8, pages: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> u64 {
        let local = 0u64;
        std::hint::black_box(&raw const local) as u64
    }

    #[test]
    fn a_thread_knows_its_own_stack_and_learns_more_of_it_as_it_goes_down() {
        fn deep(levels: u32) -> u64 {
            let room = std::hint::black_box([0u64; 512]);
            if levels == 0 {
                let stack = Stack::at(here());
                assert_eq!(stack.pages, 0, "its own");
                return stack.low;
            }
            deep(levels - 1) + room[0]
        }
        std::thread::spawn(|| {
            let first = Stack::at(here());
            assert_eq!((first.high, first.pages), (thread_pointer() & !7, 0));
            assert!(deep(50) < first.low - 50 * 4096);
            let (low, high) = OWN.get();
            assert!(low < first.low - 50 * 4096 && high == first.high);
            // And back up, within what was seen.
            assert_eq!(Stack::at(here()).high, high);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_below_a_hole_is_not_the_own_stack() {
        std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(|| {
                let hole = (here() - (200 << 10)) & !(PAGE - 1);
                let protect = |how| {
                    // SAFETY: a page of this thread's stack that is far below what is in use.
                    assert_eq!(unsafe { libc::mprotect(hole as *mut _, PAGE as usize, how) }, 0);
                };
                protect(libc::PROT_NONE);
                for _ in 0..2 {
                    assert!(!Stack::at(hole - (100 << 10)).reaches(hole + 8));
                }
                assert_eq!(Stack::at(hole + PAGE).pages, 0, "and what is above it is");
                protect(libc::PROT_READ | libc::PROT_WRITE);
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn a_deep_stack_is_asked_for_in_parts() {
        // Room for what is above the first page that a walk asks for.
        let deep = |bytes: u64| {
            std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
                let sp = here() - bytes;
                let mut walks = 1;
                while Stack::at(sp).pages > 0 {
                    walks += 1;
                    assert!(walks < 100);
                }
                walks
            })
        };
        let most = MOST_PAGES_OF_OWN * PAGE;
        for (bytes, walks) in [(most / 2, 1), (most * 3 / 2, 2), (most * 9 / 2, 5)] {
            assert_eq!(deep(bytes).unwrap().join().unwrap(), walks, "{bytes}");
        }
    }

    /// Some pages with one in their midst that cannot be read.
    fn pages_with_a_hole() -> (u64, u64) {
        let anywhere = std::ptr::null_mut();
        let (read, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, which aliases nothing.
        let start = unsafe { libc::mmap(anywhere, 8 * PAGE as usize, read, private, -1, 0) } as u64;
        // SAFETY: a page of it.
        assert_eq!(unsafe { libc::mprotect((start + 3 * PAGE) as *mut _, PAGE as usize, libc::PROT_NONE) }, 0);
        (start, start + 3 * PAGE)
    }

    #[test]
    fn a_foreign_stack_is_asked_for_page_by_page_up_to_its_end() {
        let (start, hole) = pages_with_a_hole();
        for _ in 0..2 {
            let mut stack = Stack::at(start + 100);
            assert_eq!((stack.low, stack.high, stack.pages), (start + 104, start + PAGE, MOST_PAGES_OF_OTHER));
            assert!(stack.reaches(hole), "{stack:x?}");
            assert!(!stack.reaches(hole + 8));
            assert_eq!(stack.high, hole);
            assert_eq!(stack.word(hole - 8), 0);
        }
        // Taken away: what was seen counts for nothing.
        // SAFETY: nothing refers to these pages.
        assert_eq!(unsafe { libc::munmap((start + PAGE) as *mut _, PAGE as usize) }, 0);
        assert!(!Stack::at(start + 100).reaches(start + PAGE + 8));
        // And one that is nowhere at all.
        let mut nowhere = Stack::at(hole + 64);
        assert!(!nowhere.reaches(hole + 72), "{nowhere:x?}");
    }

    #[test]
    fn a_stack_pointer_that_points_nowhere_is_no_stack() {
        for sp in [u64::MAX - PAGE, 0, 1, 1 << 47, 0xffff_8000_0000_0000] {
            let mut stack = Stack::at(sp);
            assert!(!stack.reaches((sp & !7) + 16), "{sp:#x} {stack:x?}");
        }
    }
}
