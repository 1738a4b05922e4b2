//! Loads tables of 16 MiB over the first second and a half, then serves from them.

use std::collections::HashMap;

use crate::common::Random;
use crate::run::Run;

/// The start takes so many ticks.
const START: u64 = 75;
const ROWS_A_TICK: u64 = 220;
const REQUESTS_A_TICK: u64 = 50;

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut table = HashMap::new();
    let mut served = 0;
    for tick in run.ticks() {
        if tick < START {
            load_rows(&mut table, tick * ROWS_A_TICK);
            continue;
        }
        for _ in 0..REQUESTS_A_TICK {
            let row = random.next() % (START * ROWS_A_TICK);
            served += usize::from(answer(&table, row).ends_with('}'));
        }
    }
    assert!(served > 0, "nothing was served");
}

#[inline(never)]
fn load_rows(table: &mut HashMap<u64, Vec<u8>>, first: u64) {
    table.extend((first..first + ROWS_A_TICK).map(|number| (number, vec![number as u8; 1024])));
}

#[inline(never)]
fn answer(table: &HashMap<u64, Vec<u8>>, row: u64) -> String {
    format!("{{\"row\": {row}, \"bytes\": {}}}", table.get(&row).map_or(0, Vec::len))
}
