//! What the largest sites held at each of several moments.

use std::collections::HashMap;

use super::top::{SiteKey, site};
use super::{Amount, Membership, Side, Site};
use crate::profile::{Profile, Sums, Trim, Trimmer};

/// What the sites held at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// The largest, largest first.
    pub largest: Vec<HeldSite>,
    /// How many held anything.
    pub sites: usize,
}

/// What one site held.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeldSite {
    pub site: Site,
    pub live: Amount,
}

/// The `count` largest sites by bytes at each of `sides`. Of the stacks with the numbers `stacks`, `profile` has a sample each, in
/// that order; those of others are left out. Sites are found once for all moments, so that each costs a walk through what
/// was alive then.
///
/// # Errors
///
/// Those of `go_on`, which is asked before each moment.
pub(crate) fn largest_held<E>(
    profile: &Profile,
    stacks: &[u32],
    sides: &[Side<'_>],
    count: usize,
    go_on: impl Fn() -> Result<(), E>,
) -> Result<Vec<Held>, E> {
    let trimmer = Trimmer::of(profile, Trim::Std);
    let mut keys: Vec<SiteKey<'_>> = Vec::new();
    let mut numbers: HashMap<SiteKey<'_>, usize> = HashMap::new();
    let mut members = Membership::default();
    for (sample, &stack) in profile.samples.iter().zip(stacks) {
        let key = site(trimmer.site(sample));
        let number = *numbers.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            keys.len() - 1
        });
        members.set(stack, number);
    }
    let mut sums = vec![Sums::default(); keys.len()];
    let mut held = Vec::with_capacity(sides.len());
    for side in sides {
        go_on()?;
        sums.fill(Sums::default());
        for cohort in side.cohorts.iter() {
            if let Some(sum) = members.get(cohort.stack).and_then(|number| sums.get_mut(number)) {
                *sum += cohort.live;
            }
        }
        let mut alive: Vec<(&SiteKey<'_>, &Sums)> = keys.iter().zip(&sums).filter(|(_, sum)| sum.objects > 0).collect();
        let sites = alive.len();
        alive.sort_by(|a, b| b.1.estimated_bytes.total_cmp(&a.1.estimated_bytes).then_with(|| a.0.cmp(b.0)));
        alive.truncate(count);
        let told = |((function, file, line), live): &(&SiteKey<'_>, &Sums)| HeldSite {
            site: Site { function: function.to_string(), file: (*file).to_owned(), line: *line },
            live: Amount::of(live),
        };
        held.push(Held { largest: alive.iter().map(told).collect(), sites });
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::SystemTime;

    use super::*;
    use crate::profile::{Address, Cohort, Cohorts, Frame, Function, Location, PackedTotals, SampleInterval};

    /// A profile of one sample a stack, with these functions, leaf first.
    fn profile(stacks: &[&[&str]]) -> Profile {
        let mut profile = Profile::new(SystemTime::UNIX_EPOCH, 4096);
        for stack in stacks {
            let first = profile.locations.len() as u32;
            for name in *stack {
                let function =
                    Function { name: (*name).into(), system_name: (*name).into(), file: "src/a.rs".into(), line: 7 };
                let frame = Frame::Known([function].into());
                profile.locations.push(Location { address: Address(1), mapping: None, frame });
            }
            profile.push(first..first + stack.len() as u32, [0; 4], 0);
        }
        profile
    }

    fn heap(rows: &[(u32, u32, u32)]) -> Cohorts {
        let one = SampleInterval::from_lg(12).unwrap().weigh(65_536);
        let cohort = |&(stack, epoch, objects)| Cohort { stack, epoch, live: one.times(objects) };
        Cohorts::of(&rows.iter().map(cohort).collect::<Vec<_>>())
    }

    fn told(held: &Held) -> Vec<(&str, u64)> {
        held.largest.iter().map(|held| (&*held.site.function, held.live.samples)).collect()
    }

    #[test]
    fn each_moment_has_its_own_largest_sites() {
        let profile =
            profile(&[&["alloc::vec::Vec<T>::push", "a::x", "main"], &["b::y", "main"], &["a::x", "b::y"], &["c::z"]]);
        let heaps = [
            heap(&[(4, 1, 3), (6, 1, 5), (9, 1, 3), (11, 1, 90)]),
            heap(&[(4, 1, 1), (4, 2, 1), (6, 2, 4), (20, 1, 9)]),
            heap(&[]),
        ];
        let totals = PackedTotals::default();
        let sides: Vec<Side<'_>> = heaps.iter().map(|cohorts| Side { epoch: 1, cohorts, totals: &totals }).collect();
        // Stack 11 has no name: it passes through a file that is gone.
        let Ok(held) = largest_held::<Infallible>(&profile, &[4, 6, 9, 20], &sides, 2, || Ok(()));
        assert_eq!(told(&held[0]), [("a::x", 6), ("b::y", 5)]);
        assert_eq!(told(&held[1]), [("c::z", 9), ("b::y", 4)]);
        assert_eq!(held.iter().map(|held| held.sites).collect::<Vec<_>>(), [2, 3, 0]);
        let first = &held[0].largest[0];
        assert_eq!((&*first.site.file, first.site.line), ("src/a.rs", 7));
        // Objects of sixteen intervals are as good as certain.
        assert!((first.live.bytes.estimate / (6.0 * 65_536.0) - 1.0).abs() < 0.01, "{first:?}");
    }

    #[test]
    fn it_ends_when_it_is_not_wanted_any_more() {
        let profile = profile(&[&["a::x"]]);
        let (cohorts, totals) = (heap(&[(0, 1, 1)]), PackedTotals::default());
        let side = || Side { epoch: 1, cohorts: &cohorts, totals: &totals };
        let asked = std::cell::Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            if asked.get() < 2 { Ok(()) } else { Err("enough") }
        };
        assert_eq!(largest_held(&profile, &[0], &[side(), side(), side()], 1, go_on), Err("enough"));
        assert_eq!(asked.get(), 2);
    }
}
