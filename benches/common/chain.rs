//! Call chains, each a stack of its own.

use std::hint::black_box;

/// How many functions are between the caller and the end of a chain: 2^17 paths.
pub const LEVELS: u32 = 17;

/// Calls `end` at the end of the call chain `path`, of 2^17.
pub fn call<T>(path: u32, end: &mut dyn FnMut() -> T) -> T {
    descend(path, LEVELS, end)
}

/// Goes left or right by the lowest bit of `path`, `levels` times, and calls.
#[inline(always)]
fn descend<T>(path: u32, levels: u32, end: &mut dyn FnMut() -> T) -> T {
    match (levels, path & 1) {
        (0, _) => black_box(end()),
        (_, 0) => left(path >> 1, levels - 1, end),
        _ => right(path >> 1, levels - 1, end),
    }
}

// What `black_box` does after the call keeps it from becoming a jump, and the number keeps the two functions from being
// merged into one.

#[inline(never)]
fn left<T>(path: u32, levels: u32, end: &mut dyn FnMut() -> T) -> T {
    let result = descend(path, levels, end);
    black_box(0);
    black_box(result)
}

#[inline(never)]
fn right<T>(path: u32, levels: u32, end: &mut dyn FnMut() -> T) -> T {
    let result = descend(path, levels, end);
    black_box(1);
    black_box(result)
}
