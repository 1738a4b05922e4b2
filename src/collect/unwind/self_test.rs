//! The self-test: a known chain of calls, from which an unwinder must bring back exactly what libgcc brings.
//!
//! ```text
//! a thread's root … ► outermost ► catch_unwind ► middle ► sort_by ► a dyn closure ► innermost
//!      ► malloc_stats_print, jemalloc's C code ► on_text ► end_of_chain, an entry as that of the hooks
//! ```
//!
//! So the chain has what the stack of a sample has: jemalloc's own functions, std's, the program's, and the C library's at
//! its root. Nothing is allocated or sampled for it.

use std::ffi::{c_char, c_void};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::engine::Engine;
use super::entry::{end_of_chain, registers};
use super::libgcc;
use super::rules::Frames;
use crate::system::unsample_this_thread;

const ROOM: usize = 128;

/// Prints nothing but a title: all parts are left out.
const LITTLE: &std::ffi::CStr = c"gmdablxeh";

/// What came of it, for both unwinders: nothing, or what is wrong, in words.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) rules: Result<(), String>,
    pub(super) frame_pointers: Result<(), String>,
}

/// One chain of calls, and what was found from its end.
pub(super) struct Trial<'a> {
    engine: &'a Engine,
    done: bool,
    expected: Found,
    by_rules: Found,
    by_frame_pointers: Found,
}

struct Found {
    room: [u64; ROOM],
    len: usize,
}

impl Found {
    fn new() -> Self {
        Self { room: [0; ROOM], len: 0 }
    }

    fn fill(&mut self, walk: impl FnOnce(&mut Frames<'_>)) {
        let mut frames = Frames::new(&mut self.room);
        walk(&mut frames);
        self.len = frames.len();
    }

    fn frames(&self) -> &[u64] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

/// Tries both unwinders on this thread and on one of their own.
pub(super) fn judge(engine: &'static Engine) -> Verdict {
    let here = judge_here(engine);
    let run = move || {
        unsample_this_thread();
        judge_here(engine)
    };
    match std::thread::Builder::new().name("heapward-test".to_owned()).spawn(run) {
        Ok(thread) => match thread.join() {
            Ok(there) => Verdict {
                rules: here.rules.and(there.rules),
                frame_pointers: here.frame_pointers.and(there.frame_pointers),
            },
            Err(_) => Verdict::of_both("the self-test panicked"),
        },
        Err(error) => Verdict::of_both(&format!("no thread could be started for the self-test: {error}")),
    }
}

impl Verdict {
    fn of_both(reason: &str) -> Self {
        Self { rules: Err(reason.to_owned()), frame_pointers: Err(reason.to_owned()) }
    }
}

fn judge_here(engine: &Engine) -> Verdict {
    let mut trial =
        Trial { engine, done: false, expected: Found::new(), by_rules: Found::new(), by_frame_pointers: Found::new() };
    black_box(outermost(&mut trial));
    let expected = trial.expected.frames();
    if !has_chain(expected) {
        return Verdict::of_both(
            "libgcc's unwinder does not find the self-test's own functions, so nothing can be compared",
        );
    }
    Verdict {
        rules: compare(trial.by_rules.frames(), expected),
        frame_pointers: compare(trial.by_frame_pointers.frames(), expected),
    }
}

/// Whether the functions of the chain are there, in their order.
fn has_chain(frames: &[u64]) -> bool {
    let chain = [on_text as *const (), innermost as *const (), middle as *const (), outermost as *const ()];
    let mut functions = frames.iter().map(|&frame| libgcc::function_of(frame));
    chain.into_iter().all(|function| functions.any(|found| found == function as u64))
}

fn compare(found: &[u64], expected: &[u64]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let common = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    Err(format!(
        "of the {} frames of a known chain of calls, the first {common} were found{}",
        expected.len(),
        if found.len() > common { ", then others" } else { "" }
    ))
}

#[inline(never)]
fn outermost(trial: &mut Trial<'_>) -> u64 {
    let result = catch_unwind(AssertUnwindSafe(|| middle(trial)));
    // Something after each call, or it would be a jump and leave no frame.
    black_box(result.unwrap_or_default()) + 1
}

#[inline(never)]
fn middle(trial: &mut Trial<'_>) -> u64 {
    let mut call: Box<dyn FnMut() -> u64 + '_> = black_box(Box::new(|| innermost(trial)));
    let mut numbers = black_box([2, 1]);
    let mut calls = 0;
    numbers.sort_by(|one, other| {
        if calls == 0 {
            calls += black_box(call());
        }
        one.cmp(other)
    });
    black_box(calls) + numbers[0]
}

#[inline(never)]
fn innermost(trial: &mut Trial<'_>) -> u64 {
    let trial: *mut Trial<'_> = trial;
    // SAFETY: `on_text` gets `trial` back, and only during this call; the options are a C string.
    unsafe { tikv_jemalloc_sys::malloc_stats_print(Some(on_text), trial.cast(), LITTLE.as_ptr()) };
    black_box(1)
}

/// What jemalloc calls with what it prints.
unsafe extern "C" fn on_text(trial: *mut c_void, _text: *const c_char) {
    // SAFETY: the pointer is that of `innermost`, whose trial nobody else uses meanwhile.
    unsafe { end_of_chain(trial.cast(), 0, 0) };
    black_box(());
}

/// What [`end_of_chain`] jumps to: walks from there with all three.
pub(super) extern "C" fn try_out(
    trial: *mut Trial<'_>,
    _unused: usize,
    _unused_too: usize,
    sp: u64,
    fp: u64,
    return_address: u64,
) {
    // SAFETY: the pointer is that of `innermost`, whose trial nobody else uses meanwhile.
    let trial = unsafe { &mut *trial };
    if std::mem::replace(&mut trial.done, true) {
        return;
    }
    let from = registers(sp, fp, return_address);
    let engine = trial.engine;
    trial.expected.fill(|frames| libgcc::walk(from.pc, frames));
    trial.by_rules.fill(|frames| engine.walk_by_rules(from, frames));
    trial.by_frame_pointers.fill(|frames| engine.walk_by_frame_pointers(from, frames));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_stack_passes() {
        assert_eq!(compare(&[1, 2, 3], &[1, 2, 3]), Ok(()));
        let reason = |found: &[u64]| compare(found, &[1, 2, 3]).unwrap_err();
        assert_eq!(reason(&[1, 2]), "of the 3 frames of a known chain of calls, the first 2 were found");
        assert_eq!(reason(&[1, 3]), "of the 3 frames of a known chain of calls, the first 1 were found, then others");
        assert_eq!(
            reason(&[1, 2, 3, 4]),
            "of the 3 frames of a known chain of calls, the first 3 were found, then others"
        );
        assert_eq!(reason(&[]), "of the 3 frames of a known chain of calls, the first 0 were found");
    }

    #[test]
    fn the_chain_is_known_and_the_tables_bring_it_back() {
        let engine: &'static Engine = Box::leak(Box::new(Engine::new().unwrap()));
        let verdict = judge(engine);
        assert_eq!(verdict.rules, Ok(()));
        // One frame less, and it is no longer the known chain.
        let chain = [on_text as *const (), innermost as *const (), middle as *const (), outermost as *const ()];
        let frames: Vec<u64> = chain.iter().map(|function| *function as u64 + 2).collect();
        assert!(has_chain(&frames));
        for at in 0..frames.len() {
            let mut frames = frames.clone();
            frames.remove(at);
            assert!(!has_chain(&frames), "without {at}");
        }
    }
}
