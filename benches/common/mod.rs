//! A heap of many stacks, and what something costs on it: shared by the benchmarks.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What something took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall: Duration,
    /// Highest RSS meanwhile, less RSS before.
    pub peak_rss: u64,
    /// Bytes of the heap in use afterwards, less those before: what it keeps.
    pub retained: u64,
}

/// Runs `work` and measures it; its result is alive until the last figure is read.
pub fn measure<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
    let allocated_before = allocated()?;
    purge();
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (before, _) = rss_and_peak()?;
    let begun = Instant::now();
    let result = work()?;
    let wall = begun.elapsed();
    let (_, peak) = rss_and_peak()?;
    let retained = allocated()?.saturating_sub(allocated_before);
    Ok((result, Cost { wall, peak_rss: peak.saturating_sub(before), retained }))
}

/// VmRSS and VmHWM, in bytes.
fn rss_and_peak() -> Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in status")?;
        let kib = line.trim().strip_suffix("kB").ok_or("not in kB")?;
        Ok(kib.trim().parse::<u64>()? << 10)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

fn allocated() -> Result<u64> {
    tikv_jemalloc_ctl::epoch::advance().map_err(|error| error.to_string())?;
    Ok(tikv_jemalloc_ctl::stats::allocated::read().map_err(|error| error.to_string())? as u64)
}

/// Gives all free pages back to the system: whoever needs them again shows up in RSS.
fn purge() {
    // 4096 is MALLCTL_ARENAS_ALL.
    let name = c"arena.4096.purge".as_ptr();
    let (null, none) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the name is a C string, and this control reads and writes no value.
    let code = unsafe { tikv_jemalloc_sys::mallctl(name, null, none, null, 0) };
    assert_eq!(code, 0, "arena.4096.purge");
}

pub fn set(switch: &[u8], on: bool) -> Result<()> {
    // SAFETY: both `prof.active` and `thread.prof.active` are bools.
    unsafe { tikv_jemalloc_ctl::raw::write(switch, on) }.map_err(|error| error.to_string().into())
}

/// What is kept: a block on the heap.
pub type Object = Box<[u8; 32]>;

/// How many functions are between the heap's maker and the allocation: 2^17 paths.
const LEVELS: u32 = 17;

/// One object at the end of each of `stacks` call chains, all of the same depth. From here on nothing else is sampled:
/// whoever takes the heap's measure allocates as it would in a service, where almost nothing is.
pub fn heap(stacks: u32) -> Result<Vec<Object>> {
    assert!(stacks <= 1 << LEVELS);
    let mut heap = Vec::with_capacity(stacks as usize);
    heap.extend((0..stacks).map(|path| descend(path, LEVELS)));
    set(b"thread.prof.active\0", false)?;
    Ok(heap)
}

/// Goes left or right by the lowest bit of `path`, `levels` times, and allocates.
#[inline(always)]
fn descend(path: u32, levels: u32) -> Object {
    match (levels, path & 1) {
        (0, _) => Box::new(black_box([0; 32])),
        (_, 0) => left(path >> 1, levels - 1),
        _ => right(path >> 1, levels - 1),
    }
}

// What `black_box` does after the call keeps it from becoming a jump, and the number keeps the two functions from being
// merged into one.

#[inline(never)]
fn left(path: u32, levels: u32) -> Object {
    let object = descend(path, levels);
    black_box(0);
    black_box(object)
}

#[inline(never)]
fn right(path: u32, levels: u32) -> Object {
    let object = descend(path, levels);
    black_box(1);
    black_box(object)
}

pub fn median<T: Copy + Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 20) as f64
}
