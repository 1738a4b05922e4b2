//! The judge against synthetic histories of which the truth is known.

use std::collections::BTreeMap;

use super::synthetic::{Clock, HEALTHY, History, Kind, LEAKS, Random, history};
use super::{Judgement, accuse, judge};

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

#[test]
fn leaks_are_found_and_others_left_alone() {
    let mut random = Random::new(seed());
    let mut tallies = BTreeMap::<Kind, Tally>::new();
    for index in 0..HISTORIES {
        let kinds: &[Kind] = if index % 2 == 0 { &LEAKS } else { &HEALTHY };
        let kind = kinds[index / 2 % kinds.len()];
        let clock = Clock::draw(&mut random);
        let history = history(kind, &mut random, &clock);
        let judgement = judge(&history.series, history.interval);
        let is_accused = accuse(std::slice::from_ref(&judgement), 1)[0];
        tallies.entry(kind).or_default().count(&history, &judgement, is_accused);
    }
    check(&tallies);
}

/// Services of 5 to 30 sites, of which two leak at most.
#[test]
fn one_leak_among_many_sites_is_found() {
    let mut random = Random::new(seed());
    let mut tallies = BTreeMap::<Kind, Tally>::new();
    for _ in 0..60 {
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
