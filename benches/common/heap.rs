//! A heap of many stacks.

use std::hint::black_box;

use crate::common::Result;

pub fn set(switch: &[u8], on: bool) -> Result<()> {
    // SAFETY: both `prof.active` and `thread.prof.active` are bools.
    unsafe { tikv_jemalloc_ctl::raw::write(switch, on) }.map_err(|error| error.to_string().into())
}

/// How many functions are between the heap's maker and the allocation: 2^17 paths.
const LEVELS: u32 = 17;

/// One `object` at the end of each of `stacks` call chains, all of the same depth. From here on nothing else of this thread
/// is sampled: whoever takes the heap's measure allocates as it would in a service, where almost nothing is.
pub fn heap<T>(stacks: u32, mut object: impl FnMut() -> T) -> Result<Vec<T>> {
    assert!(stacks <= 1 << LEVELS);
    let mut heap = Vec::with_capacity(stacks as usize);
    heap.extend((0..stacks).map(|path| call(path, &mut object)));
    set(b"thread.prof.active\0", false)?;
    Ok(heap)
}

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
