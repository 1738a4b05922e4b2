//! Traffic that rises and falls, with a little memory for each request in flight: 1 MiB to 5 MiB and back every 2.4 s.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use crate::run::Run;

/// Ticks from one high tide to the next.
const PERIOD: f64 = 121.0;
const MEAN: f64 = 750.0;
const SWING: f64 = 500.0;
/// Requests that end for each tick, beside those that the tide takes away.
const TURNOVER: usize = 40;

pub fn serve(run: &Run) {
    let mut in_flight = VecDeque::new();
    for tick in run.ticks() {
        in_flight.drain(..TURNOVER.min(in_flight.len()));
        let wanted = (MEAN + SWING * (tick as f64 / PERIOD * TAU).sin()) as usize;
        while in_flight.len() < wanted {
            in_flight.push_back(begin_request(tick as u8));
        }
        in_flight.drain(..in_flight.len() - wanted);
    }
}

#[inline(never)]
fn begin_request(byte: u8) -> Vec<u8> {
    vec![byte; 4096]
}
