//! A heap of many stacks.

use crate::chain::{LEVELS, call};
use crate::common::Result;

pub fn set(switch: &[u8], on: bool) -> Result<()> {
    // SAFETY: both `prof.active` and `thread.prof.active` are bools.
    unsafe { tikv_jemalloc_ctl::raw::write(switch, on) }.map_err(|error| error.to_string().into())
}

/// One `object` at the end of each of `stacks` call chains, all of the same depth. From here on nothing else of this thread
/// is sampled: whoever takes the heap's measure allocates as it would in a service, where almost nothing is.
pub fn heap<T>(stacks: u32, mut object: impl FnMut() -> T) -> Result<Vec<T>> {
    assert!(stacks <= 1 << LEVELS);
    let mut heap = Vec::with_capacity(stacks as usize);
    heap.extend((0..stacks).map(|path| call(path, &mut object)));
    set(b"thread.prof.active\0", false)?;
    Ok(heap)
}
