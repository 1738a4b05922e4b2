//! The thread that writes: whatever happens to a disk, the ring goes on in memory, and what it still has is written when
//! writing works again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::super::{Shared, threads};
use super::store::Store;

/// How often the last reading is noted, at most.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// After a write that failed, the next attempt waits so long at least, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The state of the thread.
struct Keeper {
    shared: Arc<Shared>,
    store: Store,
    /// The last snapshot that is on disk or lost.
    done: u64,
    /// While writing fails: when it is tried again, and how long to wait after that.
    retry: Option<(Instant, Duration)>,
}

/// Runs until heapward is to end, and then writes what is left.
pub(crate) fn run(wakes: &Receiver<()>, shared: &Arc<Shared>) {
    let _running = Running::begin(shared);
    let panicked = || shared.status().panics += 1;
    let Some(mut keeper) = threads::outlive("preparing to write snapshots", || Keeper::begin(shared), panicked) else {
        return;
    };
    while !shared.is_stopped() {
        threads::outlive("writing snapshots", || keeper.turn(), panicked);
        match wakes.recv_timeout(NOTE_INTERVAL.max(shared.config().poll_interval).min(RETRY.1)) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    // First: whoever ends heapward waits for that alone.
    threads::outlive("noting how this run ends", || keeper.note(), panicked);
    shared.disk().set_noted();
    keeper.retry = None;
    threads::outlive("writing snapshots", || keeper.turn(), panicked);
}

/// Says that there is a thread, for as long as there is.
struct Running<'s>(&'s Shared);

impl<'s> Running<'s> {
    fn begin(shared: &'s Shared) -> Self {
        shared.disk().set_has_thread(true);
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.disk().set_has_thread(false);
    }
}

impl Keeper {
    fn begin(shared: &Arc<Shared>) -> Self {
        let mut store = Store::new(shared);
        // The default folder is made by the first snapshot; one that is there has earlier runs.
        if let Err(error) = store.open(shared, shared.disk().is_named)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("heapward: the folder for snapshots cannot be used yet: {error}");
        }
        Self { shared: Arc::clone(shared), store, done: 0, retry: None }
    }

    /// Writes what the ring has and the disk has not.
    fn turn(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let next = shared.history().after(self.done);
            let Some(snapshot) = next else { break };
            // Ids rise by one.
            let lost = snapshot.id - self.done - 1;
            shared.disk().figures.skipped.fetch_add(lost, Ordering::Relaxed);
            self.done = snapshot.id - 1;
            if self.retry.is_some_and(|(at, _)| Instant::now() < at) {
                break;
            }
            match self.store.write(&snapshot, &shared) {
                Ok(()) => {
                    self.done = snapshot.id;
                    self.worked();
                }
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        self.note();
    }

    fn note(&mut self) {
        self.store.note(&self.shared, self.done);
    }

    fn worked(&mut self) {
        if self.retry.take().is_some() {
            self.shared.disk().figures.is_failing.store(false, Ordering::Relaxed);
            self.shared.disk().set_error(None);
            tracing::info!("heapward: snapshots can be written again");
        }
    }

    /// Says so once, until it works again.
    fn failed(&mut self, error: &std::io::Error) {
        let wait = self.retry.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
        let is_new = self.retry.is_none();
        self.retry = Some((Instant::now() + wait, wait));
        let disk = self.shared.disk();
        disk.figures.failures.fetch_add(1, Ordering::Relaxed);
        disk.figures.is_failing.store(true, Ordering::Relaxed);
        let folder = disk.folder().map(|folder| folder.display().to_string()).unwrap_or_default();
        disk.set_error(Some(format!("{folder}: {error}")));
        if is_new {
            tracing::warn!(
                "heapward: a snapshot could not be written to {folder}: {error}; snapshots stay in memory, and are written when \
                 that works again"
            );
        }
    }
}
