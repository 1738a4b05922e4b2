//! Failing at once and aloud. What these tests look for ends in a hang as often as in a wrong number, and a thread
//! that panics leaves others waiting for it; so both end the process.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::random;
use super::sampling::set_sampled;

/// What the test is doing.
static STEP: Mutex<&str> = Mutex::new("starting");

/// How long a test may take: many times what it does take, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// From here on a panic of any thread, and a test that takes longer than [`DEADLINE`], print what happened and abort
/// the process.
pub fn fail_fast() {
    std::panic::set_hook(Box::new(|panic| {
        // Not the thread's name: a thread that panics in its last destructors cannot be asked for it.
        set_sampled(false);
        fail(format_args!("{panic}"));
    }));
    let deadline = Instant::now() + DEADLINE;
    let watch = move || {
        // It must not wait for what it watches.
        set_sampled(false);
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        fail(format_args!("hung: not done after {} s", DEADLINE.as_secs()));
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch).expect("a thread for the watchdog");
}

/// Says what the test does next, for the message when it hangs.
pub fn step(what: &'static str) {
    *STEP.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

/// Waits until `condition` holds. Its patience is the deadline of [`fail_fast`].
pub fn wait_until(what: &'static str, mut condition: impl FnMut() -> bool) {
    step(what);
    while !condition() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn fail(why: std::fmt::Arguments<'_>) -> ! {
    let step = STEP.try_lock().map_or("?", |step| *step);
    // Not eprintln: the test harness keeps that to itself and loses it when the process aborts.
    let _ = writeln!(std::io::stderr(), "\n{why}\nwhile: {step}\nseed: {:#x}", random::seed());
    std::process::abort()
}
