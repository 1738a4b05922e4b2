//! CPU sampling by the `pprof` crate, which owns SIGPROF while it runs.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::profile::ReturnAddress;

/// Samples a second of CPU time: as many as Go takes.
pub(crate) const HERTZ: u32 = 100;

/// Libraries in which a sample is not taken: an unwinder that is interrupted in the middle of itself, or inside of
/// the dynamic linker's list, must not be entered again (pprof-rs#36). What the `pprof` crate's manual advises.
const BLOCKED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// CPU sampling of all threads, until it is dropped.
pub(crate) struct CpuSampling {
    guard: ProfilerGuard<'static>,
    started: Instant,
}

/// Equal stacks, and how often each was seen.
pub(crate) struct CpuStack {
    /// Leaf first, the signal's own frames included.
    pub(crate) frames: Vec<ReturnAddress>,
    pub(crate) count: i64,
}

impl CpuSampling {
    /// Starts sampling.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRunning`] when somebody else in this process samples with the `pprof` crate.
    pub(crate) fn start() -> Result<Self> {
        let guard = ProfilerGuardBuilder::default().frequency(HERTZ as c_int).blocklist(&BLOCKED).build();
        // The crate names a backtrace of its own when it starts, for which `backtrace` reads the debug information of
        // the whole program and keeps it for ever, unless it is told to let go.
        backtrace::clear_symbol_cache();
        let guard = guard.map_err(|error| match error {
            pprof::Error::Running => {
                Error::new(ErrorKind::AlreadyRunning, "this process is taking a CPU profile already: ask again later")
            }
            error => Error::new(ErrorKind::Io, "starting a CPU profile").with_source(error),
        })?;
        Ok(Self { guard, started: Instant::now() })
    }

    /// For how long it has been sampling.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What was seen so far.
    pub(crate) fn stacks(&self) -> Result<Vec<CpuStack>> {
        let report = self
            .guard
            .report()
            .build_unresolved()
            .map_err(|error| Error::new(ErrorKind::Io, "reading a CPU profile").with_source(error))?;
        // Equal by function and not by address: within a function, the first address stands for all.
        let stack = report.data.iter().map(|(stack, &count)| CpuStack {
            frames: stack.frames.iter().map(|frame| ReturnAddress(frame.ip() as u64)).collect(),
            count: count as i64,
        });
        Ok(stack.collect())
    }
}
