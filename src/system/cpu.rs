//! CPU sampling by the `pprof` crate, which owns SIGPROF while it runs.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

use super::sigprof::sigprof_handler;
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{Address, ReturnAddress};

/// Samples a second of CPU time: as many as Go takes.
pub(crate) const HERTZ: u32 = 100;

/// Parts of the paths of libraries in which a sample is not taken: an unwinder that is interrupted in the middle of
/// itself, or inside of the dynamic linker's list, must not be entered again (pprof-rs#36). What the `pprof` crate's
/// manual advises, so written that it means no other library.
const BLOCKED: [&str; 5] = ["/libc.so", "/libc-2.", "/libgcc_s", "/libpthread", "linux-vdso"];

/// CPU sampling of all threads, until it is dropped.
pub(crate) struct CpuSampling {
    guard: ProfilerGuard<'static>,
    started: Instant,
    /// The function that the signal is handled by.
    handler: Option<usize>,
}

/// A stack, and how often it was seen. Several may be equal.
pub(crate) struct CpuStack {
    /// Leaf first: where it was interrupted, then each call.
    pub(crate) frames: Vec<Address>,
    pub(crate) count: i64,
}

impl CpuSampling {
    /// Starts sampling.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRunning`] when somebody else in this process handles SIGPROF; [`ErrorKind::Io`] when there
    /// is no folder for temporary files, of which the `pprof` crate needs one.
    pub(crate) fn start() -> Result<Self> {
        // Asked first: to be refused by the `pprof` crate changes what the profile that is under way leaves out.
        if sigprof_handler().is_some() {
            let message = "this process takes a CPU profile of its own (SIGPROF has a handler): ask again later";
            return Err(Error::new(ErrorKind::AlreadyRunning, message));
        }
        try_temporary_file()?;
        let guard = ProfilerGuardBuilder::default().frequency(HERTZ as c_int).blocklist(&BLOCKED).build();
        // The crate names a backtrace of its own when it starts, for which `backtrace` reads the debug information of
        // the whole program and keeps it for ever, unless it is told to let go.
        backtrace::clear_symbol_cache();
        let guard = guard.map_err(|error| Error::new(ErrorKind::Io, "starting a CPU profile").with_source(error))?;
        Ok(Self { guard, started: Instant::now(), handler: sigprof_handler() })
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
        let stacks = report.data.iter().map(|(stack, &count)| {
            let handler = stack.frames.iter().position(|frame| Some(frame.symbol_address() as usize) == self.handler);
            // The kernel's way back is between the handler and what it interrupted. There, there was no call.
            let interrupted = handler.map_or(0, |handler| handler + 2);
            let frames = stack.frames.iter().enumerate().skip(interrupted).map(|(index, frame)| {
                let address = frame.ip() as u64;
                let is_exact = handler.is_some() && index == interrupted;
                if is_exact { Address(address) } else { ReturnAddress(address).call_site() }
            });
            CpuStack { frames: frames.collect(), count: count as i64 }
        });
        Ok(stacks.collect())
    }
}

/// The `pprof` crate makes such a file at the start and at the end of a profile; where it cannot, it takes none again.
fn try_temporary_file() -> Result<()> {
    let folder = std::env::temp_dir();
    let file = folder.join(format!("heapward-cpu-{}", std::process::id()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&file);
    let removed = made.and_then(|_| std::fs::remove_file(&file));
    removed.map_err(|error| {
        let folder = folder.display();
        Error::io(format!("a CPU profile needs a folder for temporary files, and {folder} (TMPDIR) is none"), error)
    })
}
