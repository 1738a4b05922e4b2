//! A cache of 24 MiB that is warm from the start and in use, and a set of visitors that only grows: 100 KiB/s.

use std::collections::HashMap;

use crate::common::Random;
use crate::run::Run;

const PAGES: usize = 3072;
const PAGE: usize = 8192;
const VISITORS_A_TICK: u64 = 8;

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let ticks = run.ticks();
    let mut pages: Vec<Vec<u8>> = (0..PAGES).map(load_page).collect();
    let mut visitors = HashMap::new();
    for tick in ticks {
        for visitor in 0..VISITORS_A_TICK {
            remember_visitor(&mut visitors, tick * VISITORS_A_TICK + visitor);
        }
        // A few pages are loaded anew.
        for _ in 0..4 {
            let number = random.within(0..PAGES);
            pages[number] = load_page(number);
        }
    }
}

#[inline(never)]
fn load_page(number: usize) -> Vec<u8> {
    vec![number as u8; PAGE]
}

/// The bug: visitors are never forgotten.
#[inline(never)]
fn remember_visitor(visitors: &mut HashMap<u64, String>, number: u64) {
    visitors.insert(number, format!("{number:0>208}"));
}
