//! Rules that were looked up before, by return address: what makes a frame cost nanoseconds.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::{RULE_BITS, Rule};
use crate::system::MmapSlice;

/// Entries that share a line of the processor's cache.
const WIDTH: usize = 8;
const INDEX_BITS: u32 = 15;
/// Of a user's address on x86_64 and aarch64; above are no code addresses, unless somebody asks for a larger space.
const ADDRESS_BITS: u32 = 48;
/// With the place in the line, as an entry may be in any of its line's.
const TAG_BITS: u32 = ADDRESS_BITS - INDEX_BITS + WIDTH.trailing_zeros();
/// Odd, so multiplying by it modulo 2^48 can be undone: index and tag together are the address, and a hit is never
/// another's. Shifted, so that the product stands in the upper bits and needs no mask.
const SCATTER: u64 = 0x9e37_79b9_7f4b << (u64::BITS - ADDRESS_BITS);

/// 32,768 rules, shared by all threads: a rule follows from its address alone, so one thread's walk warms up every
/// other's. An entry is one word, so it is read whole without a lock, and reading one that is there writes nothing. Pages
/// that no address falls into take no memory.
///
/// ```text
/// bits 0–26   the rule
/// bit 27      set in every entry
/// bits 28–63  the scattered address, less its upper bits, which are the number of the line
/// ```
pub(super) struct RuleTable {
    entries: MmapSlice<AtomicU64>,
}

const _: () = assert!(TAG_BITS + 1 + RULE_BITS == u64::BITS, "an entry is one word");

/// An entry's upper bits, and where it is looked for first.
#[inline(always)]
fn tag_and_index(address: u64) -> (u64, usize) {
    let scattered = address.wrapping_mul(SCATTER);
    let tag = scattered << (ADDRESS_BITS - TAG_BITS) >> RULE_BITS | 1;
    (tag, (scattered >> (u64::BITS - INDEX_BITS)) as usize)
}

/// The places of a line, from `index` on.
fn line(index: usize) -> impl Iterator<Item = usize> {
    (0..WIDTH).map(move |at| index & !(WIDTH - 1) | index.wrapping_add(at) & (WIDTH - 1))
}

impl RuleTable {
    /// Of a table that is full.
    pub(super) const BYTES: u64 = (size_of::<AtomicU64>() as u64) << INDEX_BITS;

    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { entries: MmapSlice::new(1 << INDEX_BITS)? })
    }

    #[inline(always)]
    pub(super) fn find(&self, address: u64) -> Option<Rule> {
        let (tag, index) = tag_and_index(address);
        let entry = self.entries.get(index)?.load(Ordering::Relaxed);
        if entry >> RULE_BITS == tag && address >> ADDRESS_BITS == 0 {
            return Some(Rule::unpack(entry));
        }
        self.find_further(address)
    }

    #[inline(never)]
    fn find_further(&self, address: u64) -> Option<Rule> {
        if address >> ADDRESS_BITS != 0 {
            return None;
        }
        let (tag, index) = tag_and_index(address);
        let entries =
            line(index).filter_map(|index| self.entries.get(index)).map(|entry| entry.load(Ordering::Relaxed));
        entries.into_iter().find(|entry| entry >> RULE_BITS == tag).map(Rule::unpack)
    }

    /// Keeps a rule, in place of another where a line is full.
    pub(super) fn insert(&self, address: u64, rule: Rule) {
        if address >> ADDRESS_BITS != 0 {
            return;
        }
        let (tag, index) = tag_and_index(address);
        // Two threads may choose the same free place: one rule is then learned once more.
        let is_free = |entry: &&AtomicU64| {
            let entry = entry.load(Ordering::Relaxed);
            entry == 0 || entry >> RULE_BITS == tag
        };
        let free = line(index).filter_map(|index| self.entries.get(index)).find(is_free);
        if let Some(place) = free.or_else(|| self.entries.get(index)) {
            place.store(tag << RULE_BITS | rule.pack(), Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.iter().filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(n: u64) -> Rule {
        Rule::new(n & 1 == 0, 8 + (n % 8000) as i64 * 8, (n & 6 == 0).then_some(-8 - (n % 4000) as i64 * 8)).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_and_nothing_else() {
        let table = RuleTable::new().unwrap();
        // As in a program: some 4,000 return addresses some bytes apart, in two files.
        let addresses = || (0..4_000u64).map(|n| [0x5555_5555_0000, 0x7fff_f7c0_0000][n as usize % 2] + n * 37);
        addresses().enumerate().for_each(|(n, address)| table.insert(address, rule(n as u64)));
        let found = addresses().enumerate().filter(|&(n, address)| table.find(address) == Some(rule(n as u64))).count();
        assert!(found >= 3_990, "{found}: the table is far from full");
        for n in 0..100_000u64 {
            assert_eq!(table.find(0x6000_0000_0000 + n * 8), None);
        }
    }

    #[test]
    fn a_full_table_takes_the_newest() {
        let table = RuleTable::new().unwrap();
        for n in 0..200_000u64 {
            let address = 0x5555_0000_0000 + n * 16;
            table.insert(address, rule(n));
            assert_eq!(table.find(address), Some(rule(n)));
            table.insert(address, rule(n + 1));
            assert_eq!(table.find(address), Some(rule(n + 1)), "replaced, not added");
        }
        assert!(table.len() <= 1 << INDEX_BITS);
    }

    #[test]
    fn addresses_that_no_program_has_are_not_kept() {
        let table = RuleTable::new().unwrap();
        table.insert(0x1234_5678, rule(1));
        for address in [u64::MAX, 1 << 48, 0xffff_8000_0000_0000, 1 << 48 | 0x1234_5678] {
            table.insert(address, rule(1));
            assert_eq!(table.find(address), None);
        }
        assert_eq!(table.find(0), None, "an empty entry is nobody's");
        assert_eq!(table.len(), 1);
    }
}
