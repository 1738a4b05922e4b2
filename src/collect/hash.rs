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

/// Hash of a stack.
#[inline]
pub(super) fn hash_stack(frames: &[u64]) -> u64 {
    frames.iter().fold(frames.len() as u64 ^ 0x1319_8a2e_0370_7344, |hash, &frame| mix(hash, frame))
}
