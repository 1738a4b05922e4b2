//! What something costs: time, the most memory meanwhile, and what it keeps.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::common::{Result, median};

/// What tables divide bytes by.
pub const MIB: f64 = (1u64 << 20) as f64;

/// What something took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// All runs of one process. The first may do what the others find done, such as looking names up.
pub struct Costs(pub Vec<Cost>);

impl Costs {
    /// The runs after the first; the first when it is the only one.
    fn repeated(&self) -> &[Cost] {
        self.0.get(1..).filter(|runs| !runs.is_empty()).unwrap_or(&self.0)
    }

    pub fn median(&self) -> f64 {
        millis(median(self.repeated().iter().map(|run| run.wall)))
    }

    pub fn worst_peak(&self) -> u64 {
        self.repeated().iter().map(|run| run.peak_rss).max().unwrap_or(0)
    }

    /// What stands in a row beside the median.
    pub fn fields(&self) -> Value {
        json!({
            "time_ms_first": self.0.first().map(|run| millis(run.wall)),
            "time_ms_worst": self.repeated().iter().map(|run| millis(run.wall)).fold(0.0, f64::max),
            "peak_rss_bytes_first": self.0.first().map(|run| run.peak_rss),
            "peak_rss_bytes_median": median(self.repeated().iter().map(|run| run.peak_rss)),
            "peak_rss_bytes_worst": self.worst_peak(),
            "retained_bytes_first": self.0.first().map(|run| run.retained),
        })
    }
}
