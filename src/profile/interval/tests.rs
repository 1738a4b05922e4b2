use super::super::simulation::{Heap, KINDS, Random, interval};
use super::*;
use crate::profile::SampleInterval;

const SEED: u64 = 0x5eed_0001;
const HEAPS: usize = 2_000;
const EXPECTED: [f64; 4] = [5.0, 10.0, 30.0, 100.0];

fn holds(interval: Interval, truth: f64) -> bool {
    let rounding = 1e-9 * truth;
    interval.low <= truth + rounding && truth - rounding <= interval.high
}

/// What share of heaps the interval is to hold the truth in.
fn allowed(sizes: &[u64], expected: f64, is_bytes: bool) -> (f64, f64) {
    match sizes {
        // Twelve objects of which ten are seen: one outcome more or less inside is 5%.
        [0x10_0000] if expected <= 10.0 => (0.93, 0.99),
        // Where no small object was sampled, nothing says how many there are, and they are nearly all objects. Chance of
        // that: e^(−5/3), e^(−10/3).
        [_, _, ..] if !is_bytes && expected <= 5.0 => (0.74, 0.98),
        [_, _, ..] if !is_bytes && expected <= 10.0 => (0.92, 0.98),
        _ => (0.93, 0.98),
    }
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say_and_estimates_are_unbiased() {
    for (kind, (name, sizes)) in KINDS.iter().enumerate() {
        for expected in EXPECTED {
            let seed = SEED + kind as u64 * 1_000 + expected as u64;
            let mut random = Random::new(seed);
            let (mut bytes, mut objects) = (0, 0);
            let mut errors = Vec::new();
            for _ in 0..HEAPS {
                // Numbers drawn anew for each heap, because a single one makes whole numbers jump.
                let around = expected * (0.85 + 0.3 * random.uniform());
                let heap = Heap::with(sizes, around, interval(), &mut random);
                bytes += usize::from(holds(heap.sums.bytes_interval(), heap.bytes));
                objects += usize::from(holds(heap.sums.objects_interval(), heap.objects));
                errors.push(heap.sums.estimated_bytes - heap.bytes);
            }
            let case = format!("{name}, {expected} expected samples, seed {seed:#x}");
            for (what, hits, is_bytes) in [("bytes", bytes, true), ("objects", objects, false)] {
                let share = hits as f64 / HEAPS as f64;
                let (least, most) = allowed(sizes, expected, is_bytes);
                println!("{case}: {what} {share:.4}");
                assert!((least..=most).contains(&share), "{case}: {what} held in {share}, not in {least} to {most}");
            }
            let mean = errors.iter().sum::<f64>() / HEAPS as f64;
            let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / HEAPS as f64;
            let standard_error = (variance / HEAPS as f64).sqrt();
            assert!(mean.abs() <= 3.0 * standard_error, "{case}: bias {mean}, standard error {standard_error}");
        }
    }
}

/// Without chance: the sum over all outcomes, for one number of objects.
#[test]
fn coverage_of_one_number_of_objects_is_exact() {
    for (name, sizes) in KINDS {
        let &[size] = sizes else { continue };
        let p = interval().probability(size);
        for expected in EXPECTED {
            let objects = (expected / p).round();
            let mut sums = Sums::default();
            let (mut share, mut outcome) = (0.0, (objects * (-p).ln_1p()).exp());
            for n in 0..=(objects as u64).min(300) {
                if holds(sums.bytes_interval(), objects * size as f64) {
                    share += outcome;
                }
                sums += interval().weigh(size);
                outcome *= (objects - n as f64) / (n + 1) as f64 * p / (1.0 - p);
            }
            let (least, most) = allowed(sizes, expected, true);
            println!("{name}, {expected} expected, {objects} objects: {share:.4}");
            assert!((least..=most).contains(&share), "{name}, {expected} expected: {share}");
        }
    }
}

/// Each bound by itself, by adding up outcomes: beyond it lies Φ(−2), with half of the outcome that was seen.
#[test]
fn bounds_solve_what_defines_them() {
    for (n, size) in [(1, 256), (7, 256), (1, 64 << 10), (40, 64 << 10), (3, 1 << 20), (30, 1 << 20), (99, 1 << 20)] {
        let mut sums = Sums::default();
        (0..n).for_each(|_| sums += interval().weigh(size));
        let p = interval().probability(size);
        // P(fewer than n of `objects` are seen) + ½ P(n of them), also for what is no whole number.
        let few = |objects: f64| {
            let mut outcome = (objects * (-p).ln_1p()).exp();
            let mut sum = 0.0;
            for seen in 0..n {
                sum += outcome;
                outcome *= (objects - f64::from(seen)) / f64::from(seen + 1) * p / (1.0 - p);
            }
            sum + 0.5 * outcome
        };
        let Interval { low, high, .. } = sums.objects_interval();
        let tail = 0.022_75;
        assert!((few(high) / tail - 1.0).abs() < 1e-3, "{n} of {size} B: {} above {high}", few(high));
        let is_all = low == f64::from(n) && 1.0 - few(low) > tail;
        assert!(is_all || ((1.0 - few(low)) / tail - 1.0).abs() < 1e-3, "{n} of {size} B: {} below {low}", few(low));
    }
}

#[test]
fn what_is_seen_whole_is_exact() {
    let every_byte = SampleInterval::from_lg(0).unwrap();
    let mut sums = Sums::default();
    (0..3).for_each(|_| sums += every_byte.weigh(100));
    assert_eq!(sums.bytes_interval(), Interval { estimate: 300.0, low: 300.0, high: 300.0 });
    assert_eq!(sums.objects_interval(), Interval { estimate: 3.0, low: 3.0, high: 3.0 });
    assert_eq!(Sums::default().bytes_interval(), Interval::default());
    // Rounding leaves a little of nothing.
    let large = interval().weigh(64 << 20).bytes_interval();
    assert!(large.high - large.low < 1.0, "{large:?}");
}

#[test]
fn many_samples_have_the_normal_interval() {
    let mut sums = Sums::default();
    (0..400).for_each(|_| sums += interval().weigh(4096));
    let Interval { estimate, low, high } = sums.bytes_interval();
    let half = 1.959_964 * sums.variance_bytes.sqrt();
    assert!((high - estimate - half).abs() < 1.0 && (estimate - low - half).abs() < 1.0);
}

/// Whatever sums a file makes up.
#[test]
fn bounds_stand_around_the_estimate() {
    let values = [0.0, 1e-300, 1e-3, 1.0, 5.0, 1e6, 1e15, 1e19, 1e300, f64::INFINITY, f64::NAN];
    for seen in [0, 1, 7, 1 << 40, u64::MAX] {
        for estimate in values {
            for variance in values {
                let sums = Sums {
                    objects: seen,
                    bytes: seen,
                    estimated_objects: estimate,
                    estimated_bytes: estimate,
                    variance_objects: variance,
                    variance_bytes: variance,
                };
                let Interval { low, high, .. } = sums.bytes_interval();
                if (seen as f64) <= estimate && variance.is_finite() {
                    assert!(low <= estimate && estimate <= high && low >= 0.0, "{sums:?}: {low} to {high}");
                }
            }
        }
    }
}
