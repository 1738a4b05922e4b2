//! What a site did that is not accused, and the fact that says so.

use super::window::{Refusal, SIGNIFICANT};
use super::{Aged, Fact, Shape, Window};

/// With fewer samples than this, born, freed or alive, a site is too small to say anything of.
const LEAST_SAMPLES: u64 = 9;

/// Who goes up and down gives back at least this share of its largest rise, and rises by as much of its largest fall.
const LEAST_RETURN: f64 = 0.5;

/// Growth that came with the first part of the window is a warm-up.
const WARM_UP: f64 = 1.0 / 3.0;

/// So much of the growth makes a warm-up, or a step.
const MOST_OF_IT: f64 = 0.8;

/// The course that `window` took, if that refuses to accuse because of `refusal`.
pub(super) fn course(window: &Window<'_>, refusal: Refusal) -> (Shape, Fact) {
    let Window { all, flow, last, .. } = window;
    let samples = flow.born.objects + flow.freed.objects + all.objects(*last);
    if samples < LEAST_SAMPLES {
        return (Shape::Inconclusive, Fact::BelowLimit);
    }
    let (fell, rose) = (largest(window, -1.0), largest(window, 1.0));
    if fell > LEAST_RETURN * rose && rose > LEAST_RETURN * fell || matches!(refusal, Refusal::Fell) {
        return (Shape::Sawtooth, fell_back(window));
    }
    if flow.p_value_of_shrinking() < SIGNIFICANT {
        return (Shape::Shrinking, Fact::Shrank);
    }
    if flow.p_value() >= SIGNIFICANT {
        return (Shape::Steady, Fact::NoGrowth);
    }
    match refusal {
        Refusal::OneEpoch(at) => one_epoch(window, at),
        Refusal::Stopped => stopped(window),
        Refusal::TooShort(usual) => (Shape::Inconclusive, Fact::TooShort { usual }),
        Refusal::Insignificant | Refusal::Fell => {
            let (aged, first) = window.judged();
            if aged.age() == 0.0 {
                // Enough for one window, and too little for all that were tried.
                return (Shape::Inconclusive, Fact::BelowLimit);
            }
            let old = aged.flow(first, *last).interval(window.interval);
            (Shape::Steady, Fact::Young { old, age: aged.age() })
        }
    }
}

/// The largest rise (`sign` 1) or fall (−1) of all that is alive from a snapshot of the window to a later one, beyond
/// chance.
fn largest(window: &Window<'_>, sign: f64) -> f64 {
    let all = &window.all;
    let mut most = 0.0_f64;
    let mut from = window.start;
    for at in window.start + 1..=window.last {
        let flow = all.flow(from, at);
        most = most.max(sign * flow.growth() - 2.0 * flow.variance().sqrt());
        if sign * (all.level(at) - all.level(from)) <= 0.0 {
            from = at;
        }
    }
    most
}

/// The largest fall, as it was counted.
fn fell_back(window: &Window<'_>) -> Fact {
    let all = &window.all;
    let (mut highest, mut fell, mut bottom) = (f64::NEG_INFINITY, 0.0, 0.0);
    let mut floor = f64::INFINITY;
    for level in (window.start..=window.last).map(|at| all.level(at)) {
        highest = highest.max(level);
        floor = floor.min(level);
        if highest - level > fell {
            (fell, bottom) = (highest - level, level);
        }
    }
    Fact::FellBack { fell, above: (bottom - floor).max(0.0) }
}

fn one_epoch(window: &Window<'_>, at: usize) -> (Shape, Fact) {
    let all = &window.all;
    let grew = all.flow(at.saturating_sub(1), at).growth();
    if grew < MOST_OF_IT * window.flow.growth() {
        return stopped(window);
    }
    let ago = all.time(window.last) - all.time(at);
    let is_early = all.time(at) - all.time(window.start) <= WARM_UP * window.seconds();
    (if is_early { Shape::WarmUp } else { Shape::Step }, Fact::OneEpoch { grew, ago })
}

fn stopped(window: &Window<'_>) -> (Shape, Fact) {
    let Window { all, start, last, .. } = window;
    let growth = window.flow.growth();
    // The first snapshot since which nothing came that is more than chance and more than the rest of a warm-up.
    let stop = (start + 1..*last).find(|&at| {
        let since = all.flow(at, *last);
        since.growth() <= (1.0 - MOST_OF_IT) * growth && since.p_value() > SIGNIFICANT
    });
    let Some(at) = stop else { return undecided(window) };
    let ago = all.time(*last) - all.time(at);
    let fact = Fact::Stopped {
        grew: all.flow(*start, at).growth(),
        ago,
        since: all.flow(at, *last).interval(window.interval),
    };
    let early = |at: usize| all.time(at) - all.time(*start) <= WARM_UP * window.seconds();
    (if early(at) { Shape::WarmUp } else { Shape::Saturating }, fact)
}

fn undecided(window: &Window<'_>) -> (Shape, Fact) {
    let all: &Aged<'_> = &window.all;
    let at = window.recent_start(window.start);
    let seconds = all.time(window.last) - all.time(at);
    (Shape::Inconclusive, Fact::Undecided { recent: all.flow(at, window.last).interval(window.interval), seconds })
}
