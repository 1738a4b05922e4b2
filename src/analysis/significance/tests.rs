use statrs::function::beta::beta_reg;

use super::super::benjamini_hochberg;
use super::*;
use crate::profile::SampleInterval;
use crate::profile::simulation::{Heap, KINDS, Random, interval};

const SEED: u64 = 0x5eed_0004;

fn samples(n: u64, size: u64) -> Sums {
    let mut sums = Sums::default();
    (0..n).for_each(|_| sums += interval().weigh(size));
    sums
}

#[track_caller]
fn check(born: Sums, freed: Sums, expect: f64) {
    let p = Significance::default().growth(&born, &freed);
    assert!((p / expect - 1.0).abs() < 0.02, "{p}, not {expect}");
}

/// P[X ≥ n] for X ~ Binomial(n + m, ½).
#[test]
fn of_small_objects_it_is_the_binomial_test() {
    for (n, m) in [(1, 0), (5, 0), (3, 2), (2, 3), (12, 12), (40, 15), (90, 60)] {
        check(samples(n, 256), samples(m, 256), beta_reg(n as f64, m as f64 + 1.0, 0.5));
    }
    let p = Significance::default().growth(&samples(0, 256), &samples(7, 256));
    assert_eq!(p, 1.0);
}

/// Also where the normal law is used, and also far out, where discoveries among many rows are.
#[test]
fn many_samples_have_nearly_the_same_p_value() {
    for (n, m) in [(100, 95), (100, 105), (140, 100), (150, 90), (160, 80)] {
        let p = Significance::default().growth(&samples(n, 256), &samples(m, 256));
        let exact = beta_reg(n as f64, m as f64 + 1.0, 0.5);
        assert!((p.ln() / exact.ln() - 1.0).abs() < 0.02, "{n} {m}: {p}, not {exact}");
    }
}

/// 1 MiB objects are missed with e^(−2): each that was born and not freed is worth more than one that is seldom seen.
#[test]
fn of_large_objects_it_is_a_race() {
    let q = (-2f64).exp();
    for n in [1, 2, 3] {
        check(samples(n, 1 << 20), Sums::default(), (q / (1.0 + q)).powi(n as i32));
    }
    // Two against one, by hand: of the steps in which something is sampled, `a` have the first alone, `b` both. The first
    // wins with its second sample before the other's second: ways aa, fa a, a fa, ab·, …
    let (one, both) = (q / (1.0 + q), (1.0 - q) / (1.0 + q));
    let wins = one * one + one * one * one * 2.0 + 2.0 * both * one;
    check(samples(2, 1 << 20), samples(1, 1 << 20), wins);
}

#[test]
fn what_is_seen_whole_is_certain() {
    let every_byte = SampleInterval::from_lg(0).unwrap();
    let mut significance = Significance::default();
    let (one, nothing) = (every_byte.weigh(100), Sums::default());
    assert_eq!(significance.growth(&one, &nothing), 0.0);
    assert_eq!(significance.growth(&nothing, &one), 1.0);
    assert_eq!(significance.growth(&one, &one), 1.0);
    assert_eq!(significance.growth(&nothing, &nothing), 1.0);
    assert_eq!((significance.change(&nothing, &one), significance.change(&one, &one)), (0.0, 1.0));
    assert_eq!(significance.growth(&samples(1, 64 << 20), &nothing), 0.0);
}

#[test]
fn a_change_asks_both_sides() {
    let mut significance = Significance::default();
    let (a, f) = (samples(9, 256), samples(1, 256));
    let growth = significance.growth(&a, &f);
    assert_eq!(significance.change(&a, &f), 2.0 * growth);
    assert_eq!(significance.change(&f, &a), 2.0 * growth);
    assert_eq!(significance.change(&a, &a), 1.0);
}

/// As much is born as is freed: an alarm at 5% may come in 5% of heaps, at 1% in 1%, whatever the sizes.
#[test]
fn alarms_without_growth_are_as_rare_as_asked() {
    const RUNS: usize = 4_000;
    // Also of different sizes on the two sides.
    let pairs = KINDS
        .map(|(name, sizes)| (name, sizes, sizes))
        .into_iter()
        .chain([("256 B for 1 MiB", KINDS[0].1, KINDS[2].1), ("1 MiB for 256 B", KINDS[2].1, KINDS[0].1)]);
    for (kind, (name, born_sizes, freed_sizes)) in pairs.enumerate() {
        for expected in [1.0, 3.0, 5.0, 10.0, 30.0, 100.0] {
            let seed = SEED + kind as u64 * 1_000 + expected as u64;
            let mut random = Random::new(seed);
            let mut significance = Significance::default();
            let mut alarms = [0; 2];
            // The same truth on both sides: whole numbers of the largest object, and so of all.
            let largest = born_sizes.iter().chain(freed_sizes).max().unwrap();
            let bytes = (expected / interval().probability(*largest)).round().max(1.0) * *largest as f64;
            for _ in 0..RUNS {
                let born = Heap::of_bytes(born_sizes, bytes, interval(), &mut random);
                let freed = Heap::of_bytes(freed_sizes, bytes, interval(), &mut random);
                assert_eq!(born.bytes, freed.bytes);
                let p = significance.growth(&born.sums, &freed.sums);
                for (alarms, level) in alarms.iter_mut().zip([0.05, 0.01]) {
                    *alarms += usize::from(p <= level);
                }
            }
            for (alarms, level) in alarms.into_iter().zip([0.05, 0.01]) {
                let rate = alarms as f64 / RUNS as f64;
                let noise = 3.0 * f64::sqrt(level * (1.0 - level) / RUNS as f64);
                let case = format!("{name}, {expected} expected, seed {seed:#x}: {rate:.4} at {level}");
                println!("{case}");
                assert!(rate <= level + noise, "{case}");
                // Nor never: a test that raises no alarm at all would pass as well.
                assert!(expected < 100.0 || rate > 0.25 * level, "{case}");
            }
        }
    }
}

/// 300 sites, 60 of which grow: among what is reported, at most one in ten or so did not.
#[test]
fn false_discoveries_are_as_few_as_asked() {
    const RATE: f64 = 0.1;
    let mut random = Random::new(SEED);
    let mut significance = Significance::default();
    let (mut shares, mut found, mut growing) = (Vec::new(), 0, 0);
    for _ in 0..60 {
        let sites: Vec<(bool, f64)> = (0..300)
            .map(|site| {
                let (_, sizes) = KINDS[site % KINDS.len()];
                let churn = [1.0, 4.0, 20.0][site % 3];
                let grows = site % 5 == 0;
                let truth = churn + if grows { 15.0 } else { 0.0 };
                let born = Heap::with(sizes, truth, interval(), &mut random);
                let freed = Heap::with(sizes, churn, interval(), &mut random);
                (grows, significance.growth(&born.sums, &freed.sums))
            })
            .collect();
        let p_values: Vec<f64> = sites.iter().map(|(_, p)| *p).collect();
        let tested = benjamini_hochberg(&p_values, RATE);
        let discoveries = || sites.iter().zip(&tested).filter(|(_, test)| test.is_discovery);
        let right = discoveries().filter(|((grows, _), _)| *grows).count();
        let all = discoveries().count();
        shares.push((all - right) as f64 / all.max(1) as f64);
        found += right;
        growing += sites.iter().filter(|(grows, _)| *grows).count();
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let power = f64::from(found as u32) / f64::from(growing as u32);
    println!("seed {SEED:#x}: {mean:.4} false of what was found, {power:.3} of what grew was found");
    assert!(mean <= RATE, "seed {SEED:#x}: {mean}");
    assert!(power > 0.8, "seed {SEED:#x}: {power}");
}

/// Uniform p-values, for which the rate is exact: the share of those without growth times the rate asked for.
#[test]
fn the_false_discovery_rate_is_what_the_paper_says() {
    let mut random = Random::new(SEED + 1);
    const RUNS: usize = 2_000;
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..RUNS {
        // 150 without growth, 50 with p-values near zero.
        let p_values: Vec<f64> =
            (0..200).map(|test| if test < 150 { random.uniform() } else { 1e-3 * random.uniform() }).collect();
        let tested = benjamini_hochberg(&p_values, 0.2);
        let wrong = tested[..150].iter().filter(|test| test.is_discovery).count() as f64;
        let all = tested.iter().filter(|test| test.is_discovery).count() as f64;
        sum += wrong / all.max(1.0);
        squares += (wrong / all.max(1.0)).powi(2);
    }
    let mean = sum / RUNS as f64;
    let error = ((squares / RUNS as f64 - mean * mean) / RUNS as f64).sqrt();
    assert!((mean - 0.15).abs() <= 3.0 * error, "seed {:#x}: {mean} for 0.15, standard error {error}", SEED + 1);
}
