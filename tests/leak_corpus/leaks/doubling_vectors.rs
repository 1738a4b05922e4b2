//! The history of every series of a monitor, each a vector that only grows and doubles as it does: about 360 KiB/s.

use crate::common::Random;
use crate::run::Run;

const SERIES: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Point {
    _millis: u64,
    _value: f64,
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    // Points in a hundred ticks: each series has its own pace, so that they double at different times.
    let paces: Vec<u64> = (0..SERIES).map(|_| random.within(100..900) as u64).collect();
    let mut history: Vec<Vec<Point>> = vec![Vec::new(); SERIES];
    for tick in run.ticks() {
        for (series, pace) in history.iter_mut().zip(&paces) {
            for _ in tick * pace / 100..(tick + 1) * pace / 100 {
                record_point(series, Point { _millis: tick * 20, _value: random.next() as f64 });
            }
        }
    }
}

/// The bug: nothing cuts the history off.
#[inline(never)]
fn record_point(series: &mut Vec<Point>, point: Point) {
    series.push(point);
}
