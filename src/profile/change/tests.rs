use super::super::simulation::{Heap, KINDS, Random, interval};
use super::*;

const SEED: u64 = 0x5eed_0002;

struct Change {
    truth: Heap,
    born: Heap,
    freed: Heap,
}

impl Change {
    fn with(sizes: &[u64], born: f64, freed: f64, random: &mut Random) -> Self {
        let born = Heap::with(sizes, born, interval(), random);
        let freed = Heap::with(sizes, freed, interval(), random);
        let truth =
            Heap { objects: born.objects - freed.objects, bytes: born.bytes - freed.bytes, sums: Sums::default() };
        Self { truth, born, freed }
    }

    fn interval(&self, measure: Measure) -> Interval {
        Interval::of_change(&self.born.sums, &self.freed.sums, interval(), measure)
    }

    fn is_held(&self, measure: Measure) -> bool {
        let truth = match measure {
            Measure::Bytes => self.truth.bytes,
            Measure::Objects => self.truth.objects,
        };
        let Interval { low, high, .. } = self.interval(measure);
        let rounding = 1e-9 * (self.born.bytes + self.freed.bytes);
        low - rounding <= truth && truth <= high + rounding
    }
}

/// Every pair of expected samples, few of them and none included.
#[test]
fn intervals_of_changes_hold_the_truth_as_often_as_they_say() {
    const EXPECTED: [f64; 7] = [0.0, 1.0, 3.0, 5.0, 10.0, 30.0, 100.0];
    for (kind, (name, sizes)) in KINDS.iter().enumerate() {
        for born in EXPECTED {
            for freed in EXPECTED {
                let changes = if born + freed < 100.0 { 2_000 } else { 1_000 };
                let seed = SEED + kind as u64 * 100_000 + born as u64 * 1_000 + freed as u64;
                let mut random = Random::new(seed);
                let (mut bytes, mut objects) = (0, 0);
                for _ in 0..changes {
                    let around = 0.85 + 0.3 * random.uniform();
                    let change = Change::with(sizes, born * around, freed * around, &mut random);
                    bytes += usize::from(change.is_held(Measure::Bytes));
                    objects += usize::from(change.is_held(Measure::Objects));
                }
                let fewest = born.min(freed);
                // A side with next to nothing in it cannot be held too seldom, but more often than asked.
                let most = if fewest >= 5.0 { 0.98 } else { 1.0 };
                for (measure, hits) in [(Measure::Bytes, bytes), (Measure::Objects, objects)] {
                    // The number of objects of a mix is known once some of the smallest are sampled, not before.
                    if measure == Measure::Objects && sizes.len() > 1 && fewest < 30.0 {
                        continue;
                    }
                    let share = hits as f64 / changes as f64;
                    let case = format!("{name}, {born} born and {freed} freed expected, seed {seed:#x}: {measure:?}");
                    println!("{case} {share:.4}");
                    assert!((0.93..=most).contains(&share), "{case} held in {share}, not in 0.93 to {most}");
                }
            }
        }
    }
}

fn samples(n: u64, size: u64) -> Sums {
    let mut sums = Sums::default();
    (0..n).for_each(|_| sums += interval().weigh(size));
    sums
}

fn growth(n: u64, size: u64) -> Interval {
    Interval::of_change(&samples(n, size), &Sums::default(), interval(), Measure::Bytes)
}

#[test]
fn pure_growth_is_above_zero_from_five_samples_on() {
    assert!(growth(4, 256).low < 0.0 && growth(5, 256).low > 0.0);
    let alone = samples(50, 256).bytes_interval();
    let change = growth(50, 256);
    assert!(change.high == alone.high && change.low < alone.low);
    assert!((change.high - change.low) / (alone.high - alone.low) < 1.02, "{change:?} {alone:?}");
}

/// An object of 4 MiB that was freed would have been seen with 99.97%.
#[test]
fn nothing_is_allowed_for_what_could_not_hide() {
    assert_eq!(growth(3, 4 << 20), samples(3, 4 << 20).bytes_interval());
    let mut mixed = samples(3, 4 << 20);
    mixed += interval().weigh(256);
    let change = Interval::of_change(&mixed, &Sums::default(), interval(), Measure::Bytes);
    assert!(change.low < mixed.bytes_interval().low);
}

#[test]
fn what_is_seen_whole_changes_by_a_whole_number() {
    let every_byte = SampleInterval::from_lg(0).unwrap();
    let born = every_byte.weigh(100);
    let nothing = Sums::default();
    for (born, freed, change) in [(born, nothing, 100.0), (nothing, born, -100.0), (born, born, 0.0)] {
        let exact = Interval { estimate: change, low: change, high: change };
        assert_eq!(Interval::of_change(&born, &freed, every_byte, Measure::Bytes), exact);
    }
}

#[test]
fn a_change_back_is_the_mirror_image() {
    let (a, f) = (samples(7, 4096), samples(2, 64 << 10));
    for measure in [Measure::Bytes, Measure::Objects] {
        let there = Interval::of_change(&a, &f, interval(), measure);
        let back = Interval::of_change(&f, &a, interval(), measure);
        assert_eq!((there.estimate, there.low, there.high), (-back.estimate, -back.high, -back.low));
    }
}

/// Nothing is known of objects that nobody saw, but their bytes are bounded.
#[test]
fn no_sample_at_all_says_how_much_may_hide() {
    let nothing = Sums::default();
    let Interval { estimate, low, high } = Interval::of_change(&nothing, &nothing, interval(), Measure::Bytes);
    assert_eq!((estimate, low), (0.0, -high));
    assert!((high / 524_288.0 - 40f64.ln()).abs() < 1e-3, "{high}");
}

/// Objects that are alive at both moments were sampled once. Simulated and by the formula, in MiB.
#[test]
fn a_change_is_as_sure_as_what_was_born_and_freed() {
    for (size, survivors, born, freed, expect) in
        [(256, 200_000, 140_000, 100_000, 5.46), (64 << 10, 2_000, 1_500, 1_000, 8.55), (1 << 20, 60, 35, 25, 3.04)]
    {
        let mut random = Random::new(SEED + size);
        let p = interval().probability(size);
        let mut see = |objects| samples(random.binomial(objects, p), size);
        let runs = 4_000;
        let (mut squares, mut formula, mut independent) = (0.0, 0.0, 0.0);
        for _ in 0..runs {
            let (a, f, both) = (see(born), see(freed), see(survivors));
            let (mut before, mut after) = (both, both);
            before += f;
            after += a;
            let truth = (born as f64 - freed as f64) * size as f64;
            squares += (after.estimated_bytes - before.estimated_bytes - truth).powi(2);
            formula += a.variance_bytes + f.variance_bytes;
            independent += before.variance_bytes + after.variance_bytes;
        }
        let mib = |sum: f64| (sum / f64::from(runs)).sqrt() / f64::from(1 << 20);
        let (simulated, formula, independent) = (mib(squares), mib(formula), mib(independent));
        let case = format!("{size} B, seed {:#x}: {simulated:.2} {formula:.2} {independent:.2}", SEED + size);
        println!("{case}");
        assert!((simulated / expect - 1.0).abs() < 0.04, "{case}");
        assert!((formula / simulated - 1.0).abs() < 0.04, "{case}");
        assert!((1.5..1.8).contains(&(independent / simulated)), "{case}");
    }
}
