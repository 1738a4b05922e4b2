//! Rounds of a closure, with the heap looked at in between.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use super::Growth;
use crate::error::{Error, Result};
use crate::profile::Place;
use crate::profiler::Recording;

/// Rounds are put together in so many epochs.
const EPOCHS: usize = 16;
/// With fewer, a leak cannot be told from a start.
const LEAST_ROUNDS: usize = 8;

/// One at a time: what one does is growth to the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `work` so many times and tells what grew without bound. What [`assert_no_growth!`](crate::assert_no_growth!)
/// is made of, for tests that want to look at it.
///
/// # Errors
///
/// [`ErrorKind::Config`](crate::ErrorKind::Config) with fewer than 8 rounds; and whatever keeps heapward from sampling, as
/// in [`start`](crate::start).
pub fn check_growth(rounds: usize, mut work: impl FnMut()) -> Result<Option<Growth>> {
    if rounds < LEAST_ROUNDS {
        return Err(Error::config(format!("rounds is {rounds}: allowed is {LEAST_ROUNDS} and more")));
    }
    let _one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut recording = Recording::start()?;
    let epochs = EPOCHS.min(rounds);
    let mut done = 0;
    for epoch in 1..=epochs {
        let until = rounds * epoch / epochs;
        run_rounds(until - done, &mut work);
        done = until;
        recording.cut()?;
    }
    Ok(recording.read(is_of_the_test, |story| Growth::of(story, rounds)))
}

/// Its name marks the stacks of the closure.
#[inline(never)]
fn run_rounds(rounds: usize, work: &mut impl FnMut()) {
    for _ in 0..rounds {
        work();
    }
    // Not the last thing that it does: a tail call leaves no frame.
    black_box(rounds);
}

/// Whether the closure allocated it, or a thread that is not the test harness's own: another test's it is then.
fn is_of_the_test(frames: &mut dyn Iterator<Item = Place<'_>>) -> bool {
    let mut is_of_a_test = false;
    for place in frames {
        let name = place.name();
        if name.starts_with(concat!(module_path!(), "::run_rounds")) {
            return true;
        }
        is_of_a_test |= name.starts_with("test::run_test");
    }
    !is_of_a_test
}
