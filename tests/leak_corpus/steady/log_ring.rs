//! The last 4000 lines of a log, in a ring that is full after a third of the run.

use std::collections::VecDeque;

use crate::common::Random;
use crate::run::Run;

const KEPT: usize = 4000;
const LINES_A_TICK: u64 = 32;

#[derive(Debug, Default)]
struct LogRing {
    lines: VecDeque<String>,
}

impl LogRing {
    #[inline(never)]
    fn log(&mut self, line: &str) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut ring = LogRing::default();
    let detail = "request served in ".repeat(16);
    for tick in run.ticks() {
        for line in 0..LINES_A_TICK {
            let line = format!("{tick}.{line} {}{} us", &detail[..random.within(100..280)], random.within(10..9999));
            ring.log(&line);
        }
    }
    assert_eq!(ring.lines.len(), KEPT);
}
