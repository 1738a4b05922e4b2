//! The judge against synthetic histories of which the truth is known.

use std::collections::BTreeMap;

use super::synthetic::{Clock, HEALTHY, History, Kind, LEAKS, Random, history};
use super::{Age, Basis, Fact, Hindrance, Judgement, Shape, Verdict, accuse, judge, synthetic, until_limit};
use crate::analysis::{Point, Series};
use crate::profile::{Interval, SampleInterval};

const HISTORIES: usize = 1000;

/// Another one by `HEAPWARD_TEST_SEED`.
fn seed() -> u64 {
    let seed = std::env::var("HEAPWARD_TEST_SEED").map_or(20_260_701, |seed| seed.parse().expect("a whole number"));
    println!("seed {seed}; HEAPWARD_TEST_SEED sets another");
    seed
}

#[derive(Clone, Copy, Default)]
struct Tally {
    histories: usize,
    accused: usize,
    large: usize,
    large_found: usize,
}

impl Tally {
    fn count(&mut self, history: &History, judgement: &Judgement, is_accused: bool) {
        let is_large = history.is_large_leak(judgement);
        self.histories += 1;
        self.accused += usize::from(is_accused);
        self.large += usize::from(is_large);
        self.large_found += usize::from(is_large && is_accused);
    }

    fn sum<'a>(tallies: impl Iterator<Item = &'a Self>) -> Self {
        tallies.fold(Self::default(), |sum, tally| Self {
            histories: sum.histories + tally.histories,
            accused: sum.accused + tally.accused,
            large: sum.large + tally.large,
            large_found: sum.large_found + tally.large_found,
        })
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Prints the table and holds what is promised.
fn check(tallies: &BTreeMap<Kind, Tally>) {
    println!("{:<22}{:>10}{:>9}{:>8}{:>9}", "kind", "histories", "accused", "large", "found");
    for (kind, Tally { histories, accused, large, large_found }) in tallies {
        println!("{:<22}{histories:>10}{accused:>9}{large:>8}{large_found:>9}", format!("{kind:?}"));
    }
    let leaks = Tally::sum(tallies.iter().filter(|(kind, _)| LEAKS.contains(kind)).map(|(_, tally)| tally));
    let healthy = Tally::sum(tallies.iter().filter(|(kind, _)| HEALTHY.contains(kind)).map(|(_, tally)| tally));
    let false_alarms = percent(healthy.accused, healthy.histories);
    let found = percent(leaks.large_found, leaks.large);
    println!("precision {:.1}%", percent(leaks.accused, leaks.accused + healthy.accused));
    println!("recall {:.1}% of all leaks", percent(leaks.accused, leaks.histories));
    println!("recall {found:.1}% of {} leaks above twice the detection limit", leaks.large);
    println!("false alarms {false_alarms:.2}% of {}", healthy.histories);
    assert!(false_alarms <= 1.0, "{false_alarms:.2}% false alarms");
    assert!(found >= 95.0, "{found:.1}% of the large leaks found");
}

fn tallies(random: &mut Random) -> BTreeMap<Kind, Tally> {
    let mut tallies = BTreeMap::<Kind, Tally>::new();
    for index in 0..HISTORIES {
        let kinds: &[Kind] = if index % 2 == 0 { &LEAKS } else { &HEALTHY };
        let kind = kinds[index / 2 % kinds.len()];
        let (history, judgement, is_accused) = judged(kind, random);
        tallies.entry(kind).or_default().count(&history, &judgement, is_accused);
    }
    tallies
}

#[test]
fn leaks_are_found_and_others_left_alone() {
    check(&tallies(&mut Random::new(seed())));
}

/// Ten more, so that nobody tunes to one.
#[test]
fn so_they_are_with_other_seeds() {
    for seed in 1..=10 {
        println!("seed {seed}");
        check(&tallies(&mut Random::new(seed)));
    }
}

/// What no judge of the past can know: a cache that is not yet full looks as a leak does. It is let go when it has been full
/// for about a third of the history.
#[test]
fn a_cache_is_let_go_once_it_has_been_full_for_long_enough() {
    let mut random = Random::new(seed());
    // By the end of its filling, as a share of the history.
    let mut tallies = [Tally::default(); 3];
    const PARTS: [&str; 3] = ["0.65 to 0.8", "0.8 to 1", "after the end"];
    for _ in 0..HISTORIES {
        let (history, judgement, is_accused) = judged(Kind::LateCache, &mut random);
        let end = history.series.seconds.last().unwrap();
        let full = history.last_birth() / end;
        tallies[if full > 0.98 { 2 } else { usize::from(full > 0.8) }].count(&history, &judgement, is_accused);
    }
    let shares = tallies.map(|tally| percent(tally.accused, tally.histories));
    for ((part, tally), share) in PARTS.iter().zip(&tallies).zip(shares) {
        println!("full at {part:<16}{:>6} caches, {share:.1}% accused", tally.histories);
    }
    assert!(shares[0] < 20.0 && shares[0] < shares[1] && shares[1] < shares[2], "{shares:?}");
}

/// Services of 5 to 30 sites, of which two leak at most.
#[test]
fn one_leak_among_many_sites_is_found() {
    let mut random = Random::new(seed());
    let mut tallies = BTreeMap::<Kind, Tally>::new();
    for _ in 0..200 {
        let clock = Clock::draw(&mut random);
        let sites = 5 + random.below(26);
        let leaks = random.below(3);
        let histories: Vec<History> = (0..sites)
            .map(|site| {
                let kinds: &[Kind] = if site < leaks { &LEAKS } else { &HEALTHY };
                let kind = kinds[random.below(kinds.len())];
                history(kind, &mut random, &clock)
            })
            .collect();
        let judgements: Vec<Judgement> =
            histories.iter().map(|history| judge(&history.series, history.interval)).collect();
        for ((history, judgement), is_accused) in
            histories.iter().zip(&judgements).zip(accuse(&judgements, judgements.len()))
        {
            tallies.entry(history.kind).or_default().count(history, judgement, is_accused);
        }
    }
    check(&tallies);
}

/// The kinds that judges of growth are known to accuse, a thousand of each. The bounds are what was measured, and a
/// third as much again.
#[test]
fn the_usual_false_alarms_are_rare() {
    let mut random = Random::new(seed());
    let bounds = [
        (Kind::FullCache, 30),
        (Kind::FullCacheNoTurnover, 26),
        (Kind::WarmUp, 4),
        (Kind::Batch, 4),
        (Kind::StepUp, 3),
        (Kind::DayAndNight, 2),
        (Kind::LongChurn, 4),
    ];
    for (kind, most) in bounds {
        let accused = (0..1000).filter(|_| judged(kind, &mut random).2).count();
        println!("{kind:?}: {accused} of 1000 accused");
        assert!(accused <= most, "{kind:?}: {accused} of 1000 accused, and {most} allowed");
    }
}

/// The bounds of the rate of who is accused hold the truth, from snapshots as many and as regular as they come.
#[test]
fn the_rate_of_a_leak_lies_within_its_bounds() {
    let mut random = Random::new(seed());
    let (mut within, mut all) = (0, 0);
    while all < 1000 {
        let (history, judgement, is_accused) = judged(Kind::SteadyLeak, &mut random);
        let Some(rate) = judgement.rate.filter(|_| is_accused) else { continue };
        let truth = history.leaked(judgement.start) / judgement.seconds;
        all += 1;
        within += usize::from(rate.low <= truth && truth <= rate.high);
    }
    println!("{:.1}% of the rates within their bounds", percent(within, all));
    assert!(within >= 930, "{within} of {all}");
}

fn judged(kind: Kind, random: &mut Random) -> (History, Judgement, bool) {
    let clock = Clock::draw(random);
    let history = history(kind, random, &clock);
    let judgement = judge(&history.series, history.interval);
    let is_accused = accuse(std::slice::from_ref(&judgement), 1)[0];
    (history, judgement, is_accused)
}

const FOREVER: f64 = f64::INFINITY;

/// Fifteen snapshots, one a minute, at 512 KiB.
fn minutes() -> Clock {
    Clock {
        interval: SampleInterval::from_lg(19).unwrap(),
        seconds: (0..15).map(|minute| 60.0 * f64::from(minute)).collect(),
    }
}

/// A sample of 4 KiB every `step` seconds, each with its lifetime.
fn every(step: f64, from: f64, to: f64, lifetime: impl Fn(f64) -> f64) -> Vec<(f64, f64, u64)> {
    let count = ((to - from) / step) as u32;
    (0..count).map(|at| from + step * (f64::from(at) + 0.5)).map(|born| (born, born + lifetime(born), 4096)).collect()
}

/// One history of each course, made by hand, with the words for it.
#[test]
fn every_course_has_its_words() {
    let clock = minutes();
    let few = Clock { seconds: clock.seconds[..3].to_vec(), ..clock.clone() };
    let leak = every(10.0, 0.0, 840.0, |_| FOREVER);
    let with = |objects: &[(f64, f64, u64)], more: &[(f64, f64, u64)]| [objects, more].concat();
    let doubling: Vec<(f64, f64, u64)> =
        (0..5).map(|step| (30.0 * f64::from(1 << step), 30.0 * f64::from(2 << step), 1 << (21 + step))).collect();
    let churn = every(2.0, -100.0, 840.0, |_| 20.0);
    let cases = [
        ("a leak", &clock, leak.clone()),
        ("a leak under churn", &clock, with(&leak, &churn)),
        ("a buffer that doubles", &clock, doubling),
        ("a leak that begins late", &clock, with(&every(6.0, 500.0, 840.0, |_| FOREVER), &churn)),
        ("a cache that filled", &clock, every(6.0, 0.0, 500.0, |_| FOREVER)),
        ("a cache that filled and replaces", &clock, every(6.0, 0.0, 840.0, |_| 450.0)),
        ("a warm-up", &clock, every(2.0, 0.0, 150.0, |_| FOREVER)),
        ("a step", &clock, every(0.5, 721.0, 740.0, |_| FOREVER)),
        ("a step that a snapshot fell into", &clock, every(0.5, 710.0, 730.0, |_| FOREVER)),
        ("a batch", &clock, every(2.0, 0.0, 840.0, |born| 250.0 - born.rem_euclid(250.0))),
        ("a long batch", &clock, every(2.0, -350.0, 840.0, |born| 600.0 - (born + 350.0).rem_euclid(600.0))),
        (
            "rising load",
            &clock,
            (1..29)
                .flat_map(|at| every(30.0 / f64::from(at), 30.0 * f64::from(at - 1), 30.0 * f64::from(at), |_| 40.0))
                .collect(),
        ),
        ("shrinking", &clock, every(2.0, -100.0, 0.0, |born| 8.0 * (100.0 + born) - born)),
        ("as much as ever", &clock, churn.clone()),
        ("three snapshots", &few, every(2.0, 0.0, 120.0, |_| FOREVER)),
        ("seven samples", &clock, every(120.0, 0.0, 840.0, |_| FOREVER)),
        ("nothing", &clock, Vec::new()),
    ];
    let mut text = String::new();
    for (name, clock, objects) in cases {
        let judgement = judge(&synthetic::series(clock, &objects), clock.interval);
        let accused = accuse(std::slice::from_ref(&judgement), 1)[0];
        let verdict = Verdict::new(&judgement, accused, Some(1 << 30));
        text.push_str(&format!("{name}: {:?}: {verdict}\n", judgement.shape));
    }
    crate::golden::check("growth_verdicts.txt", text);
}

/// The same leak: what is not known is not promised.
#[test]
fn no_time_is_promised_that_is_not_known() {
    let clock = minutes();
    let judgement = judge(&synthetic::series(&clock, &every(10.0, 0.0, 840.0, |_| FOREVER)), clock.interval);
    let seconds =
        |judgement: &Judgement, accused, headroom| Verdict::new(judgement, accused, headroom).seconds_to_limit();
    // 514 KiB each in 10 s.
    let expect = 1e9 / (clock.interval.weigh(4096).estimated_bytes / 10.0);
    assert!((seconds(&judgement, true, Some(1_000_000_000)).unwrap() / expect - 1.0).abs() < 0.01);
    assert_eq!(seconds(&judgement, true, None), None);
    assert_eq!(seconds(&judgement, false, Some(1_000_000_000)), None);
    let unsure = Judgement { rate: Some(Interval { estimate: 1.0, low: 0.0, high: 2.0 }), ..judgement };
    assert_eq!(seconds(&unsure, true, Some(1_000_000_000)), None);
    assert!(!Verdict::new(&unsure, true, Some(1)).to_string().contains("limit"));
}

#[test]
fn the_evidence_adds_up() {
    let clock = minutes();
    let objects = [every(10.0, 0.0, 840.0, |_| FOREVER), every(20.0, 0.0, 800.0, |_| 15.0)].concat();
    let judgement = judge(&synthetic::series(&clock, &objects), clock.interval);
    assert_eq!((judgement.start, judgement.seconds), (0, 840.0));
    let posterior = judgement.posterior.unwrap();
    assert_eq!((posterior.alive, posterior.freed), (84, 40));
    assert!((posterior.not_freed().estimate - 85.0 / 126.0).abs() < 1e-12);
    assert!((judgement.alive_share.unwrap() - 84.0 / 124.0).abs() < 1e-9);
    assert_eq!(judgement.age.usual_lifetime, Some(15.0));
    // Born until 780 s, as far as snapshots tell: 78 of 84; 72 of 84 were there two snapshots ago.
    assert!((judgement.age.old_share.unwrap() - 78.0 / 84.0).abs() < 1e-9);
    assert!((judgement.age.survivor_share.unwrap() - 72.0 / 84.0).abs() < 1e-9);
    let weight = clock.interval.weigh(4096).estimated_bytes;
    assert!((judgement.growth.estimate / weight - 84.0).abs() < 1e-9);
    assert!(judgement.growth.low < judgement.growth.estimate && judgement.growth.estimate < judgement.growth.high);
}

#[test]
fn the_way_to_the_limit_is_told_as_far_as_it_means_something() {
    assert_eq!(until_limit(0.0), "the limit is reached");
    assert_eq!(until_limit(90.0), "reaches the limit in about 90 s");
    assert_eq!(until_limit(364.0 * 86_400.0), "reaches the limit in about 364 days");
    assert_eq!(until_limit(366.0 * 86_400.0), "reaches the limit in more than a year");
    let clock = minutes();
    let judgement = judge(&synthetic::series(&clock, &every(10.0, 0.0, 840.0, |_| FOREVER)), clock.interval);
    let words = |headroom| Verdict::new(&judgement, true, Some(headroom)).to_string();
    assert!(words(0).ends_with("; the limit is reached"), "{}", words(0));
    assert!(words(u64::MAX).ends_with("; reaches the limit in more than a year"), "{}", words(u64::MAX));
}

/// What cannot be followed from birth to death is not told as freed, and nothing is said to be fine.
#[test]
fn what_is_hindered_is_neither_accused_nor_acquitted() {
    let clock = minutes();
    let series = synthetic::series(&clock, &every(10.0, 0.0, 840.0, |_| FOREVER));
    let dropped = Hindrance::Dropped { samples: 12, since: Some(7) };
    let basis = Basis { hindrance: Some(dropped), ..Basis::default() };
    let judgement = basis.judge(&series, clock.interval);
    assert_eq!((judgement.shape, judgement.fact), (Shape::Inconclusive, Fact::Hindered(dropped)));
    assert!(!accuse(std::slice::from_ref(&judgement), 1)[0]);
    assert_eq!((judgement.posterior, judgement.alive_share, judgement.rate), (None, None, None));
    assert_eq!(judgement.age, Age::UNKNOWN);
    let words = Verdict::new(&judgement, false, None).to_string();
    assert!(words.starts_with("cannot be judged: 12 samples found no room since snapshot 7"), "{words}");
    // The same series with nothing in the way.
    assert_eq!(Basis::default().judge(&series, clock.interval).shape, Shape::Unbounded);
    // Dropped before: no lifetime is made of those.
    let mut dropped_before = series.clone();
    dropped_before.points.iter_mut().for_each(|point| point.samples += 1000);
    let basis = Basis { has_dropped: true, ..Basis::default() };
    let judgement = basis.judge(&dropped_before, clock.interval);
    assert_eq!((judgement.shape, judgement.age.usual_lifetime), (Shape::Unbounded, None));
}

/// One judgement over everything is not one of many.
#[test]
fn all_together_is_told_in_words_of_its_own() {
    let clock = minutes();
    let judgement = judge(&synthetic::series(&clock, &every(10.0, 0.0, 840.0, |_| FOREVER)), clock.interval);
    let words = Verdict::of_all(&judgement, true).to_string();
    assert!(words.starts_with("grows without bound: +"), "{words}");
    let words = Verdict::of_all(&judgement, false).to_string();
    assert!(words.ends_with("but that can be chance of sampling") && !words.contains("among so many"), "{words}");
}

/// Nothing that a series may hold makes the judge panic, or accuse.
#[test]
fn a_broken_series_accuses_nobody() {
    let clock = minutes();
    let whole = synthetic::series(&clock, &every(10.0, 0.0, 840.0, |_| FOREVER));
    let broken = [
        Series { seconds: Vec::new(), points: Vec::new() },
        Series { seconds: vec![0.0], points: whole.points[..1].to_vec() },
        Series { seconds: whole.seconds.clone(), points: Vec::new() },
        Series { seconds: Vec::new(), points: whole.points.clone() },
        Series { seconds: vec![0.0; 15], points: whole.points.clone() },
        Series { seconds: vec![f64::NAN; 15], points: whole.points.clone() },
        Series { seconds: whole.seconds.clone(), points: vec![Point::default(); 15] },
        Series { seconds: whole.seconds.iter().rev().copied().collect(), points: whole.points.clone() },
    ];
    for (index, series) in broken.iter().enumerate() {
        let judgement = judge(series, clock.interval);
        assert!(!accuse(std::slice::from_ref(&judgement), 1)[0], "series {index}");
        assert!(!Verdict::new(&judgement, true, Some(1)).to_string().is_empty());
        assert!(!Verdict::new(&judgement, false, None).to_string().is_empty());
    }
}

/// A buffer that is replaced now and then is no buffer that grows.
#[test]
fn only_a_staircase_is_a_staircase() {
    let clock = minutes();
    let check = |name, sizes: &[(f64, u64)], expect| {
        let ends = sizes.iter().skip(1).map(|(time, _)| *time).chain([FOREVER]);
        let objects: Vec<_> = sizes.iter().zip(ends).map(|(&(born, mib), end)| (born, end, mib << 20)).collect();
        let judgement = judge(&synthetic::series(&clock, &objects), clock.interval);
        assert_eq!(judgement.shape == Shape::Unbounded, expect, "{name}: {:?}", judgement.fact);
    };
    check("doubles", &[(-10.0, 4), (100.0, 8), (250.0, 16), (550.0, 32)], true);
    check("replaced twice", &[(-10.0, 4), (100.0, 8), (550.0, 16)], false);
    check("overdue", &[(-10.0, 4), (100.0, 8), (160.0, 16), (280.0, 32)], false);
    check("one smaller", &[(-10.0, 4), (50.0, 8), (100.0, 16), (250.0, 32), (400.0, 4), (550.0, 64)], false);
}

/// Ten samples are proof at one site, and not at one of thirty.
#[test]
fn many_sites_need_more_proof() {
    let clock = minutes();
    let few = judge(&synthetic::series(&clock, &every(84.0, 0.0, 840.0, |_| FOREVER)), clock.interval);
    // Five windows were tried.
    assert!((few.p_value - 5.0 / 1024.0).abs() < 1e-6, "{}", few.p_value);
    assert_eq!(accuse(std::slice::from_ref(&few), 1), [true]);
    let nothing = judge(&synthetic::series(&clock, &[]), clock.interval);
    let all: Vec<Judgement> = [few.clone()].into_iter().chain(std::iter::repeat_n(nothing, 29)).collect();
    assert_eq!(accuse(&all, all.len()), [false; 30]);
    let words = Verdict::new(&few, false, None).to_string();
    assert!(words.ends_with("but among so many sites that can be chance"), "{words}");
}
