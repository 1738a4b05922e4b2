//! The thread that reads what earlier runs left: a disk may hang, and then nobody but this thread hangs with it.
//!
//! It is there while there is something to read and no longer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Asker, Wanted, threads};
use crate::error::{Error, ErrorKind, Result};

/// Its name.
const NAME: &str = "heapward-runs";

/// So many may wait for it, beside the one that it reads for.
const QUEUE: usize = 4;

/// How often somebody who waits looks whether that still makes sense.
const LOOK: Duration = Duration::from_millis(100);

/// The thread that reads, where there is one, and what it has to do.
#[derive(Default)]
pub(super) struct Reader {
    state: Mutex<State>,
    /// There is more to do, a [`Turn`] was given back, or all is to end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    thread: Option<JoinHandle<()>>,
    /// Whether that thread goes on.
    is_awake: bool,
    has_turn: bool,
    is_stopped: bool,
}

struct Job {
    wanted: Wanted,
    needs_turn: bool,
    has_begun: Arc<AtomicBool>,
    work: Box<dyn FnOnce(Option<Turn>) + Send>,
}

/// The right to hold what was read of a whole file: one has it at a time, so that what is held at once is bounded.
pub(crate) struct Turn {
    reader: Arc<Reader>,
}

/// Somebody who waits for what is read; when this is dropped, nobody does.
pub(crate) struct Asked<T> {
    answer: Receiver<Result<T>>,
    needs_turn: bool,
    has_begun: Arc<AtomicBool>,
    _asker: Asker,
}

impl Reader {
    /// Has `work` done by the thread, after all that it has to do already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] when that is as much as it takes.
    pub(super) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Asked<T>> {
        self.add(false, move |_| work())
    }

    /// The same of work that holds whole files: when nobody else does.
    pub(super) fn ask_in_turn<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Turn) -> Result<T> + Send + 'static,
    ) -> Result<Asked<T>> {
        self.add(true, move |turn| turn.ok_or_else(super::stopped).and_then(work))
    }

    fn add<T: Send + 'static>(
        self: &Arc<Self>,
        needs_turn: bool,
        work: impl FnOnce(Option<Turn>) -> Result<T> + Send + 'static,
    ) -> Result<Asked<T>> {
        let asker = Asker::new();
        let has_begun = Arc::new(AtomicBool::new(false));
        // With room for the answer: the thread never waits for who asked.
        let (reply, answer) = sync_channel(1);
        let job = Job {
            wanted: asker.wanted(),
            needs_turn,
            has_begun: Arc::clone(&has_begun),
            work: Box::new(move |turn| {
                // Gone only when nobody waits any more.
                let _ = reply.send(work(turn));
            }),
        };
        let mut state = self.state();
        if state.is_stopped {
            return Err(super::stopped());
        }
        // Those who left while the disk hangs take nobody's place.
        state.waiting.retain(|job| job.wanted.check().is_ok());
        if state.waiting.len() >= QUEUE {
            let message = "as many requests for what earlier runs left are waiting as at once: ask again in a moment";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        if !state.is_awake {
            let reader = Arc::clone(self);
            // The one before has nothing left to do and is gone in a moment.
            state.thread = Some(threads::spawn(NAME, move || reader.run())?);
            state.is_awake = true;
        }
        state.waiting.push_back(job);
        self.changed.notify_all();
        Ok(Asked { answer, needs_turn, has_begun, _asker: asker })
    }

    fn run(self: Arc<Self>) {
        while let Some(Job { needs_turn, work, .. }) = self.next() {
            let turn = needs_turn.then(|| Turn { reader: Arc::clone(&self) });
            threads::quietly(|| work(turn));
        }
    }

    /// The next that somebody still waits for, with the turn taken if it needs that; `None` when there is nothing left to do.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            state.waiting.retain(|job| job.wanted.check().is_ok());
            // What needs no turn passes by what waits for one.
            let has_turn = state.has_turn;
            let at = state.waiting.iter().position(|job| !(job.needs_turn && has_turn));
            if let Some(job) = at.and_then(|at| state.waiting.remove(at)) {
                state.has_turn |= job.needs_turn;
                job.has_begun.store(true, Ordering::Relaxed);
                return Some(job);
            }
            if state.waiting.is_empty() {
                state.is_awake = false;
                return None;
            }
            // Also now and then, as who leaves tells nobody.
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells the thread to end, and who waits for it. Waits for nothing.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.waiting.clear();
        self.changed.notify_all();
    }

    /// The thread, if there was one.
    pub(super) fn thread(&self) -> Option<JoinHandle<()>> {
        self.state().thread.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoned by nobody: what may panic runs without it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.reader.state().has_turn = false;
        self.reader.changed.notify_all();
    }
}

impl<T> Asked<T> {
    /// Whether it waits for another one's turn to end, and for no disk.
    pub(crate) fn waits_for_turn(&self) -> bool {
        self.needs_turn && !self.has_begun.load(Ordering::Relaxed)
    }

    /// What was read, if it comes within `patience` and for as long as `go_on` says so; `None` when it did not come.
    pub(crate) fn wait(&self, patience: Duration, mut go_on: impl FnMut() -> Result<()>) -> Result<Option<T>> {
        let begun = Instant::now();
        loop {
            let Some(left) = patience.checked_sub(begun.elapsed()) else { return Ok(None) };
            match self.answer.recv_timeout(left.min(LOOK)) {
                Ok(answer) => return answer.map(Some),
                Err(RecvTimeoutError::Timeout) => go_on()?,
                // It panicked, or all is to end.
                Err(RecvTimeoutError::Disconnected) => {
                    go_on()?;
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "reading what an earlier run left failed in heapward itself",
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    /// A disk that hangs until the sender is dropped, and how its reader is asked.
    fn hang(reader: &Arc<Reader>) -> (Sender<()>, Asked<u32>) {
        let (answers, hangs) = channel::<()>();
        let (begun, has_begun) = channel();
        let asked = reader.ask(move || {
            begun.send(()).unwrap();
            let _ = hangs.recv();
            Ok(1)
        });
        has_begun.recv().unwrap();
        (answers, asked.unwrap())
    }

    fn fine() -> Result<()> {
        Ok(())
    }

    #[test]
    fn who_waits_for_a_disk_that_hangs_is_told_and_it_goes_on_when_the_disk_does() {
        let reader = Arc::new(Reader::default());
        let (disk, first) = hang(&reader);
        assert!(first.wait(SHORT, fine).unwrap().is_none());
        let second = reader.ask(|| Ok(2)).unwrap();
        assert!(second.wait(SHORT, fine).unwrap().is_none());
        drop(disk);
        assert_eq!((first.wait(LONG, fine).unwrap(), second.wait(LONG, fine).unwrap()), (Some(1), Some(2)));
        // It ended, and another one begins.
        reader.thread().unwrap().join().unwrap();
        assert_eq!(reader.ask(|| Ok(3)).unwrap().wait(LONG, fine).unwrap(), Some(3));
        reader.thread().unwrap().join().unwrap();
        assert!(reader.thread().is_none());
    }

    #[test]
    fn a_disk_that_hangs_collects_no_more_than_its_queue_and_nothing_of_those_who_left() {
        let reader = Arc::new(Reader::default());
        let (disk, first) = hang(&reader);
        let waiting: Vec<_> = (0..QUEUE).map(|_| reader.ask(|| Ok(())).unwrap()).collect();
        assert_eq!(reader.ask(|| Ok(())).err().unwrap().kind(), ErrorKind::Busy);
        drop(waiting);
        let (ran, runs) = channel();
        let left = reader.ask(move || ran.send(()).map_err(|_| crate::profiler::stopped())).unwrap();
        drop(left);
        drop(disk);
        assert_eq!(first.wait(LONG, fine).unwrap(), Some(1));
        let thread = reader.thread().unwrap();
        thread.join().unwrap();
        assert!(runs.try_recv().is_err(), "nobody waited for that");
    }

    #[test]
    fn the_end_waits_for_no_disk() {
        let reader = Arc::new(Reader::default());
        let (disk, first) = hang(&reader);
        let second = reader.ask(|| Ok(())).unwrap();
        reader.stop();
        let thread = reader.thread().unwrap();
        assert!(!thread.is_finished());
        assert!(second.wait(LONG, fine).is_err());
        assert!(first.wait(LONG, || Err(crate::profiler::stopped())).is_err());
        assert_eq!(reader.ask(|| Ok(())).err().unwrap().kind(), ErrorKind::NotRunning);
        drop(disk);
        thread.join().unwrap();
    }

    #[test]
    fn whole_files_are_held_one_at_a_time() {
        let reader = Arc::new(Reader::default());
        let read = |reader: &Arc<Reader>| reader.ask_in_turn(Ok).unwrap();
        let (first, second, left) = (read(&reader), read(&reader), read(&reader));
        let turn = first.wait(LONG, fine).unwrap().unwrap();
        assert!(second.wait(SHORT, fine).unwrap().is_none());
        assert!(second.waits_for_turn());
        // What holds no file does not wait for that.
        assert_eq!(reader.ask(|| Ok(7)).unwrap().wait(LONG, fine).unwrap(), Some(7));
        drop(turn);
        let turn = second.wait(LONG, fine).unwrap().unwrap();
        assert!(!second.waits_for_turn());
        drop(left);
        // One who waits for it does not keep anything from ending.
        let third = read(&reader);
        reader.stop();
        assert!(third.wait(LONG, fine).is_err());
        reader.thread().unwrap().join().unwrap();
        drop(turn);
    }

    #[test]
    fn a_panic_while_reading_costs_that_answer_alone() {
        let reader = Arc::new(Reader::default());
        let first = reader.ask(|| -> Result<()> { std::panic::resume_unwind(Box::new("a panic of a test")) }).unwrap();
        assert_eq!(first.wait(LONG, fine).unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(reader.ask(|| Ok(3)).unwrap().wait(LONG, fine).unwrap(), Some(3));
        reader.stop();
    }
}
