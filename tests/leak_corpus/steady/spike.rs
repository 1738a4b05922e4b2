//! A report that takes 8 MiB for a while in the middle of the run, built and taken down piece by piece.

use crate::common::Random;
use crate::run::{Run, TICKS};

const BEGIN: u64 = TICKS * 30 / 100;
const FULL: u64 = TICKS * 45 / 100;
const DONE: u64 = TICKS * 55 / 100;
const ROWS_A_TICK: usize = 70;
/// Pages that are in flight the whole time.
const IN_FLIGHT: usize = 100;

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut report = Vec::new();
    let mut pages = std::collections::VecDeque::new();
    for tick in run.ticks() {
        for _ in 0..6 {
            pages.push_back(render_page(random.next() as u8));
        }
        pages.drain(..pages.len().saturating_sub(IN_FLIGHT));
        match tick {
            BEGIN..FULL => report.extend((0..ROWS_A_TICK).map(|row| report_row(row as u8))),
            FULL..DONE => {}
            // Printed and dropped from the end.
            _ => report.truncate(report.len().saturating_sub(ROWS_A_TICK * 2)),
        }
    }
    assert!(report.is_empty(), "the report is not printed");
}

#[inline(never)]
fn render_page(byte: u8) -> Vec<u8> {
    vec![byte; 4096]
}

#[inline(never)]
fn report_row(byte: u8) -> Vec<u8> {
    vec![byte; 2048]
}
