//! What is measured.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;

use crate::common::{Effort, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Heapward, which takes no snapshot.
    Nothing,
    Heapward,
    /// jemalloc's profiler without heapward, and nothing is dumped.
    Jemalloc,
    Dump,
    JemallocPprof,
}

impl Subject {
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Heapward, Self::Jemalloc, Self::Dump, Self::JemallocPprof];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "heapward, no snapshots",
            Self::Heapward => "heapward snapshot",
            Self::Jemalloc => "jemalloc, no dumps",
            Self::Dump => "prof.dump to memfd",
            Self::JemallocPprof => "jemalloc_pprof dump_profile",
        }
    }

    /// So many that a median means something, so few that the whole takes two minutes.
    pub fn runs(self, effort: Effort, stacks: u32) -> usize {
        match (effort, self) {
            (Effort::Test, _) => 1,
            (Effort::Quick, _) => 3,
            (_, Self::Heapward) => 9,
            _ if stacks > 100_000 => 5,
            _ => 7,
        }
    }
}

/// jemalloc's dump, in memory.
pub fn dump() -> Result<File> {
    let file = File::from(rustix::fs::memfd_create("dump", rustix::fs::MemfdFlags::CLOEXEC)?);
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    // SAFETY: `prof.dump` takes a pointer to a C string, which lives until the call returns.
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.dump\0", path.as_ptr()) }.map_err(|error| error.to_string())?;
    Ok(file)
}

/// jemalloc_pprof's dump, parsed.
pub fn dump_profile() -> Result<jemalloc_pprof::StackProfile> {
    let control = jemalloc_pprof::PROF_CTL.as_ref().ok_or("jemalloc_pprof finds no profiler")?;
    control.blocking_lock().dump_profile().map_err(|error| error.to_string().into())
}
