//! Batches that grow to 4 MiB, are summed up and dropped, with a pause in between: a sawtooth whose period is no
//! multiple of the time between two snapshots.

use crate::common::Random;
use crate::run::Run;

/// Ticks that a batch gathers.
const GATHERS: u64 = 43;
/// Ticks from one batch to the next.
const PERIOD: u64 = 57;
const ROWS_A_TICK: usize = 48;

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let mut sum = 0u64;
    for tick in run.ticks() {
        match tick % PERIOD {
            GATHERS => {
                sum += std::mem::take(&mut batch).iter().map(|row| u64::from(row[0])).sum::<u64>();
            }
            0..GATHERS => batch.extend((0..ROWS_A_TICK).map(|_| parse_row(random.next() as u8))),
            _ => {}
        }
    }
    assert!(sum > 0, "no batch was summed up");
}

#[inline(never)]
fn parse_row(byte: u8) -> Vec<u8> {
    vec![byte; 2048]
}
