//! Series whose truth is known, from fixed seeds.

use super::*;
use crate::profile::simulation::Random;

const MIB: f64 = (1 << 20) as f64;

fn normal(random: &mut Random) -> f64 {
    (-2.0 * random.uniform().ln()).sqrt() * (std::f64::consts::TAU * random.uniform()).cos()
}

/// `count` readings, a second apart, of something without a trend that shares `share` with the reading before, with a
/// standard deviation of 1; for 1, a random walk.
fn noise(count: usize, share: f64, random: &mut Random) -> Vec<f64> {
    let step = if share < 1.0 { (1.0 - share * share).sqrt() } else { 1.0 };
    let mut level = normal(random);
    let next = |_| {
        let this = level;
        level = share * level + step * normal(random);
        this
    };
    (0..count).map(next).collect()
}

fn every_second(levels: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    (0..).map(f64::from).zip(levels).collect()
}

fn word(levels: impl IntoIterator<Item = f64>, nothing: f64) -> Word {
    Trend::of(&every_second(levels), nothing).word
}

#[test]
fn what_has_no_trend_is_hardly_ever_given_one_whatever_neighbours_share() {
    let mut random = Random::new(20_260_101);
    for count in [LEAST, 100] {
        for share in [0.0, 0.5, 0.8, 0.95, 1.0] {
            const TRIALS: usize = 200;
            let is_trend =
                |random: &mut Random| matches!(word(noise(count, share, random), 0.0), Word::Rising | Word::Falling);
            let wrong = (0..TRIALS).filter(|_| is_trend(&mut random)).count();
            // 1% is meant.
            assert!(wrong * 25 <= TRIALS, "{wrong} of {TRIALS}: {count} readings that share {share}");
        }
    }
}

#[test]
fn a_trend_is_found_with_its_slope() {
    let mut random = Random::new(3);
    for share in [0.0, 0.3, 0.5] {
        for slope in [0.1, -0.1] {
            let mut held = 0;
            for _ in 0..30 {
                let levels = noise(100, share, &mut random);
                let levels = levels.iter().zip(0..).map(|(level, at)| level + slope * f64::from(at));
                let trend = Trend::of(&every_second(levels), 0.0);
                let expect = if slope > 0.0 { Word::Rising } else { Word::Falling };
                assert_eq!(trend.word, expect, "{share} {slope}: {trend:?}");
                assert!(trend.p_value.unwrap() < 0.01);
                let rate = trend.per_hour.unwrap();
                assert!((rate.estimate / 3600.0 - slope).abs() < 0.05, "{trend:?}");
                held += usize::from(rate.low <= 3600.0 * slope && 3600.0 * slope <= rate.high);
            }
            assert!(held >= 24, "bounds hold the truth in {held} of 30: {share} {slope}");
        }
    }
}

#[test]
fn what_neighbours_share_is_measured() {
    let mut random = Random::new(5);
    for share in [0.0, 0.3, 0.6, 0.9] {
        let measured =
            |random: &mut Random| Trend::of(&every_second(noise(150, share, random)), 0.0).autocorrelation.unwrap();
        let mean = (0..40).map(|_| measured(&mut random)).sum::<f64>() / 40.0;
        assert!((mean - share).abs() < 0.06, "{mean} of {share}");
    }
}

#[test]
fn one_step_is_no_trend_and_a_staircase_is() {
    let stairs = |steps: usize| {
        let mut random = Random::new(9);
        (0..100).map(move |at| 500.0 * MIB + 4.0 * MIB * (at * (steps + 1) / 100) as f64 + 4096.0 * normal(&mut random))
    };
    let trend = Trend::of(&every_second(stairs(1)), MIB);
    assert_eq!(trend.word, Word::Unclear, "{trend:?}");
    assert!(trend.why.contains("steps that may as well be chance"), "{trend:?}");
    let trend = Trend::of(&every_second(stairs(12)), MIB);
    assert_eq!(trend.word, Word::Rising, "{trend:?}");
    let expect = 48.0 * MIB * 36.0;
    assert!((trend.per_hour.unwrap().estimate / expect - 1.0).abs() < 0.1, "{trend:?}");
}

#[test]
fn what_comes_back_is_not_rising() {
    for waves in [3, 5, 9] {
        let saw = (0..100).map(|at| f64::from(at * waves % 100));
        assert_eq!(word(saw, 0.0), Word::Unclear, "{waves}");
    }
}

#[test]
fn steady_is_what_cannot_matter() {
    let mut random = Random::new(11);
    let mut levels = || noise(100, 0.3, &mut random).into_iter().map(|level| 100.0 + level);
    assert_eq!(word(levels(), 5.0), Word::Steady);
    assert_eq!(word(levels(), 0.01), Word::Unclear);
    // Nothing moves at all.
    let trend = Trend::of(&every_second([7.0; 100]), 0.0);
    assert_eq!((trend.word, trend.p_value, trend.per_hour), (Word::Steady, Some(1.0), Some(Interval::default())));
}

#[test]
fn a_straight_line_is_as_sure_as_can_be() {
    let trend = Trend::of(&every_second((0..100).map(|at| 1e9 + 1000.0 * f64::from(at))), MIB);
    assert_eq!((trend.word, trend.autocorrelation), (Word::Rising, Some(0.0)), "{trend:?}");
    let rate = trend.per_hour.unwrap();
    assert!([rate.low, rate.estimate, rate.high].iter().all(|rate| (rate - 3.6e6).abs() < 1.0), "{trend:?}");
    assert!(trend.p_value.unwrap() < 1e-12);
}

#[test]
fn too_few_readings_tell_nothing() {
    for count in [0, 1, LEAST - 1] {
        let trend = Trend::of(&every_second((0..count).map(|at| at as f64)), 0.0);
        assert_eq!((trend.word, trend.per_hour, trend.readings), (Word::Unclear, None, count));
        assert_eq!(trend.why, format!("{count} readings, and it takes 50"));
    }
    let trend = Trend::of(&[(5.0, 1.0); 50], 0.0);
    assert_eq!((trend.word, &*trend.why), (Word::Unclear, "no time passed between the readings"));
    assert_eq!(Trend::of(&every_second((0..LEAST).map(|at| at as f64)), 0.0).word, Word::Rising);
}

#[test]
fn many_readings_are_averaged_and_say_the_same() {
    assert_eq!(averaged(&every_second((0..MOST).map(|at| at as f64))).len(), MOST);
    let readings = every_second((0..10_000).map(|at| at as f64));
    let averages = averaged(&readings);
    assert_eq!((averages.len(), averages[0], averages[1].0), (MOST, (24.5, 24.5), 74.5));
    let mut random = Random::new(13);
    let levels = noise(10_000, 0.9, &mut random).into_iter().zip(0..).map(|(level, at)| level + f64::from(at) * 1e-3);
    let trend = Trend::of(&every_second(levels), 0.0);
    assert_eq!((trend.word, trend.readings, trend.seconds), (Word::Rising, 10_000, 9_999.0), "{trend:?}");
    assert!((trend.per_hour.unwrap().estimate - 3.6).abs() < 0.4, "{trend:?}");
}

#[test]
fn readings_that_are_missing_change_no_slope() {
    let mut random = Random::new(17);
    let levels = noise(300, 0.2, &mut random).into_iter().zip(0..).map(|(level, at)| level + f64::from(at) * 0.05);
    let mut readings = every_second(levels);
    readings.retain(|(at, _)| *at < 60.0 || *at > 200.0);
    let trend = Trend::of(&readings, 0.0);
    assert_eq!(trend.word, Word::Rising);
    assert!((trend.per_hour.unwrap().estimate / 180.0 - 1.0).abs() < 0.1, "{trend:?}");
}
