//! Rounds of a closure, with the heap looked at in between.

use std::hint::black_box;
use std::time::Duration;

use super::turn::{Turn, Turns};
use super::{GrowthCheck, limit};
use crate::error::{Error, Result};
use crate::profile::Place;
use crate::profiler::Recording;

/// Rounds are put together in so many epochs.
const EPOCHS: usize = 16;
/// Of 8 and 9 rounds, even a leak of 1 MiB in each was never told from a start; of 10 and more it always was.
const LEAST_ROUNDS: usize = EPOCHS;
/// A round that takes longer may be one that waits for the check that waits for its end.
const PATIENCE: Duration = Duration::from_secs(60);

static TURNS: Turns = Turns::new();

/// Runs `work` so many times and tells what grew without bound. What [`assert_no_growth!`](crate::assert_no_growth!)
/// is made of, for tests that want to look at it.
///
/// A leak of `bytes_a_round` is to be found; [`DEFAULT_BYTES_A_ROUND`](super::DEFAULT_BYTES_A_ROUND) is what the macro
/// takes. What sampling could not have shown is never an answer, but an error. Checks in several threads wait for each
/// other; sampling is off again afterwards, if it was before.
///
/// # Errors
///
/// - [`ErrorKind::Config`](crate::ErrorKind::Config) with fewer than 16 rounds; when the sample interval is too coarse for
///   `bytes_a_round`; and when samples were dropped meanwhile. The message says what to set.
/// - [`ErrorKind::Allocator`](crate::ErrorKind::Allocator) without [`install!`](crate::install!), and when not all that the
///   closure does is sampled: where there are only jemalloc's dumps to read, where threads have to ask for being sampled,
///   and when somebody switched sampling off meanwhile.
/// - [`ErrorKind::AlreadyRunning`](crate::ErrorKind::AlreadyRunning) when called from the closure of another check.
pub fn check_growth(rounds: usize, mut work: impl FnMut(), bytes_a_round: u64) -> Result<GrowthCheck> {
    if rounds < LEAST_ROUNDS {
        return Err(Error::config(format!("rounds is {rounds}: allowed is {LEAST_ROUNDS} and more")));
    }
    let turn = TURNS.take(PATIENCE)?;
    let mut recording = Recording::start()?;
    limit::require(recording.interval().bytes(), rounds, bytes_a_round)?;
    let mut done = 0;
    for epoch in 1..=EPOCHS {
        let until = rounds * epoch / EPOCHS;
        run_rounds(until - done, &mut work, &turn, &recording)?;
        done = until;
        recording.cut(done as u64)?;
    }
    recording.read(is_of_the_test, |story| GrowthCheck::of(story, rounds))
}

/// Its name marks the stacks of the closure.
#[inline(never)]
fn run_rounds(rounds: usize, work: &mut impl FnMut(), turn: &Turn<'_>, recording: &Recording) -> Result<()> {
    for _ in 0..rounds {
        turn.count_round();
        work();
        recording.look()?;
    }
    // Not the last thing that it does: a tail call leaves no frame.
    black_box(rounds);
    Ok(())
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
