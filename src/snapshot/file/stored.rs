//! A snapshot as it was read from a file.

use std::collections::HashMap;

use super::Head;
use crate::profile::{Cohorts, Mapping, PackedTotals, ReturnAddress};

/// A snapshot as it was read from a file, with the frames of its stacks.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) head: Head,
    pub(crate) mappings: Vec<Mapping>,
    /// The epochs that its cohorts tell apart.
    pub(crate) told_apart: Vec<u32>,
    pub(crate) cohorts: Cohorts,
    pub(crate) totals: PackedTotals,
    pub(crate) stacks: StoredStacks,
}

/// Stacks by the numbers that they had in their run.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredStacks {
    /// Rising, each with where its frames end.
    ends: Vec<(u32, u32)>,
    /// Leaf first, end to end.
    frames: Vec<ReturnAddress>,
}

impl StoredStacks {
    /// With room for nothing more than `frames` of `stacks`.
    pub(crate) fn push(&mut self, stack: u32, frames: impl IntoIterator<Item = ReturnAddress>) {
        self.frames.extend(frames);
        self.ends.push((stack, self.frames.len() as u32));
    }

    /// The frames of a stack, leaf first; none for one that is not there.
    pub(crate) fn frames(&self, stack: u32) -> &[ReturnAddress] {
        let Ok(at) = self.ends.binary_search_by_key(&stack, |end| end.0) else { return &[] };
        self.frames_at(at)
    }

    fn frames_at(&self, at: usize) -> &[ReturnAddress] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        &self.frames[start as usize..self.ends[at].1 as usize]
    }

    /// All of them, by rising number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[ReturnAddress])> {
        (0..self.ends.len()).map(|at| (self.ends[at].0, self.frames_at(at)))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The largest number of a stack.
    pub(crate) fn last(&self) -> Option<u32> {
        self.ends.last().map(|end| end.0)
    }

    /// Gives every frame another address.
    pub(crate) fn relocate(&mut self, address: impl Fn(ReturnAddress) -> ReturnAddress) {
        self.frames.iter_mut().for_each(|frame| *frame = address(*frame));
    }

    /// Stacks by their frames.
    pub(crate) fn by_frames(&self) -> HashMap<&[ReturnAddress], u32> {
        self.iter().map(|(stack, frames)| (frames, stack)).collect()
    }

    /// These, and those of `other` that are not among them; a number means the same in both. Where one has all of the other, or
    /// begins where the other ends, nothing is copied beside it.
    pub(crate) fn merged(mut self, other: Self) -> Self {
        if other.has_all_of(&self) {
            return other;
        }
        if self.has_all_of(&other) {
            return self;
        }
        if self.last() < other.ends.first().map(|end| end.0) {
            other.iter().for_each(|(stack, frames)| self.push(stack, frames.iter().copied()));
            return self;
        }
        let mut all = Self {
            ends: Vec::with_capacity(self.ends.len().max(other.ends.len())),
            frames: Vec::with_capacity(self.frames.len().max(other.frames.len())),
        };
        let (mut these, mut others) = (self.iter().peekable(), other.iter().peekable());
        while let Some(stack) = these.peek().into_iter().chain(others.peek()).map(|stack| stack.0).min() {
            let one = these.next_if(|one| one.0 == stack);
            let other = others.next_if(|other| other.0 == stack);
            if let Some((stack, frames)) = one.or(other) {
                all.push(stack, frames.iter().copied());
            }
        }
        all
    }

    fn has_all_of(&self, other: &Self) -> bool {
        let has = |stack: u32| self.ends.binary_search_by_key(&stack, |end| end.0).is_ok();
        self.len() >= other.len() && other.ends.iter().all(|end| has(end.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_of_two_are_merged_whichever_has_more() {
        let of = |stacks: &[u32]| {
            let mut these = StoredStacks::default();
            stacks
                .iter()
                .for_each(|stack| these.push(*stack, (0..*stack % 3).map(|at| ReturnAddress((*stack + at).into()))));
            these
        };
        let merged = |one: &[u32], other: &[u32]| {
            let merged = of(one).merged(of(other));
            let frames = |stack| of(&[stack]).frames(stack).to_vec();
            assert!(merged.iter().all(|(stack, found)| found == frames(stack)), "{merged:?}");
            merged.iter().map(|(stack, _)| stack).collect::<Vec<_>>()
        };
        assert_eq!(merged(&[1, 5], &[1, 2, 5]), [1, 2, 5]);
        assert_eq!(merged(&[1, 2, 5], &[2, 5]), [1, 2, 5]);
        assert_eq!(merged(&[1, 2], &[4, 5]), [1, 2, 4, 5]);
        assert_eq!(merged(&[4, 5], &[1, 2]), [1, 2, 4, 5]);
        assert_eq!(merged(&[1, 4, 7], &[2, 4, 8]), [1, 2, 4, 7, 8]);
        assert_eq!((merged(&[], &[3]), merged(&[3], &[])), (vec![3], vec![3]));
    }
}
