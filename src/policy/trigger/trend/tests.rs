//! Histories whose end is known, from seeds.

use super::*;
use crate::profile::simulation::Random;

/// More take minutes where nothing is optimized.
const SEEDS: u64 = 10;
const LIMIT: f64 = 1000.0;
const HORIZON: f64 = 600.0;

/// What a history comes to, second by second, with `noise` to both sides.
fn follow(seed: u64, seconds: u64, noise: f64, value: impl Fn(f64) -> f64) -> Vec<(f64, Outlook)> {
    let mut random = Random::new(seed);
    let mut trend = Trend::new(Duration::from_secs_f64(HORIZON), Duration::from_secs(1));
    let mut outlooks = Vec::new();
    // Polls come a little late, each.
    let mut now = 0.0;
    for _ in 0..seconds {
        now += 1.0 + 0.002 * random.uniform();
        let value = (value(now) + noise * (2.0 * random.uniform() - 1.0)).max(0.0);
        trend.note(Duration::from_secs_f64(now), value);
        outlooks.push((now, trend.outlook(LIMIT)));
    }
    outlooks
}

/// The times at which it reaches the limit within the horizon by two readings in a row, as the rule asks.
fn fires(outlooks: &[(f64, Outlook)]) -> Vec<(f64, f64)> {
    let soon = |outlook: &Outlook| match outlook {
        Outlook::Reaches { within } if within.as_secs_f64() <= HORIZON => Some(within.as_secs_f64()),
        _ => None,
    };
    let pairs = outlooks.windows(2);
    pairs.filter_map(|pair| soon(&pair[0].1).and(soon(&pair[1].1)).map(|within| (pair[1].0, within))).collect()
}

#[track_caller]
fn check_never(name: &str, seconds: u64, noise: f64, after: f64, value: impl Fn(u64, f64) -> f64) {
    for seed in 0..SEEDS {
        let outlooks = follow(seed, seconds, noise, |now| value(seed, now));
        let fired: Vec<_> = fires(&outlooks).into_iter().filter(|(now, _)| *now > after).collect();
        assert!(fired.is_empty(), "{name}, seed {seed}: fires at {:?}, {} times", fired[0], fired.len());
    }
}

/// From 200 up, at the limit after `takes` seconds from `begins`.
#[track_caller]
fn check_leak(begins: f64, takes: f64, noise: f64, least_warning: f64) {
    for seed in 0..SEEDS {
        let rate = (LIMIT - 200.0) / takes;
        let value = |now: f64| 200.0 + rate * (now - begins).max(0.0);
        let outlooks = follow(seed, (begins + takes) as u64, noise, value);
        let fired = fires(&outlooks);
        let Some((first, _)) = fired.first() else { panic!("{takes} s, seed {seed}: never fires") };
        let warning = begins + takes - first;
        assert!(*first > begins, "{takes} s, seed {seed}: fires at {first}");
        assert!(warning >= least_warning, "{takes} s, seed {seed}: fires {warning:.0} s before");
        // Right by a half while the end is some way off, most of the time: the slowest rises by no more than three times
        // its noise in a window.
        let far: Vec<bool> = fired
            .iter()
            .filter(|(now, _)| begins + takes - now > 30.0)
            .map(|(now, within)| (within / (begins + takes - now) - 1.0).abs() < 0.5)
            .collect();
        let right = far.iter().filter(|right| **right).count();
        assert!(right * 10 >= far.len() * 8, "{takes} s, seed {seed}: {right} of {} are right", far.len());
    }
}

#[test]
fn a_leak_is_seen_in_time() {
    // From the start of the service on, and after an hour of quiet. The last is the limit in ten minutes or more.
    for begins in [0.0, 3600.0] {
        check_leak(begins, 60.0, 2.0, 10.0);
        check_leak(begins, 300.0, 5.0, 60.0);
        check_leak(begins, 1200.0, 5.0, 300.0);
        check_leak(begins, 7200.0, 5.0, 400.0);
    }
}

#[test]
fn a_leak_that_has_begun_is_predicted_far_ahead_but_not_believed() {
    let outlooks = follow(1, 2000, 0.0, |now| 200.0 + now / 100.0);
    let (_, last) = outlooks[outlooks.len() - 1];
    let Outlook::TooFar { within } = last else { panic!("{last:?}") };
    assert!((within.as_secs_f64() / 78_000.0 - 1.0).abs() < 0.05, "{within:?}");
    assert!(fires(&outlooks).is_empty());
}

#[test]
fn a_cache_that_filled_and_stopped_is_silent() {
    // Filled in a straight line; the last window with a part of that is over soon after.
    check_never("line", 2400, 3.0, 600.0 + 30.0, |seed, now| {
        100.0 + 800.0 * (now / 600.0).min(1.0) + seed as f64 % 7.0
    });
    // Filled at random, which slows down as it fills: silent from the start, as its end is seen.
    check_never("filling", 4000, 0.5, 0.0, |seed, now| {
        100.0 + 700.0 * (1.0 - (-now / (60.0 + 20.0 * seed as f64)).exp())
    });
}

#[test]
fn a_cache_that_would_fill_more_than_there_is_is_told() {
    for seed in 0..SEEDS {
        // Towards 1300, of which 1000 are reached after 1.6 of its times.
        let slow = 200.0 + 10.0 * seed as f64;
        let outlooks = follow(seed, (1.6 * slow) as u64, 0.5, |now| 100.0 + 1200.0 * (1.0 - (-now / slow).exp()));
        assert!(!fires(&outlooks).is_empty(), "seed {seed}");
    }
}

#[test]
fn noise_is_silent() {
    for noise in [1.0, 50.0, 190.0] {
        check_never("flat", 3600, noise, 0.0, |_, _| 800.0);
    }
    check_never("jumps", 3600, 2.0, 0.0, |seed, now| if now > 500.0 + seed as f64 { 900.0 } else { 300.0 });
    // Requests come and go: a slow wave below the limit, which is where it has been before after its first turn.
    check_never("wave", 7200, 5.0, 1200.0, |seed, now| {
        700.0 + 250.0 * (now / 1200.0 * std::f64::consts::TAU + seed as f64).sin()
    });
}

#[test]
fn a_sawtooth_is_silent_after_its_first_teeth() {
    for period in [5.0, 20.0, 45.0, 70.0, 150.0, 400.0, 1200.0] {
        let name = format!("sawtooth of {period} s");
        check_never(&name, 3600, 4.0, 2.0 * period + 64.0, |seed, now| {
            let tooth = (now / period + seed as f64 / SEEDS as f64).fract();
            300.0 + 550.0 * tooth
        });
    }
}

/// Whether steps between eighths of a window, in equal times, are a rise.
#[track_caller]
fn check_steps(steps: [f64; BLOCKS - 1], is_rise: bool) {
    let mut points = [(0.0, 0.0); POINTS];
    for (index, point) in points.iter_mut().enumerate() {
        *point = (index as f64, 100.0 + steps[..index / BLOCK].iter().sum::<f64>());
    }
    assert_eq!(Rise::of(&points).is_some(), is_rise, "{steps:?}");
}

#[test]
fn a_rise_goes_on_throughout_its_window() {
    check_steps([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], true);
    check_steps([1.0, 1.0, -0.5, 1.0, 1.0, 1.0, 1.0], true);
    check_steps([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], true);
    check_steps([1.0, -0.5, 1.0, -0.5, 1.0, 1.0, 1.0], false);
    check_steps([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0], false);
    check_steps([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], false);
    // A third of the whole, and a little more.
    check_steps([1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0], true);
    check_steps([1.0, 1.0, 1.0, 3.1, 1.0, 1.0, 1.0], false);
    check_steps([-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0], false);
}

#[test]
fn nothing_is_said_of_too_little_or_after_a_gap() {
    let mut trend = Trend::new(Duration::from_secs(600), Duration::from_secs(1));
    for second in 0..32u32 {
        trend.note(Duration::from_secs(second.into()), 10.0 * f64::from(second));
        let outlook = trend.outlook(LIMIT);
        assert!(matches!(outlook, Outlook::TooShort { .. }), "{second}: {outlook:?}");
    }
    trend.note(Duration::from_secs(32), 320.0);
    assert!(matches!(trend.outlook(LIMIT), Outlook::TooFar { .. }), "{:?}", trend.outlook(LIMIT));
    trend.note(Duration::from_secs(42), 420.0);
    let outlook = trend.outlook(LIMIT);
    assert!(matches!(outlook, Outlook::TooShort { .. }), "{outlook:?}");
}

#[test]
fn slow_and_quick_polls_have_one_window_and_the_same_answer() {
    for (poll, seconds) in [(60.0, 4000.0), (0.01, 600.0)] {
        let mut trend = Trend::new(Duration::from_secs(600), Duration::from_secs_f64(poll));
        let mut first = None;
        let mut now = 0.0;
        while now < seconds {
            now += poll;
            trend.note(Duration::from_secs_f64(now), 200.0 + 800.0 * now / seconds);
            if let Outlook::Reaches { within } = trend.outlook(LIMIT) {
                assert!((within.as_secs_f64() - (seconds - now)).abs() < 2.0 * poll + 1.0, "{within:?} at {now}");
                first = first.or(Some(now));
            }
        }
        assert!(first.is_some_and(|now| now < 0.8 * seconds), "{poll}: {first:?}");
    }
}

#[test]
fn each_outlook_has_its_words() {
    let check = |outlook: Outlook, expect: &str| {
        assert_eq!(outlook.words(Duration::from_secs(600)).to_string(), expect);
    };
    let seconds = Duration::from_secs;
    check(Outlook::TooShort { left: seconds(7) }, "too short a time was seen; it takes 7 s more");
    check(Outlook::NotRising, "it does not rise steadily");
    check(Outlook::KnownHeight { height: 1 << 20 }, "it rises, but is not above the 1.0 MiB where it has been before");
    check(Outlook::LevelsOff { at: 1 << 20 }, "it rises ever more slowly, towards 1.0 MiB");
    check(
        Outlook::TooFar { within: seconds(90) },
        "it would reach the limit in 90 s, which is more than 2 times further than it was seen to rise",
    );
    check(Outlook::Reaches { within: seconds(700) }, "it reaches the limit in 700 s, and 600 s are looked ahead");
    check(
        Outlook::Reaches { within: seconds(70) },
        "it reaches the limit in 70 s by one reading, and it takes 2 in a row",
    );
}
