//! Buffers that are lent from a pool and given back, and an arena that is cleared after each request. The pool has all
//! the buffers it needs after the first moments.

use crate::common::Random;
use crate::run::Run;

const REQUESTS_A_TICK: usize = 10;
const AT_ONCE: usize = 48;

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    fn lend(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(new_buffer)
    }

    fn take_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.free.push(buffer);
    }
}

#[inline(never)]
fn new_buffer() -> Vec<u8> {
    Vec::with_capacity(16 << 10)
}

/// Strings one after the other in one piece of memory.
#[derive(Debug, Default)]
struct Arena {
    text: String,
    ends: Vec<usize>,
}

impl Arena {
    #[inline(never)]
    fn add(&mut self, word: &str) {
        self.text.push_str(word);
        self.ends.push(self.text.len());
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut pool = Pool::default();
    let mut arena = Arena::default();
    let mut lent: Vec<Vec<u8>> = Vec::new();
    for _ in run.ticks() {
        for _ in 0..REQUESTS_A_TICK {
            for word in 0..random.within(100..200) {
                arena.add(&format!("word {word} "));
            }
            let mut buffer = pool.lend();
            buffer.extend_from_slice(arena.text.as_bytes());
            arena.clear();
            lent.push(buffer);
            if lent.len() > AT_ONCE {
                let done = random.within(0..lent.len());
                pool.take_back(lent.swap_remove(done));
            }
        }
    }
}
