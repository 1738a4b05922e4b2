//! heapward's own threads: named, and never sampled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::system::unsample_this_thread;

/// Starts a thread whose allocations are not sampled.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            unsample_this_thread();
            run();
        })
        .map_err(|error| Error::io(format!("starting the thread {name}"), error))
}

/// Runs what the host gave us; `None` when it panicked, which the caller reports.
pub(super) fn quietly<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

/// Runs `step`; a panic in it is counted by `panicked`, reported, and does not end the thread.
///
/// Reporting may panic as well, since it runs the host's subscriber, which may be what panicked in the first place.
pub(super) fn outlive<T>(what: &str, step: impl FnOnce() -> T, panicked: impl FnOnce()) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(value) => Some(value),
        Err(_) => {
            panicked();
            let _ = catch_unwind(AssertUnwindSafe(|| {
                tracing::error!(
                    "heapward: {what} panicked, in heapward or in the log's subscriber; the service goes on"
                );
            }));
            None
        }
    }
}
