//! The renderer: the thread on which profiles are built and named, one at a time.

use std::sync::mpsc::Receiver;

use super::shared::Shared;
use super::threads;
use crate::symbolize::{DEFAULT_CAPACITY, SymbolCache};

/// How many jobs may wait. Each is somebody's open request.
pub(super) const QUEUE: usize = 16;

/// What the renderer does.
pub(crate) enum Job {
    Work(Box<dyn FnOnce(&mut SymbolCache) + Send>),
    Stop,
}

/// Runs until it is told to stop, or nobody is left to tell it.
pub(super) fn run(jobs: &Receiver<Job>, shared: &Shared) {
    let mut cache = SymbolCache::new(DEFAULT_CAPACITY, shared.config().debug_dirs.clone());
    // The flag and not the job alone: the job is lost when the queue is full.
    while !shared.is_stopped() {
        let Ok(Job::Work(work)) = jobs.recv() else { return };
        threads::outlive("building a profile", || work(&mut cache), || shared.status().panics += 1);
    }
}
