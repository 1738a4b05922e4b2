//! Work that waits for time to pass, on a thread of its own for as long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::{Asked, Shared, stopped, threads};
use crate::error::{Error, ErrorKind, Result};

/// How often somebody who waits looks whether heapward is to end.
const LOOK: Duration = Duration::from_millis(100);

/// How long somebody waits for a folder, with what others asked of it before: a disk may hang.
const FOLDER_PATIENCE: Duration = Duration::from_secs(10);

/// With what such work waits.
pub(crate) struct Patience {
    shared: Arc<Shared>,
    asker: Receiver<()>,
}

/// Held by whoever waits for the work: it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Interest {
    _alive: Sender<()>,
}

impl Shared {
    /// Runs `work` on an unsampled thread, until it is done or nobody is interested any more.
    pub(crate) fn aside(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &Patience) + Send + 'static,
    ) -> Result<Interest> {
        if self.is_stopped() {
            return Err(stopped());
        }
        let (alive, asker) = channel();
        let shared = Arc::clone(self);
        let patience = Patience { shared: Arc::clone(self), asker };
        let thread = threads::spawn("heapward-wait", move || {
            threads::outlive("waiting", || work(&shared, &patience), || shared.status().panics += 1);
        })?;
        self.remember(thread);
        Ok(Interest { _alive: alive })
    }
}

/// One more that waits, for as long as this lives.
struct Waiting<'s>(&'s Shared);

impl<'s> Waiting<'s> {
    fn of(shared: &'s Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Patience {
    /// What was `asked` of the thread that reads the folder.
    ///
    /// # Errors
    ///
    /// When the folder does not answer, nobody is interested any more, or heapward ends.
    pub(crate) fn read<T>(&self, asked: &Asked<T>) -> Result<T> {
        let go_on = || match self.asker.try_recv() {
            _ if self.shared.is_stopped() => Err(stopped()),
            Err(TryRecvError::Empty) => Ok(()),
            Ok(()) | Err(TryRecvError::Disconnected) => Err(nobody_waits()),
        };
        let read = asked.wait(FOLDER_PATIENCE, go_on)?;
        read.ok_or_else(|| {
            if asked.waits_for_turn() {
                let message = "another snapshot of an earlier run is being looked at: ask again in a moment";
                return Error::new(ErrorKind::Busy, message);
            }
            let folder = self.shared.disk().folder().map(|folder| folder.display().to_string()).unwrap_or_default();
            let seconds = FOLDER_PATIENCE.as_secs();
            let message = format!("the folder {folder} does not answer: nothing came from it in {seconds} s");
            Error::new(ErrorKind::Busy, message)
        })
    }

    /// Lets `time` pass.
    ///
    /// # Errors
    ///
    /// When nobody is interested any more, or heapward ends.
    pub(crate) fn wait(&self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        let _waiting = Waiting::of(&self.shared);
        while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            match self.asker.recv_timeout(left.min(LOOK)) {
                Err(RecvTimeoutError::Timeout) if self.shared.is_stopped() => return Err(stopped()),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Err(nobody_waits()),
            }
        }
        Ok(())
    }
}

fn nobody_waits() -> Error {
    Error::new(ErrorKind::Busy, "nobody waits for this any more")
}
