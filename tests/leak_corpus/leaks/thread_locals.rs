//! A pool whose workers come and go, each with a buffer that is leaked to have it for `'static`: 180 KiB/s.

use std::cell::Cell;

use crate::common::Random;
use crate::run::Run;

/// A new worker takes over every so many ticks.
const WORKER: u64 = 2;
const BUFFER: usize = 8192 - 1024;

thread_local! {
    static BUFFER_OF_THREAD: Cell<Option<&'static mut [u8]>> = const { Cell::new(None) };
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    for tick in run.ticks() {
        if tick % WORKER == 0 {
            let words = random.within(200..1500);
            std::thread::scope(|scope| scope.spawn(|| run.count(|| work(words))).join()).expect("the worker ends well");
        }
    }
}

/// Requests differ in their number of words. (Were all threads to allocate exactly the same, jemalloc would draw the same
/// random numbers for all those at one address, and sample all of their buffers or none.)
fn work(words: usize) {
    let letters: usize = (0..words).map(|word| format!("word {word:0>64}").len()).sum();
    format_line(letters);
}

fn format_line(number: usize) {
    // The bug: the thread ends, its buffer does not.
    let buffer = BUFFER_OF_THREAD.take().unwrap_or_else(format_buffer);
    buffer[..8].copy_from_slice(&number.to_le_bytes());
    BUFFER_OF_THREAD.set(Some(buffer));
}

#[inline(never)]
fn format_buffer() -> &'static mut [u8] {
    Box::leak(vec![0; BUFFER].into_boxed_slice())
}
