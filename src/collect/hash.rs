//! Hashing of words. Not against an attacker: addresses of a program's own code and heap.

/// Mixes one word into a hash by a 64×64→128 bit multiplication, folded.
#[inline]
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    let wide = u128::from(hash ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Hash of one address.
#[inline]
pub(super) fn hash_address(address: u64) -> u64 {
    mix(0x243f_6a88_85a3_08d3, address)
}

/// Hash of a stack. In lanes: each multiplication waits for the one before, and a stack has dozens.
#[inline]
pub(super) fn hash_stack(frames: &[u64]) -> u64 {
    let mut lanes = [0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377];
    let whole = frames.chunks_exact(lanes.len());
    let rest = whole.remainder();
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &frame)| *lane = mix(*lane, frame));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &frame)| *lane = mix(*lane, frame));
    lanes.into_iter().fold(frames.len() as u64, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_that_differ_anywhere_have_hashes_that_differ() {
        let stack: Vec<u64> = (0..45).map(|frame| 0x5555_0000_0000 + frame * 4096).collect();
        let mut hashes = std::collections::HashSet::new();
        for len in 0..=stack.len() {
            assert!(hashes.insert(hash_stack(&stack[..len])), "{len} frames");
        }
        for at in 0..stack.len() {
            for bit in 0..48 {
                let mut other = stack.clone();
                other[at] ^= 1 << bit;
                assert!(hashes.insert(hash_stack(&other)), "bit {bit} of frame {at}");
            }
            for other in 0..at {
                let mut swapped = stack.clone();
                swapped.swap(at, other);
                assert!(hashes.insert(hash_stack(&swapped)), "frames {at} and {other} swapped");
            }
        }
        // As evenly as chance: of 2^13 slots that so many stacks fall into, about e^(-n/2^13) stay empty.
        let slots: std::collections::HashSet<u64> = hashes.iter().map(|hash| hash % (1 << 13)).collect();
        let expected = 8192.0 * (1.0 - (-(hashes.len() as f64) / 8192.0).exp());
        assert!((slots.len() as f64 - expected).abs() < 5.0 * 8192f64.sqrt() / 2.0, "{} of {expected}", slots.len());
    }
}
