//! Answers that are remembered for 1.2 s each: after that time, as many are forgotten as come.

use std::collections::{HashMap, VecDeque};

use crate::common::Random;
use crate::run::Run;

/// Ticks that an answer is good for.
const TTL: u64 = 60;
const REQUESTS_A_TICK: usize = 16;

#[derive(Debug, Default)]
struct Memo {
    answers: HashMap<u64, String>,
    /// When what was remembered, oldest first.
    born: VecDeque<(u64, u64)>,
}

impl Memo {
    fn answer(&mut self, question: u64, now: u64) -> &str {
        self.answers.entry(question).or_insert_with(|| {
            self.born.push_back((now, question));
            work_out(question)
        })
    }

    fn forget(&mut self, now: u64) {
        while let Some((born, question)) = self.born.front()
            && born + TTL <= now
        {
            self.answers.remove(question);
            self.born.pop_front();
        }
    }
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut memo = Memo::default();
    for tick in run.ticks() {
        memo.forget(tick);
        for _ in 0..REQUESTS_A_TICK {
            // Most questions are new.
            let question = random.next() % 20_000;
            assert!(memo.answer(question, tick).len() >= 1024);
        }
    }
}

#[inline(never)]
fn work_out(question: u64) -> String {
    format!("{question:0>1024}")
}
