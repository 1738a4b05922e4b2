//! Rules that were looked up before, by return address: what makes a frame cost nanoseconds.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::{RULE_BITS, Rule};
use crate::system::{MmapSlice, Zeroed};

/// Entries that share a line of the processor's cache.
const WIDTH: usize = 8;
const LINE_BITS: u32 = 12;
/// Of a user's address on x86_64 and aarch64; above are no code addresses, unless somebody asks for a larger space.
const ADDRESS_BITS: u32 = 48;
const TAG_BITS: u32 = ADDRESS_BITS - LINE_BITS;
/// Odd, so multiplying by it modulo 2^48 can be undone: line and tag together are the address, and a hit is never another's.
const SCATTER: u64 = 0x9e37_79b9_7f4b;

#[repr(align(64))]
struct Line([AtomicU64; WIDTH]);

// SAFETY: eight atomic integers, of which all-zero is a valid value; no Drop.
unsafe impl Zeroed for Line {}

/// 32,768 rules, shared by all threads: a rule follows from its address alone, so one thread's walk warms up every
/// other's. An entry is one word, address and rule, so it is read whole without a lock, and reading one that is there
/// writes nothing. Pages that no address falls into take no memory.
pub(super) struct RuleTable {
    lines: MmapSlice<Line>,
}

const _: () = assert!(TAG_BITS + RULE_BITS < u64::BITS, "an entry is one word");

struct Place {
    line: usize,
    tag: u64,
    first: usize,
}

#[inline(always)]
fn place(address: u64) -> Option<Place> {
    if address >> ADDRESS_BITS != 0 {
        return None;
    }
    let scattered = address.wrapping_mul(SCATTER) & ((1 << ADDRESS_BITS) - 1);
    let tag = scattered & ((1 << TAG_BITS) - 1);
    // The upper bits of a product are the scattered ones.
    Some(Place { line: (scattered >> TAG_BITS) as usize, tag, first: (tag >> (TAG_BITS - 3)) as usize })
}

impl RuleTable {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { lines: MmapSlice::new(1 << LINE_BITS)? })
    }

    #[inline(always)]
    pub(super) fn find(&self, address: u64) -> Option<Rule> {
        let Place { line, tag, first } = place(address)?;
        let Line(line) = self.lines.get(line)?;
        for at in 0..WIDTH {
            let entry = line[(first + at) % WIDTH].load(Ordering::Relaxed);
            if entry >> RULE_BITS == tag && entry != 0 {
                return Some(Rule::unpack(entry));
            }
        }
        None
    }

    /// Keeps a rule, in place of another where a line is full.
    pub(super) fn insert(&self, address: u64, rule: Rule) {
        let Some(Place { line, tag, first }) = place(address) else { return };
        let Some(Line(line)) = self.lines.get(line) else { return };
        let mut slots = (0..WIDTH).map(|at| &line[(first + at) % WIDTH]);
        // Two threads may choose the same free slot: one rule is then learned once more.
        let free = slots.find(|slot| {
            let entry = slot.load(Ordering::Relaxed);
            entry == 0 || entry >> RULE_BITS == tag
        });
        free.unwrap_or(&line[first]).store(tag << RULE_BITS | rule.pack(), Ordering::Relaxed);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lines.iter().flat_map(|Line(line)| line).filter(|entry| entry.load(Ordering::Relaxed) != 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(n: u64) -> Rule {
        Rule::new(n % 2 == 0, 8 + (n % 8000) as i64 * 8, (n % 3 == 0).then_some(-8 - (n % 4000) as i64 * 8)).unwrap()
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
        assert!(table.len() <= WIDTH << LINE_BITS);
    }

    #[test]
    fn addresses_that_no_program_has_are_not_kept() {
        let table = RuleTable::new().unwrap();
        for address in [u64::MAX, 1 << 48, 0xffff_8000_0000_0000] {
            table.insert(address, rule(1));
            assert_eq!(table.find(address), None);
        }
        assert_eq!(table.find(0), None, "an empty entry is nobody's");
        assert_eq!(table.len(), 0);
    }
}
