//! What stacks ever allocated.

use super::leb128::{self, Writer};

/// Everything one stack ever allocated, freed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// The stack's number in the stack table.
    pub stack: u32,
    /// Sampled objects.
    pub objects: u64,
    /// Their usable bytes.
    pub bytes: u64,
    /// Estimate of all objects, rounded.
    pub estimated_objects: u64,
    /// Estimate of all bytes, rounded.
    pub estimated_bytes: u64,
    /// Milliseconds that those of them had lived which are freed, in all.
    pub freed_lifetimes_millis: u64,
}

impl std::ops::AddAssign for Totals {
    /// Sums up; the stack stays.
    fn add_assign(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.estimated_objects = self.estimated_objects.saturating_add(other.estimated_objects);
        self.estimated_bytes = self.estimated_bytes.saturating_add(other.estimated_bytes);
        self.freed_lifetimes_millis = self.freed_lifetimes_millis.saturating_add(other.freed_lifetimes_millis);
    }
}

/// The totals of many stacks, end to end as LEB128 numbers: 10 to 20 bytes a stack, of which most stacks that a snapshot
/// knows hold nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedTotals {
    bytes: Vec<u8>,
}

/// Bytes that are reserved for a stack at first. Most need more, and get twice as many; room that is not needed would be memory
/// when there is none.
const LEAST_BYTES: usize = 8;

impl PackedTotals {
    /// Of `totals`, sorted by stack, about `count` of them.
    pub(crate) fn pack(count: usize, totals: impl Iterator<Item = Totals>) -> Self {
        let mut numbers = Writer::with_capacity(count * LEAST_BYTES);
        let mut previous = 0;
        for totals in totals {
            let Totals { stack, objects, bytes: sampled, estimated_objects, estimated_bytes, freed_lifetimes_millis } =
                totals;
            let stack_step = u64::from(stack.wrapping_sub(previous));
            previous = stack;
            numbers.push([stack_step, objects, sampled, estimated_objects, estimated_bytes, freed_lifetimes_millis]);
        }
        Self { bytes: numbers.finish() }
    }

    /// Of bytes as [`PackedTotals::bytes`] gives them: as they were read from a file.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// All of them, end to end.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One for each stack, sorted by stack.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Totals> {
        let mut rest = self.bytes.as_slice();
        let mut previous = 0u32;
        std::iter::from_fn(move || {
            let stack = previous.wrapping_add(leb128::pop(&mut rest)? as u32);
            previous = stack;
            Some(Totals {
                stack,
                objects: leb128::pop(&mut rest)?,
                bytes: leb128::pop(&mut rest)?,
                estimated_objects: leb128::pop(&mut rest)?,
                estimated_bytes: leb128::pop(&mut rest)?,
                freed_lifetimes_millis: leb128::pop(&mut rest)?,
            })
        })
    }

    /// Memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let edges = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let totals: Vec<Totals> = edges
            .iter()
            .enumerate()
            .map(|(at, &number)| Totals {
                stack: (at * at * 1_000_003) as u32,
                objects: number,
                bytes: edges[8 - at],
                estimated_objects: number / 2,
                estimated_bytes: number,
                freed_lifetimes_millis: edges[(at + 3) % 9],
            })
            .collect();
        let packed = PackedTotals::pack(totals.len(), totals.iter().copied());
        assert_eq!(packed.iter().collect::<Vec<_>>(), totals);
        assert_eq!(PackedTotals::default().iter().next(), None);
    }

    #[test]
    fn a_stack_takes_some_twenty_bytes() {
        let total = |stack| Totals {
            stack,
            objects: 40,
            bytes: 40 * 1536,
            estimated_objects: 14_000,
            estimated_bytes: 40 << 19,
            freed_lifetimes_millis: 120_000,
        };
        let packed = PackedTotals::pack(1000, (1..=1000).map(total));
        assert!(packed.size_bytes() <= 1000 * 20, "{}", packed.size_bytes());
    }
}
