//! The exact count to compare with.

use tikv_jemalloc_ctl::thread;

/// What the calling thread allocated less what it freed, in bytes of usable size.
///
/// jemalloc's `stats.allocated` would be all threads', and misses sampled objects of less than 16 KiB; these counters of
/// the thread have every one of its allocations. `tests/live_exact_growth.rs` holds them against an allocator that counts.
pub fn held() -> Result<i64, tikv_jemalloc_ctl::Error> {
    let allocated = thread::allocatedp::read()?.get();
    let freed = thread::deallocatedp::read()?.get();
    Ok(allocated.wrapping_sub(freed) as i64)
}
