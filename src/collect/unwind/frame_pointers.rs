//! Walking by frame pointers: a list that compilers thread through the stack where they are told to.

use std::ops::Range;

use super::rule::Registers;
use super::rules::{End, Frames};
use super::stack::Stack;

/// How a walk by frame pointers went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// It ended.
    Ended(End),
    /// It came to code of another file, which need not have frame pointers: `registers` are those to go on with.
    Left,
}

/// Walks up from `registers`, whose address is in `frames` already, for as long as addresses are in `code`.
///
/// The list is believed only where it could be one: a frame pointer is a multiple of 8, above the stack pointer, and on the
/// stack. The stack pointer rises with every frame, so a list that leads to itself ends.
#[inline(always)]
pub(super) fn walk(registers: &mut Registers, code: &Range<u64>, stack: &mut Stack, frames: &mut Frames<'_>) -> Chain {
    while code.contains(&registers.pc) {
        let fp = registers.fp;
        if fp & 7 != 0 || fp < registers.sp || fp > u64::MAX - 16 || !stack.reaches(fp + 16) {
            return Chain::Ended(End::Truncated);
        }
        #[cfg(target_arch = "aarch64")]
        let pc = super::entry::strip_signature(stack.word(fp + 8));
        #[cfg(not(target_arch = "aarch64"))]
        let pc = stack.word(fp + 8);
        *registers = Registers { pc, sp: fp + 16, fp: stack.word(fp) };
        if pc == 0 || !frames.push(pc) {
            return Chain::Ended(End::Whole);
        }
    }
    Chain::Left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a list that begins at word `first` of `words`, where numbers below 100 are turned into addresses of words,
    /// and those from 100 to 199 into ones that are a byte higher.
    fn walk_list(words: &[u64], first: u64) -> (Chain, Vec<u64>) {
        let mut words = words.to_vec();
        let start = words.as_ptr() as u64;
        let at = |word: u64| match word {
            0..100 => start + word * 8,
            100..200 => start + (word - 100) * 8 + 1,
            other => other,
        };
        words.iter_mut().for_each(|word| *word = at(*word));
        let mut registers = Registers { pc: 1000, sp: start, fp: at(first) };
        let mut room = [0; 6];
        let mut frames = Frames::new(&mut room);
        frames.push(registers.pc);
        let chain = walk(&mut registers, &(1000..2000), &mut Stack::of(&words), &mut frames);
        let len = frames.len();
        (chain, room[..len].to_vec())
    }

    #[test]
    fn a_list_is_followed_to_where_it_leaves_the_program() {
        let words = [7777, 3, 1001, 6, 1002, 7777, 7777, 5000, 7777];
        assert_eq!(walk_list(&words, 1), (Chain::Left, vec![1000, 1001, 1002, 5000]));
    }

    #[test]
    fn what_is_no_list_is_not_followed() {
        let truncated = Chain::Ended(End::Truncated);
        // To itself, backwards, to a place between two words, off the stack.
        for next in [1, 0, 103, 100_000, 1 << 46, u64::MAX, u64::MAX - 15] {
            let words = [7777, next, 1001, 7777, 7777, 7777];
            assert_eq!(walk_list(&words, 1), (truncated, vec![1000, 1001]), "{next:#x}");
        }
        // With half of its last element off the stack.
        assert_eq!(walk_list(&[7777, 3, 1001, 7777], 1), (truncated, vec![1000, 1001]));
        for first in [1 << 46, 1234567, 100, u64::MAX - 7] {
            assert_eq!(walk_list(&[1, 2, 3], first), (truncated, vec![1000]), "{first:#x}");
        }
    }

    #[test]
    fn a_list_ends_at_its_root_or_with_the_room() {
        let whole = Chain::Ended(End::Whole);
        let mut words = vec![7777, 3, 1001, 5, 1002];
        words.resize(7, 0);
        words[5] = 100_000;
        words[6] = 1 << 50;
        words[6] = 1003;
        assert_eq!(walk_list(&words, 1).1, [1000, 1001, 1002, 1003]);
        let long: Vec<u64> = (0..40).map(|at| if at % 2 == 0 { at + 2 } else { 1001 }).collect();
        assert_eq!(walk_list(&long, 0), (whole, vec![1000, 1001, 1001, 1001, 1001, 1001]));
    }
}
