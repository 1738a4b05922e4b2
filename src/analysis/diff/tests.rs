use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::*;
use crate::analysis::{Side, changes};
use crate::profile::{Address, Cohort, Cohorts, Frame, Function, Location, Mapping, PackedTotals, Totals, Unknown};

/// Wyrand's mixing.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let wide = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        ((wide >> 64) as u64 ^ wide as u64) % limit
    }
}

/// A sampled object; snapshot k ends epoch k.
struct Object {
    stack: u32,
    size: u64,
    born: u32,
    /// The first epoch at whose end it is gone.
    freed: u32,
}

/// A heap with everything that happened to it.
struct World {
    interval: SampleInterval,
    profile: Profile,
    objects: Vec<Object>,
    heaps: Vec<(Cohorts, PackedTotals)>,
    kept: Vec<Kept>,
}

const STACKS: u32 = 60;
const SNAPSHOTS: u32 = 5;
/// Of the location that is `malloc`; the next is a `Vec`'s.
const MALLOC: u32 = 12;

fn function(name: String, line: u32) -> Function {
    Function { name: name.as_str().into(), system_name: name.as_str().into(), file: "src/app.rs".into(), line }
}

impl World {
    fn of(seed: u64, interval: SampleInterval) -> Self {
        let mut random = Random(seed);
        let mut profile = Profile::new(SystemTime::UNIX_EPOCH, interval.bytes());
        let location = |number: u32, frame| Location { address: Address(u64::from(number)), mapping: None, frame };
        for at in 0..MALLOC {
            // Each has a function inlined that others have inlined as well; one has no name.
            let names = [function(format!("app::inlined_{}", at % 3), at), function(format!("app::f{at}"), at)];
            let frame = if at == 7 { Frame::Unknown(Unknown::NoSymbol) } else { Frame::Known(names.into()) };
            profile.locations.push(location(at, frame));
        }
        for name in ["malloc", "alloc::vec::Vec<T,A>::push"] {
            let frame = Frame::Known([function(name.to_owned(), 1)].into());
            profile.locations.push(location(MALLOC, frame));
        }
        for stack in 0..STACKS {
            let depth = random.below(8) + u64::from(stack > 0);
            let own = (0..depth).map(|_| random.below(u64::from(MALLOC)) as u32);
            let plumbing = [MALLOC, MALLOC + 1].into_iter().filter(|_| stack > 0);
            profile.push(plumbing.chain(own), [0; 4], 0);
        }
        let objects = (0..3000).map(|_| {
            let born = random.below(u64::from(SNAPSHOTS) + 1) as u32;
            let freed = born + random.below(4) as u32;
            let size = [16, 48, 4096, 1 << 19, 5 << 20][random.below(5) as usize];
            Object { stack: random.below(u64::from(STACKS)) as u32, size, born, freed }
        });
        let objects: Vec<Object> = objects.collect();
        let heaps = (0..SNAPSHOTS).map(|snapshot| heap(&objects, snapshot, interval)).collect();
        let kept = |epoch: u32| Kept {
            id: u64::from(epoch) + 1,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(epoch.into()),
            epoch,
        };
        Self { interval, profile, objects, heaps, kept: (0..SNAPSHOTS).map(kept).collect() }
    }

    fn side(&self, snapshot: u32) -> Side<'_> {
        let (cohorts, totals) = &self.heaps[snapshot as usize];
        Side { epoch: snapshot, cohorts, totals }
    }

    /// One for each stack, from `base` to `later`, which may be the older one.
    fn changes(&self, base: u32, later: u32) -> Vec<Change> {
        let mut all: Vec<Change> = (0..STACKS).map(|stack| Change { stack, ..Change::default() }).collect();
        for change in changes(self.side(base.min(later)), self.side(base.max(later))) {
            all[change.stack as usize] = if later < base { change.reversed() } else { change };
        }
        all
    }

    fn diff(&self, base: u32, later: u32, question: Question) -> Diff {
        let Side { epoch, cohorts, .. } = self.side(later);
        let baseline = self.side(0);
        let baseline = Baseline { epoch: baseline.epoch, cohorts: baseline.cohorts, mappings: &[] };
        let past = Past {
            epoch,
            cohorts: Some(cohorts),
            mappings: &[],
            kept: &self.kept,
            baseline: (base > 0 && later > 0).then_some(baseline),
        };
        Diff::of(&self.profile, &self.changes(base, later), self.interval, &past, &question)
    }

    fn all_by(&self, base: u32, later: u32, by: Grouping) -> Diff {
        self.diff(base, later, all(by, Trim::Std))
    }

    /// By name: what an oracle that reads the objects one by one says was born and freed.
    fn oracle(&self, base: u32, later: u32, by: Grouping, trim: Trim) -> BTreeMap<String, [Sums; 2]> {
        let mut found: BTreeMap<String, [Sums; 2]> = BTreeMap::new();
        for object in &self.objects {
            let alive = |snapshot: u32| object.born <= snapshot && snapshot < object.freed;
            let (before, after) = (alive(base), alive(later));
            if before == after {
                continue;
            }
            let mut names = self.names(object.stack, trim);
            match by {
                Grouping::Stack => names = vec![format!("{:?}", names)],
                Grouping::Site => names.truncate(1),
                Grouping::Function => {
                    names.sort();
                    names.dedup();
                }
            }
            for name in names {
                found.entry(name).or_default()[usize::from(before)] += self.interval.weigh(object.size);
            }
        }
        found
    }

    /// Leaf first.
    fn names(&self, stack: u32, trim: Trim) -> Vec<String> {
        let stack = self.profile.stack(&self.profile.samples[stack as usize]);
        let shown = stack.iter().filter(|&&location| trim == Trim::None || location < MALLOC);
        let names = shown.flat_map(|&location| self.profile.places(&self.profile.locations[location as usize]));
        let names: Vec<String> = names.map(|place| place.name().into_owned()).collect();
        if names.is_empty() { vec!["[no stack]".to_owned()] } else { names }
    }
}

fn heap(objects: &[Object], snapshot: u32, interval: SampleInterval) -> (Cohorts, PackedTotals) {
    let mut alive: BTreeMap<(u32, u32), Sums> = BTreeMap::new();
    let mut totals: BTreeMap<u32, Totals> = BTreeMap::new();
    for object in objects.iter().filter(|object| object.born <= snapshot) {
        let weight = interval.weigh(object.size);
        let total = totals.entry(object.stack).or_insert(Totals { stack: object.stack, ..Totals::default() });
        total.objects += 1;
        total.estimated_bytes += weight.estimated_bytes.round() as u64;
        total.estimated_objects += weight.estimated_objects.round() as u64;
        if snapshot < object.freed {
            *alive.entry((object.stack, object.born)).or_default() += weight;
        }
    }
    let cohorts: Vec<Cohort> = alive.into_iter().map(|((stack, epoch), live)| Cohort { stack, epoch, live }).collect();
    (Cohorts::of(&cohorts), PackedTotals::pack(totals.len(), totals.into_values()))
}

fn all(by: Grouping, trim: Trim) -> Question {
    Question { by, trim, sort: Sort::Certain, count: usize::MAX, only_significant: false }
}

fn name(row: &DiffRow, by: Grouping) -> String {
    match by {
        Grouping::Stack if row.stack.is_empty() => format!("{:?}", [&row.site.function]),
        Grouping::Stack => format!("{:?}", row.stack.iter().map(|site| &site.function).collect::<Vec<_>>()),
        _ => row.site.function.clone(),
    }
}

/// By name, the sum over rows: sites differ in their line as well.
fn net(diff: &Diff, by: Grouping) -> BTreeMap<String, [f64; 2]> {
    let mut sums: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for row in &diff.rows {
        let sum = sums.entry(name(row, by)).or_default();
        sum[0] += row.figures.net.bytes.estimate;
        sum[1] += row.figures.net.objects.estimate;
    }
    sums
}

#[track_caller]
fn same(found: f64, expect: f64, what: &dyn std::fmt::Debug) {
    assert!((found - expect).abs() <= 1e-9 * expect.abs().max(1e9), "{what:?}: {found} and not {expect}");
}

fn worlds() -> impl Iterator<Item = (u64, World)> {
    [(1, 19), (2, 19), (3, 12), (4, 0)].into_iter().map(|(seed, lg)| {
        println!("seed {seed}, one sample in 2^{lg} bytes");
        (seed, World::of(seed, SampleInterval::from_lg(lg).unwrap()))
    })
}

#[test]
fn diffs_add_up_and_turn_round() {
    for (seed, world) in worlds() {
        for by in Grouping::ALL {
            for (a, b, c) in [(0, 1, 2), (0, 2, 4), (1, 3, 4), (2, 1, 3), (4, 2, 0)] {
                let what = (seed, by, a, b, c);
                let (first, second, whole) = (world.all_by(a, b, by), world.all_by(b, c, by), world.all_by(a, c, by));
                let mut sum = net(&first, by);
                for (name, values) in net(&second, by) {
                    let sum = sum.entry(name).or_default();
                    (sum[0], sum[1]) = (sum[0] + values[0], sum[1] + values[1]);
                }
                let whole_by_name = net(&whole, by);
                for (name, [bytes, objects]) in &sum {
                    let expect = whole_by_name.get(name).copied().unwrap_or_default();
                    same(*bytes, expect[0], &(what, name));
                    same(*objects, expect[1], &(what, name));
                }
                assert!(whole_by_name.keys().all(|name| sum.contains_key(name)));
                let total = |diff: &Diff| diff.total.net.bytes.estimate;
                same(total(&first) + total(&second), total(&whole), &what);
                same(total(&whole), whole.total.after.bytes.estimate - whole.total.before.bytes.estimate, &what);

                let back = world.all_by(c, a, by);
                assert_eq!((whole.changed, whole.not_significant), (back.changed, back.not_significant), "{what:?}");
                for (row, back) in whole.rows.iter().zip(&back.rows) {
                    assert_eq!((&row.site, &row.stack, row.p_value), (&back.site, &back.stack, back.p_value));
                    let (there, back) = (row.figures, back.figures);
                    assert_eq!((there.born, there.freed, there.before), (back.freed, back.born, back.after));
                    let there = there.net.bytes;
                    let expect = (-there.estimate, -there.high, -there.low);
                    let back = back.net.bytes;
                    assert_eq!((back.estimate, back.low, back.high), expect, "{what:?}");
                }
            }
            let nothing = world.all_by(3, 3, by);
            assert_eq!((nothing.rows.len(), nothing.changed, nothing.total.net.bytes.estimate), (0, 0, 0.0));
            assert_eq!((nothing.total.born, nothing.total.freed), (Amount::default(), Amount::default()));
        }
    }
}

#[test]
fn every_row_is_what_an_oracle_counts_object_by_object() {
    for (seed, world) in worlds() {
        for by in Grouping::ALL {
            for trim in [Trim::Std, Trim::None] {
                let diff = world.diff(1, 3, all(by, trim));
                let oracle = world.oracle(1, 3, by, trim);
                let mut found: BTreeMap<String, [(u64, f64, f64); 2]> = BTreeMap::new();
                for row in &diff.rows {
                    let amounts = [row.figures.born, row.figures.freed];
                    for (sum, amount) in found.entry(name(row, by)).or_default().iter_mut().zip(amounts) {
                        sum.0 += amount.samples;
                        sum.1 += amount.bytes.estimate;
                        sum.2 += amount.objects.estimate;
                    }
                }
                assert_eq!(
                    found.keys().collect::<Vec<_>>(),
                    oracle.keys().collect::<Vec<_>>(),
                    "{seed} {by:?} {trim:?}"
                );
                for ((name, found), expect) in found.iter().zip(oracle.values()) {
                    for ((samples, bytes, objects), expect) in found.iter().zip(expect) {
                        assert_eq!(*samples, expect.objects, "{seed} {by:?} {trim:?} {name}");
                        same(*bytes, expect.estimated_bytes, &(seed, by, trim, name));
                        same(*objects, expect.estimated_objects, &(seed, by, trim, name));
                    }
                }
                let allocated: u64 = world.changes(1, 3).iter().map(|change| change.allocated_bytes).sum();
                assert_eq!(diff.total.allocated.map(|allocated| allocated.bytes), Some(allocated));
            }
        }
    }
}

#[test]
fn ages_are_all_of_a_row_and_the_baseline_is_a_diff_of_its_own() {
    for (seed, world) in worlds() {
        for by in Grouping::ALL {
            for (base, later) in [(2, 4), (1, 2), (4, 2), (0, 3)] {
                let diff = world.all_by(base, later, by);
                let since = world.all_by(0, later, by);
                for row in &diff.rows {
                    let what = (seed, by, base, later, &row.site, &row.stack);
                    let ages: f64 = row.ages.iter().map(|age| age.bytes).sum();
                    same(ages, row.figures.after.bytes.estimate, &what);
                    // What was born before the base has survived it; a snapshot's id is its epoch's number and one.
                    if base < later {
                        let old =
                            row.ages.iter().filter(|age| age.before.is_some_and(|(id, _)| id <= u64::from(base) + 1));
                        same(old.map(|age| age.bytes).sum(), row.figures.survived.bytes.estimate, &what);
                    }
                    let is_row = |other: &&DiffRow| (&other.site, &other.stack) == (&row.site, &row.stack);
                    let same_rows: Vec<_> = since.rows.iter().filter(is_row).collect();
                    assert_eq!(row.since_baseline.is_some(), base > 0, "{what:?}");
                    if let (Some(net), [other]) = (row.since_baseline, &same_rows[..]) {
                        same(net.bytes.estimate, other.figures.net.bytes.estimate, &what);
                        assert_eq!(net.samples, other.figures.net.samples, "{what:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_certain_comes_first_and_noise_is_told_apart() {
    let world = World::of(5, SampleInterval::from_lg(19).unwrap());
    let diff = world.all_by(1, 3, Grouping::Stack);
    let away = |row: &DiffRow| {
        let bytes = row.figures.net.bytes;
        bytes.low.max(-bytes.high).max(0.0)
    };
    assert!(diff.rows.is_sorted_by(|a, b| away(a) >= away(b)));
    assert!(diff.rows.iter().any(|row| away(row) > 0.0 && row.figures.net.bytes.estimate < 0.0), "both directions");
    let noise = diff.rows.iter().filter(|row| !row.is_significant).count();
    assert_eq!((diff.not_significant, diff.changed), (noise, diff.rows.len()));
    assert!(noise > 0 && noise < diff.changed, "{noise} of {}", diff.changed);
    let limit = 9.0 * 524_288.0;
    assert_eq!(diff.detection_limit, limit);
    let below = diff.rows.iter().filter(|row| row.figures.net.bytes.estimate.abs() < limit).count();
    assert_eq!(diff.below_limit, below);
    assert!(diff.rows.iter().all(|row| row.adjusted_p_value >= row.p_value && row.adjusted_p_value <= 1.0));

    let question = Question { only_significant: true, count: 3, ..all(Grouping::Stack, Trim::Std) };
    let few = world.diff(1, 3, question);
    assert_eq!((few.rows.len(), few.changed, few.not_significant), (3, diff.changed, noise));
    let expect: Vec<_> = diff.rows.iter().filter(|row| row.is_significant).take(3).map(|row| &row.stack).collect();
    assert_eq!(few.rows.iter().map(|row| &row.stack).collect::<Vec<_>>(), expect);

    for (sort, value) in [
        (Sort::Net, (|f: &Figures| f.net.bytes.estimate.abs()) as fn(&Figures) -> f64),
        (Sort::Born, |f| f.born.bytes.estimate),
        (Sort::Freed, |f| f.freed.bytes.estimate),
        (Sort::Before, |f| f.before.bytes.estimate),
        (Sort::After, |f| f.after.bytes.estimate),
        (Sort::Allocated, |f| f.allocated.unwrap_or_default().bytes as f64),
    ] {
        let sorted = world.diff(1, 3, Question { sort, ..all(Grouping::Site, Trim::Std) });
        let values: Vec<f64> = sorted.rows.iter().map(|row| value(&row.figures)).collect();
        assert!(values.is_sorted_by(|a, b| a >= b), "{sort:?} {values:?}");
    }
}

#[test]
fn where_every_object_is_sampled_nothing_is_uncertain() {
    let world = World::of(6, SampleInterval::from_lg(0).unwrap());
    let diff = world.all_by(1, 3, Grouping::Site);
    assert_eq!((diff.detection_limit, diff.traceless, diff.below_limit), (0.0, 0.0, 0));
    for row in &diff.rows {
        let bytes = row.figures.net.bytes;
        assert_eq!((bytes.low, bytes.high), (bytes.estimate, bytes.estimate));
        assert_eq!(row.is_significant, bytes.estimate != 0.0, "{row:?}");
    }
}

#[test]
fn what_was_other_code_at_the_baseline_is_not_compared_with_it() {
    let world = World::of(7, SampleInterval::from_lg(12).unwrap());
    let (baseline, later) = (world.side(0), world.side(4));
    // Where the function 3 is there was another file.
    let gone = [Mapping { start: 3, limit: 4, file_offset: 0, path: "/lib/gone.so".into(), build_id: None }];
    let past = Past {
        epoch: later.epoch,
        cohorts: Some(later.cohorts),
        mappings: &[],
        kept: &world.kept,
        baseline: Some(Baseline { epoch: baseline.epoch, cohorts: baseline.cohorts, mappings: &gone }),
    };
    let diff = Diff::of(&world.profile, &world.changes(2, 4), world.interval, &past, &all(Grouping::Stack, Trim::Std));
    let passes = |row: &&DiffRow| row.stack.iter().any(|site| site.function == "app::f3");
    let (through, elsewhere): (Vec<_>, Vec<_>) = diff.rows.iter().partition(passes);
    let is_new =
        |row: &&DiffRow| (row.since_baseline.unwrap().bytes.estimate - row.figures.after.bytes.estimate).abs() < 1e-3;
    assert!(through.len() > 3 && through.iter().all(is_new), "{} rows", through.len());
    assert!(!elsewhere.iter().all(is_new));
}
