//! One check at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// One check at a time, because what one does is growth to another. Knows who has the turn, so that a closure that
/// asks for one itself is told so and does not wait for its own end.
pub(super) struct Turns {
    holder: Mutex<Option<ThreadId>>,
    ended: Condvar,
    /// Rounds that were ever run.
    rounds: AtomicU64,
}

/// The turn, until it is dropped.
#[must_use]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self { holder: Mutex::new(None), ended: Condvar::new(), rounds: AtomicU64::new(0) }
    }

    /// Waits for the turn, for as long as who has it begins a new round within `patience`.
    pub(super) fn take(&self, patience: Duration) -> Result<Turn<'_>> {
        let refuse = |message| Err(Error::new(ErrorKind::AlreadyRunning, message));
        let me = std::thread::current().id();
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let other = match *holder {
                None => {
                    *holder = Some(me);
                    return Ok(Turn { turns: self });
                }
                Some(other) if other == me => {
                    return refuse(
                        "it is called from the closure of another check of growth, and only one can look at a time"
                            .to_owned(),
                    );
                }
                Some(other) => other,
            };
            let rounds = self.rounds.load(Ordering::Relaxed);
            let waited = self.ended.wait_timeout_while(holder, patience, |holder| *holder == Some(other));
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            holder = now;
            if timeout.timed_out() && rounds == self.rounds.load(Ordering::Relaxed) {
                return refuse(format!(
                    "another check of growth has been in the same round for {} s: if that round waits for this check, on a \
                     thread of its own, neither would ever end",
                    patience.as_secs_f64()
                ));
            }
        }
    }
}

impl Turn<'_> {
    /// A round begins.
    pub(super) fn count_round(&self) {
        self.turns.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.turns.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn who_has_the_turn_is_refused_another() {
        let turns = Turns::new();
        let turn = turns.take(LONG).unwrap();
        assert!(turns.take(LONG).err().unwrap().to_string().contains("from the closure of another check"));
        drop(turn);
        assert!(turns.take(LONG).is_ok());
    }

    #[test]
    fn a_thread_of_the_closure_is_refused_and_not_left_to_wait_for_ever() {
        let turns = Turns::new();
        let turn = turns.take(LONG).unwrap();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| turns.take(Duration::from_millis(20)).err().unwrap().to_string()).join().unwrap()
        });
        assert!(error.contains("in the same round for 0.02 s"), "{error}");
        drop(turn);
    }

    #[test]
    fn who_waits_gets_the_turn_when_it_ends() {
        let turns = Turns::new();
        let turn = turns.take(LONG).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.take(LONG).map(drop));
            turn.count_round();
            drop(turn);
            waiting.join().unwrap().unwrap();
        });
    }
}
