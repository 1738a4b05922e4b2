//! The thread that writes: whatever happens to a disk, the ring goes on in memory, and what it still has is written when
//! writing works again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::super::{Shared, threads};
use super::store::Store;
use crate::collect::StackId;

/// How often the last reading is noted, at most.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// After a write that failed, the next attempt waits so long at least, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The state of the thread.
struct Keeper {
    shared: Arc<Shared>,
    store: Store,
    /// The last snapshot that is on disk; those after it that the ring has are written.
    done: u64,
    /// The last snapshot that was written or counted as skipped. What was written and is gone since is neither again.
    told: u64,
    /// While writing fails: when it is tried again, and how long to wait after that.
    retry: Option<(Instant, Duration)>,
    noted: Instant,
    is_end_noted: bool,
}

/// Runs until heapward is to end, and then writes what is left.
pub(crate) fn run(wakes: &Receiver<()>, shared: &Arc<Shared>) {
    let _running = Running::begin(shared);
    let panicked = || shared.status().panics += 1;
    let Some(mut keeper) = threads::outlive("preparing to write snapshots", || Keeper::begin(shared), panicked) else {
        return;
    };
    loop {
        let is_ending = shared.disk().said().is_some();
        if keeper.must_note_the_end() {
            // First: whoever ends heapward waits for that alone.
            threads::outlive("noting how this run ends", || keeper.note(), panicked);
            keeper.noted_the_end();
        }
        // The watcher ends at the same time, and may be taking a snapshot.
        let is_last = is_ending && !shared.disk().is_watched();
        if is_last {
            keeper.try_now();
        }
        if threads::outlive("writing snapshots", || keeper.turn(), panicked).is_none() {
            keeper.put_off();
        }
        if is_last {
            break;
        }
        let wait = wait(shared.config().poll_interval, keeper.retry.map(|(at, _)| at), Instant::now());
        match wakes.recv_timeout(wait) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    threads::outlive("counting what was not written", || keeper.count_the_rest(), panicked);
}

/// How long nothing is looked at, unless there is something new: until the next reading, or until what failed is tried again.
fn wait(poll_interval: Duration, retry: Option<Instant>, now: Instant) -> Duration {
    let usual = NOTE_INTERVAL.max(poll_interval).min(RETRY.1);
    retry.map_or(usual, |at| usual.min(at.saturating_duration_since(now)))
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
        if let Err(error) = store.open(shared.disk(), shared.disk().is_named)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("heapward: the folder for snapshots cannot be used yet: {error}");
        }
        Self {
            shared: Arc::clone(shared),
            store,
            done: 0,
            told: 0,
            retry: None,
            noted: Instant::now(),
            is_end_noted: false,
        }
    }

    /// Writes what the ring has and the disk has not.
    fn turn(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (disk, stacks) = (shared.disk(), shared.collector().stacks());
        loop {
            if self.store.has_lost_its_folder() {
                // With all that was written; the ring still has some of it. One that comes back says what it has.
                self.done = 0;
            }
            let next = shared.history().after(self.done);
            let Some(snapshot) = next else {
                self.worked();
                break;
            };
            // Ids rise by one.
            let lost = snapshot.id.saturating_sub(self.told + 1);
            disk.figures.skipped.fetch_add(lost, Ordering::Relaxed);
            self.told += lost;
            if self.retry.is_some_and(|(at, _)| Instant::now() < at) {
                break;
            }
            let written = match self.store.open(disk, true) {
                Ok(Some(last)) => {
                    self.done = last;
                    continue;
                }
                Ok(None) => {
                    let frames = |id, each: &mut dyn FnMut(_)| stacks.frames(StackId(id)).for_each(each);
                    self.store.write(&snapshot, &frames, disk)
                }
                Err(error) => Err(error),
            };
            match written {
                Ok(()) => {
                    self.done = snapshot.id;
                    self.told = self.told.max(snapshot.id);
                    self.worked();
                    self.note_between();
                }
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        self.note();
    }

    /// What failed is tried again at once, the last time.
    fn try_now(&mut self) {
        if let Some((at, _)) = &mut self.retry {
            *at = Instant::now();
        }
    }

    /// What made a turn panic is not tried again at once.
    fn put_off(&mut self) {
        if let Some((at, wait)) = &mut self.retry {
            *at = Instant::now() + *wait;
        }
    }

    /// What the ring still has at the end is in no file, and nobody writes it any more.
    fn count_the_rest(&mut self) {
        let left = self.shared.history().last_id().saturating_sub(self.told);
        self.told += left;
        self.shared.disk().figures.skipped.fetch_add(left, Ordering::Relaxed);
        if left > 0 {
            tracing::warn!("heapward: {left} snapshots were not written before the end");
        }
    }

    fn note(&mut self) {
        self.store.note(&self.shared, self.done);
        self.noted = Instant::now();
    }

    /// Where there is always one more snapshot, as the disk is slow or the ring full, the last readings are noted all the same.
    fn note_between(&mut self) {
        if self.must_note_the_end() {
            self.note();
            self.noted_the_end();
        } else if self.noted.elapsed() >= NOTE_INTERVAL {
            self.note();
        }
    }

    fn must_note_the_end(&self) -> bool {
        !self.is_end_noted && self.shared.disk().said().is_some()
    }

    fn noted_the_end(&mut self) {
        self.is_end_noted = true;
        self.shared.disk().set_noted();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_the_next_reading_or_for_the_next_attempt() {
        let now = Instant::now();
        let check = |poll: f64, retry: Option<f64>, expect: f64| {
            let retry = retry.map(|in_seconds| now + Duration::from_secs_f64(in_seconds));
            let waits = wait(Duration::from_secs_f64(poll), retry, now);
            assert!((waits.as_secs_f64() - expect).abs() < 1e-6, "{poll} {retry:?}: {waits:?}");
        };
        check(0.01, None, 1.0);
        check(5.0, None, 5.0);
        check(3600.0, None, 60.0);
        check(30.0, Some(1.0), 1.0);
        check(30.0, Some(32.0), 30.0);
        check(3600.0, Some(60.0), 60.0);
        check(0.01, Some(0.25), 0.25);
        check(30.0, Some(0.0), 0.0);
    }
}
