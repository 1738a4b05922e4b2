//! How much a file may make us hold. A profile comes from anywhere: a length in it is a claim, not a fact.

use crate::error::{Error, Result};
use crate::profile::ByteSize;

/// Bytes of a profile once it is no longer compressed. Ours with 262,144 stacks of 128 frames is about 100 MiB, and
/// gzip cannot make more than 1 GiB out of 1 MiB; this bounds the time that goes into one.
pub(in crate::format) const MAX_STREAM: u64 = 1 << 30;

/// Bytes of one string: a mangled name of nested generics takes some ten thousand.
pub(in crate::format) const MAX_STRING: u64 = 1 << 20;

/// Frames of one stack, and functions inlined at one address. jemalloc keeps at most 128 frames, the JVM's profilers
/// 2,048; who walks a tree of stacks by recursion relies on it.
pub(in crate::format) const MAX_DEPTH: usize = 4096;

/// Kinds of value in one profile: a heap has four, other profilers not ten.
pub(in crate::format) const MAX_SAMPLE_TYPES: usize = 64;

/// Memory that any file may take, however small: our largest own profile, 262,144 stacks, fits with 100 frames each, and
/// compresses to very little when they are much alike.
const BUDGET_FLOOR: u64 = 128 << 20;
/// Memory for each byte of the file. A sample takes 48 bytes and a location 100 where profile.proto, compressed, takes
/// about ten.
const BUDGET_PER_BYTE: u64 = 16;
/// Memory that no file may go beyond: several times what our largest own profile takes.
const BUDGET_CEILING: u64 = 512 << 20;

/// What is left of the memory that reading one file may take. Whatever is kept is charged before room for it is made.
#[derive(Debug)]
pub(in crate::format) struct Budget {
    whole: u64,
    left: u64,
    file: u64,
}

impl Budget {
    /// For a file of `file` bytes, as it came.
    pub(super) fn of(file: usize) -> Self {
        let file = file as u64;
        let whole = file.saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_FLOOR).min(BUDGET_CEILING);
        Self { whole, left: whole, file }
    }

    /// Charges for `bytes`.
    pub(in crate::format) fn take(&mut self, bytes: usize) -> Result<()> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::malformed(format!(
                "profile: holding it would take more than {}, which is what a file of {} may take",
                ByteSize::bytes(self.whole),
                ByteSize::bytes(self.file)
            ))),
        }
    }

    /// Charges for `count` values of type `T`.
    pub(in crate::format) fn take_many<T>(&mut self, count: usize) -> Result<()> {
        self.take(count.saturating_mul(size_of::<T>()))
    }

    /// Adds to a list whose growth is charged.
    pub(in crate::format) fn push<T>(&mut self, list: &mut Vec<T>, item: T) -> Result<()> {
        if list.len() == list.capacity() {
            let more = list.capacity().max(16);
            self.take_many::<T>(more)?;
            list.reserve_exact(more);
        }
        list.push(item);
        Ok(())
    }
}

#[cfg(test)]
impl Budget {
    /// For tests of what is not about memory.
    pub(in crate::format) fn ample() -> Self {
        Self::of(1 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_charged_before_it_happens_and_by_capacity() {
        let mut budget = Budget { whole: 1000, left: 1000, file: 7 };
        let mut list: Vec<u64> = Vec::new();
        for _ in 0..64 {
            budget.push(&mut list, 1).unwrap();
        }
        assert_eq!((list.capacity(), budget.left), (64, 1000 - 64 * 8));
        let error = budget.push(&mut list, 1).unwrap_err().to_string();
        assert_eq!(error, "profile: holding it would take more than 1000 B, which is what a file of 7 B may take");
        assert_eq!((list.len(), list.capacity(), budget.left), (64, 64, 488));
        assert!(budget.take(usize::MAX).is_err());
        budget.take(488).unwrap();
        assert!(budget.take(1).is_err());
    }

    #[test]
    fn the_budget_follows_the_file_between_its_bounds() {
        assert_eq!(Budget::of(0).whole, 128 << 20);
        assert_eq!(Budget::of(1 << 20).whole, 144 << 20);
        assert_eq!(Budget::of(usize::MAX).whole, 512 << 20);
    }
}
