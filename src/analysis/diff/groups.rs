//! Which rows a stack counts for.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Grouping;
use crate::analysis::Site;
use crate::profile::{Place, Profile, Trim, Trimmer};

/// The groups that the samples of a profile count for, numbered from 0.
pub(super) struct Groups<'p> {
    profile: &'p Profile,
    by: Grouping,
    trimmer: Trimmer<'p>,
    /// Of each location where its functions begin in `numbers`, and the end of all.
    first: Vec<u32>,
    /// The group of each function of each location, innermost first.
    numbers: Vec<u32>,
    /// What each group is called. After the last comes the group of stacks without frames.
    places: Vec<Place<'p>>,
}

/// Which groups a sample was counted for already.
pub(super) struct Seen {
    last: Vec<u32>,
}

impl<'p> Groups<'p> {
    pub(super) fn of(profile: &'p Profile, by: Grouping, trim: Trim) -> Self {
        let mut groups = Self {
            profile,
            by,
            trimmer: Trimmer::of(profile, trim),
            first: vec![0],
            numbers: Vec::new(),
            places: Vec::new(),
        };
        let mut known: HashMap<(Cow<'p, str>, &'p str, u32), u32> = HashMap::new();
        for location in &profile.locations {
            for place in profile.places(location) {
                let (file, line) = place.function.map_or(("", 0), |function| (&*function.file, function.line));
                let line = if by == Grouping::Function { 0 } else { line };
                let number = *known.entry((place.name(), file, line)).or_insert(groups.places.len() as u32);
                if number as usize == groups.places.len() {
                    groups.places.push(place);
                }
                groups.numbers.push(number);
            }
            groups.first.push(groups.numbers.len() as u32);
        }
        groups
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        if self.are_samples() { self.profile.samples.len() } else { self.places.len() + 1 }
    }

    /// Whether each sample is a group of its own.
    pub(super) fn are_samples(&self) -> bool {
        self.by == Grouping::Stack
    }

    /// The profile whose samples these are.
    pub(super) fn profile(&self) -> &'p Profile {
        self.profile
    }

    pub(super) fn none_seen(&self) -> Seen {
        Seen { last: if self.by == Grouping::Function { vec![u32::MAX; self.len()] } else { Vec::new() } }
    }

    /// Calls `group` once with each group that the sample at index `at` counts for.
    pub(super) fn each(&self, at: usize, seen: &mut Seen, mut group: impl FnMut(usize)) {
        let Some(sample) = self.profile.samples.get(at) else { return };
        match self.by {
            Grouping::Stack => group(at),
            Grouping::Site => {
                let site = self.trimmer.site_at(sample).and_then(|(location, line)| {
                    self.of_location(location, line).first().map(|&number| number as usize)
                });
                group(site.unwrap_or(self.places.len()));
            }
            Grouping::Function => {
                let kept = self.trimmer.kept(sample);
                if kept.locations.is_empty() {
                    return group(self.places.len());
                }
                let mut skip = kept.skip;
                for &location in kept.locations {
                    for &number in self.of_location(location, std::mem::take(&mut skip)) {
                        let last = &mut seen.last[number as usize];
                        if *last != at as u32 {
                            *last = at as u32;
                            group(number as usize);
                        }
                    }
                }
            }
        }
    }

    /// The groups of the functions of a location but for the `skip` innermost.
    fn of_location(&self, location: u32, skip: usize) -> &[u32] {
        let bounds = self.first.get(location as usize..).and_then(|rest| Some((rest.first()?, rest.get(1)?)));
        bounds.and_then(|(&from, &to)| self.numbers.get(from as usize + skip..to as usize)).unwrap_or_default()
    }

    /// What a group is called: a stack by its site.
    pub(super) fn site(&self, group: usize) -> Site {
        match self.by {
            Grouping::Stack => Site::of(self.profile.samples.get(group).and_then(|sample| self.trimmer.site(sample))),
            Grouping::Site => Site::of(self.places.get(group).copied()),
            Grouping::Function => Site { line: 0, ..Site::of(self.places.get(group).copied()) },
        }
    }

    /// The frames of a group that is a stack, leaf first, without what is cut.
    pub(super) fn stack(&self, group: usize) -> Vec<Site> {
        let sample = self.profile.samples.get(group).filter(|_| self.by == Grouping::Stack);
        let Some(sample) = sample else { return Vec::new() };
        let kept = self.trimmer.kept(sample);
        let locations = kept.locations.iter().filter_map(|&index| self.profile.locations.get(index as usize));
        locations
            .flat_map(|location| self.profile.places(location))
            .skip(kept.skip)
            .map(|place| Site::of(Some(place)))
            .collect()
    }
}
