//! One profiler a process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// One profiler a process: jemalloc has one set of hooks.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// The right to be the one profiler of this process; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot;

impl Slot {
    pub(super) fn take() -> Result<Self> {
        if RUNNING.swap(true, Ordering::AcqRel) {
            return Err(Error::new(
                ErrorKind::AlreadyRunning,
                "a profiler runs in this process already: keep the first one, or shut it down before starting another",
            ));
        }
        Ok(Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::Release);
    }
}
