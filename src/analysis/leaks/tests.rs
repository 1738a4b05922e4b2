//! Small heaps with known leaks, from cohorts to suspects.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::SystemTime;

use super::find::{JUDGED, MOST_SUSPECTS};
use super::*;
use crate::analysis::Side;
use crate::analysis::growth::{Basis, Fact, Hindrance, Shape};
use crate::profile::{self, Address, Cohort, Cohorts, Frame, Location, PackedTotals, Profile, SampleInterval, Totals};

const SNAPSHOTS: u32 = 16;

/// How many sampled objects, born in an epoch, are alive at a snapshot: of (epoch, snapshot).
type Alive = fn(u32, u32) -> u32;

fn leak(_: u32, _: u32) -> u32 {
    6
}

fn thin_leak(epoch: u32, _: u32) -> u32 {
    u32::from(epoch.is_multiple_of(3))
}

/// Full from epoch 5 on.
fn full_cache(epoch: u32, _: u32) -> u32 {
    if epoch < 6 { 8 } else { 0 }
}

fn churn(epoch: u32, snapshot: u32) -> u32 {
    if epoch == snapshot { 40 } else { 0 }
}

fn constant(epoch: u32, _: u32) -> u32 {
    if epoch == 0 { 100 } else { 0 }
}

/// The stacks, root first, with what they do; `dep:` is of a dependency.
fn find_in(stacks: &[(&str, Alive)]) -> Leaks {
    find_on(stacks, Basis::default())
}

fn find_on(stacks: &[(&str, Alive)], basis: Basis) -> Leaks {
    let Ok(leaks) = find_while::<Infallible>(stacks, basis, || Ok(()));
    leaks
}

fn find_while<E>(stacks: &[(&str, Alive)], basis: Basis, go_on: impl Fn() -> Result<(), E>) -> Result<Leaks, E> {
    let interval = SampleInterval::from_lg(19).unwrap();
    let one = interval.weigh(256);
    let mut profile = Profile::new(SystemTime::UNIX_EPOCH, interval.bytes());
    for (stack, _) in stacks {
        let mut indices = Vec::new();
        for name in stack.rsplit(" > ") {
            let file = if name.starts_with("dep:") { "/home/registry/src/dep.rs" } else { "src/main.rs" };
            let function = profile::Function {
                name: name.into(),
                system_name: name.into(),
                file: file.into(),
                line: indices.len() as u32 + 1,
            };
            indices.push(profile.locations.len() as u32);
            let frame = Frame::Known([function].into());
            profile.locations.push(Location { address: Address(0x10), mapping: None, frame });
        }
        profile.push(indices, [0; 4], 0);
    }
    let heaps: Vec<(Cohorts, PackedTotals)> = (0..SNAPSHOTS)
        .map(|snapshot| {
            let mut cohorts = Vec::new();
            let mut totals = Vec::new();
            for (stack, (_, alive)) in (1..).zip(stacks) {
                let (mut born, mut live) = (0, 0);
                for epoch in 0..=snapshot {
                    born += u64::from(alive(epoch, epoch));
                    let objects = alive(epoch, snapshot);
                    live += u64::from(objects);
                    if objects > 0 {
                        cohorts.push(Cohort { stack, epoch, live: one.times(objects) });
                    }
                }
                let estimate = |count: u64, each: f64| (count as f64 * each) as u64;
                totals.push(Totals {
                    stack,
                    objects: born,
                    bytes: born * 256,
                    estimated_objects: estimate(born, one.estimated_objects),
                    estimated_bytes: estimate(born, one.estimated_bytes),
                    freed_lifetimes_millis: (born - live) * 500,
                });
            }
            (Cohorts::of(&cohorts), PackedTotals::pack(stacks.len(), totals.into_iter()))
        })
        .collect();
    let sides: Vec<Side<'_>> =
        (0..).zip(&heaps).map(|(epoch, (cohorts, totals))| Side { epoch, cohorts, totals }).collect();
    let seconds: Vec<f64> = (0..SNAPSHOTS).map(|at| f64::from(at) * 60.0).collect();
    let numbers: Vec<u32> = (1..).take(stacks.len()).collect();
    let history = History { profile: &profile, stacks: &numbers, sides: &sides, seconds: &seconds, interval, basis };
    find(&history, go_on)
}

#[track_caller]
fn check(stacks: &[(&str, Alive)], suspects: &[&str], let_go: &[&str]) -> Leaks {
    let leaks = find_in(stacks);
    let names: Vec<_> = leaks.suspects.iter().map(|suspect| suspect.site.function.as_str()).collect();
    assert_eq!(names, suspects, "suspects");
    let names: Vec<_> = leaks.let_go.iter().map(|let_go| let_go.site.function.as_str()).collect();
    assert_eq!(names, let_go, "let go");
    leaks
}

#[test]
fn a_leak_is_named_and_the_rest_is_let_go_with_a_reason() {
    let leaks = check(
        &[
            ("main > s::serve > s::open > alloc::vec::Vec<T>::push > malloc", leak),
            ("main > s::serve > s::render > malloc", churn),
            ("main > s::load > malloc", constant),
            ("main > s::serve > s::remember > malloc", full_cache),
        ],
        &["s::open"],
        &["s::remember"],
    );
    assert_eq!((leaks.sites, leaks.snapshots, leaks.seconds), (4, 16, 900.0));
    let suspect = &leaks.suspects[0];
    assert_eq!(suspect.judgement.shape, Shape::Unbounded);
    assert_eq!((suspect.stack_share, suspect.stacks, &suspect.called_from), (1.0, 1, &None));
    // The line of the call that leads to the allocation, and the way to the root.
    assert_eq!((suspect.site.file.as_str(), suspect.site.line), ("src/main.rs", 3));
    let stack: Vec<_> = suspect.stack.iter().map(|site| site.function.as_str()).collect();
    assert_eq!(stack, ["s::open", "s::serve", "main"]);
    let grown = 6.0 * 15.0 * 524_288.0;
    assert!((suspect.judgement.growth.estimate / grown - 1.0).abs() < 0.35, "{:?}", suspect.judgement);
    assert_ne!(leaks.let_go[0].judgement.shape, Shape::Unbounded);
    assert!(leaks.let_go[0].rise > 35.0 * 524_288.0);
}

#[test]
fn where_evidence_is_missing_nobody_is_accused_or_let_go_as_fine() {
    let why = Hindrance::Paused { from: Some(3), to: None };
    let stacks: [(&str, Alive); 2] = [("main > s::open > malloc", leak), ("main > s::remember > malloc", full_cache)];
    let leaks = find_on(&stacks, Basis { hindrance: Some(why), ..Basis::default() });
    assert_eq!((leaks.suspects.len(), leaks.together_grows), (0, false));
    assert_eq!(leaks.together.fact, Fact::Hindered(why));
    // That they rose is seen all the same.
    assert_eq!(leaks.let_go.len(), 2);
    assert!(leaks.let_go.iter().all(|let_go| let_go.judgement.fact == Fact::Hindered(why) && let_go.rise > 0.0));
    assert!(find_in(&stacks).together.fact != Fact::Hindered(why));
}

#[test]
fn all_suspects_together_have_one_rate() {
    let mut leaks = find_in(&[
        ("main > s::open > malloc", leak),
        ("main > s::log > malloc", |epoch, _| 6 + epoch % 2),
        ("main > s::render > malloc", churn),
    ]);
    let rates: Vec<f64> = leaks.suspects.iter().map(|suspect| suspect.judgement.rate.unwrap().estimate).collect();
    assert_eq!((rates.len(), leaks.bytes_per_second()), (2, Some(rates[0] + rates[1])));
    // Of another part of the same site nothing is known but the whole.
    leaks.suspects.push(leaks.suspects[1].clone());
    assert_eq!(leaks.bytes_per_second(), Some(rates[0] + rates[1]));
    leaks.suspects[0].judgement.rate = None;
    assert_eq!(leaks.bytes_per_second(), Some(rates[1]));
    leaks.suspects.clear();
    assert_eq!(leaks.bytes_per_second(), None);
}

#[test]
fn one_function_on_many_stacks_is_one_suspect() {
    let leaks = check(
        &[("main > s::a > s::open > malloc", leak), ("main > s::b > s::open > malloc", leak), ("main > s::c", churn)],
        &["s::open"],
        &[],
    );
    assert_eq!((leaks.suspects[0].stacks, leaks.suspects[0].stack_share), (2, 0.5));
}

#[test]
fn parts_of_a_dependency_are_one_suspect_of_its_caller() {
    let stacks: [(&str, Alive); 4] = [
        ("main > s::load > dep:map > malloc", leak),
        ("main > s::load > dep:seq > malloc", leak),
        ("main > s::load > dep:text > malloc", leak),
        ("main > s::render > malloc", churn),
    ];
    check(&stacks, &["s::load"], &[]);
    let leaks = check(&stacks[2..], &["dep:text"], &[]);
    assert_eq!(leaks.suspects[0].called_from.as_ref().map(|site| site.function.as_str()), Some("s::load"));
}

#[test]
fn what_is_thin_everywhere_is_found_where_it_comes_together() {
    let stacks: Vec<(String, Alive)> =
        (0..12).map(|n| (format!("main > s::serve > s::part{n} > malloc"), thin_leak as Alive)).collect();
    let mut stacks: Vec<(&str, Alive)> = stacks.iter().map(|(stack, alive)| (stack.as_str(), *alive)).collect();
    stacks.push(("main > s::load > malloc", constant));
    let leaks = check(&stacks, &["s::serve"], &[]);
    assert_eq!(leaks.suspects[0].stacks, 12);
}

/// So many functions that leak.
fn leaking(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("main > s::serve > s::f{n} > malloc")).collect()
}

#[test]
fn of_many_suspects_those_that_grow_most_are_told_and_the_rest_is_counted() {
    let stacks = leaking(300);
    let leaks = |n: usize| if n < 290 { leak as Alive } else { |_, _| 9 };
    let stacks: Vec<(&str, Alive)> = stacks.iter().enumerate().map(|(n, stack)| (stack.as_str(), leaks(n))).collect();
    let found = find_in(&stacks);
    assert_eq!((found.suspects.len(), found.suspects_left_out, found.not_judged), (MOST_SUSPECTS, 44, 0));
    let fastest = |suspect: &Suspect| suspect.site.function["s::f".len()..].parse::<usize>().unwrap() >= 290;
    assert!(found.suspects[..10].iter().all(fastest));
    let few = find_in(&stacks[..200]);
    assert_eq!((few.suspects.len(), few.suspects_left_out), (200, 0));
}

#[test]
fn sites_that_are_not_judged_are_counted() {
    let stacks = leaking(JUDGED + 5);
    let stacks: Vec<(&str, Alive)> = stacks.iter().map(|stack| (stack.as_str(), leak as Alive)).collect();
    let found = find_in(&stacks);
    assert_eq!((found.not_judged, found.sites), (5, JUDGED + 5));
    assert_eq!(
        found.suspects.len() + found.suspects_left_out,
        JUDGED + 1,
        "the five are seen where they come together"
    );
}

#[test]
fn it_ends_when_it_is_told_to() {
    let stacks = [("main > s::open > malloc", leak as Alive)];
    let asked = Cell::new(0);
    let count = |most: u32| {
        asked.set(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            if asked.get() > most { Err("nobody waits") } else { Ok(()) }
        };
        find_while(&stacks, Basis::default(), go_on)
    };
    count(u32::MAX).unwrap();
    let all = asked.get();
    assert!(all >= 3, "{all}");
    for most in 0..all {
        assert_eq!(count(most).unwrap_err(), "nobody waits");
        assert_eq!(asked.get(), most + 1, "and does no more");
    }
}

#[test]
fn too_few_snapshots_accuse_nobody_and_nothing_is_fine() {
    let leaks = find_in(&[]);
    assert_eq!((leaks.suspects.len(), leaks.let_go.len(), leaks.sites), (0, 0, 0));
}

#[test]
fn no_history_is_an_answer_too() {
    let profile = Profile::new(SystemTime::UNIX_EPOCH, 1);
    let interval = SampleInterval::from_lg(19).unwrap();
    let basis = Basis::default();
    let history = History { profile: &profile, stacks: &[], sides: &[], seconds: &[], interval, basis };
    let Ok(leaks) = find::<Infallible>(&history, || Ok(()));
    assert_eq!((leaks.suspects.len(), leaks.let_go.len(), leaks.snapshots, leaks.seconds), (0, 0, 0, 0.0));
    assert_eq!(leaks.together.shape, Shape::Inconclusive);
}
