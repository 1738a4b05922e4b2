//! Kinds of code address, so that "subtract one?" cannot be forgotten.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// An address inside the instruction that is meant: what symbols are looked up at and what profiles carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(pub u64);

/// What a call left on the stack: the address after the call, so one past the instruction that is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct ReturnAddress(pub u64);

impl ReturnAddress {
    /// The address inside the call.
    pub(crate) fn call_site(self) -> Address {
        Address(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for ReturnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ret {:#x}", self.0)
    }
}

/// Values by address, hashed fast. Not against an attacker: for addresses of the program's own code.
pub(crate) type AddressMap<V> = HashMap<Address, V, BuildHasherDefault<AddressHasher>>;

/// Hashes one address: a 64×64→128 bit multiplication, folded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ 0x243f_6a88_85a3_08d3) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = wide as u64 ^ (wide >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_before_where_it_returns_to() {
        assert_eq!(ReturnAddress(0x1000).call_site(), Address(0xfff));
        assert_eq!(ReturnAddress(0).call_site(), Address(0));
    }

    #[test]
    fn addresses_in_a_row_have_hashes_apart() {
        // Of the hash, a table takes the top seven bits to tell entries apart, and the lowest as the place.
        let hash = |address: u64| {
            let mut hasher = AddressHasher::default();
            hasher.write_u64(address);
            hasher.finish()
        };
        for step in [1, 16, 4096] {
            let hashes: Vec<u64> = (0..4096).map(|at| hash(0x5555_5555_0000 + at * step)).collect();
            for part in [|hash: &u64| hash >> 57, |hash: &u64| hash & 127] {
                let mut counts = [0; 128];
                hashes.iter().for_each(|hash| counts[part(hash) as usize] += 1);
                assert!(counts.iter().all(|count| (10..=70).contains(count)), "{step}: {counts:?}");
            }
        }
    }
}
