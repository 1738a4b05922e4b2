//! The stacks of one profile, as numbered functions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::Options;
use crate::format::frame_names::{FrameNames, clean};
use crate::profile::{NO_STACK, Profile, ProfileSample, Trim, Trimmer};

/// One profile with the functions of its locations.
pub(super) struct Reader<'p> {
    pub profile: &'p Profile,
    trimmer: Trimmer<'p>,
    /// Finds sites where `trimmer` leaves plumbing in: whatever is drawn, a site is what `top` calls one.
    sites: Option<Trimmer<'p>>,
    /// Where the functions of each location begin, and after the last one where they end.
    firsts: Vec<u32>,
    /// Functions of all locations, leaf first, as numbered by [`FrameNames::id`].
    functions: Vec<u32>,
}

impl<'p> Reader<'p> {
    pub(super) fn of(profile: &'p Profile, trim: Trim, names: &mut FrameNames<'p>) -> Self {
        let trimmer = Trimmer::of(profile, trim);
        let sites = (trim != Trim::Std).then(|| Trimmer::of(profile, Trim::Std));
        let mut reader = Self { profile, trimmer, sites, firsts: vec![0], functions: Vec::new() };
        for location in &profile.locations {
            reader.functions.extend(profile.places(location).map(|place| names.id(place.name())));
            reader.firsts.push(reader.functions.len() as u32);
        }
        reader
    }

    /// How many functions the stacks with a value have at most.
    pub(super) fn size(&self, options: &Options) -> usize {
        let samples = self.profile.samples.iter();
        let drawn = samples.filter(|sample| sample.values.get(options.by).is_some_and(|&value| value > 0));
        let size = |&index: &u32| self.range(index).len();
        drawn.map(|sample| self.trimmer.kept(sample).locations.iter().map(size).sum::<usize>().max(1)).sum()
    }

    /// Where the functions of a location are.
    fn range(&self, location: u32) -> Range<usize> {
        let index = location as usize;
        match (self.firsts.get(index), self.firsts.get(index + 1)) {
            (Some(&first), Some(&limit)) => first as usize..limit as usize,
            _ => 0..0,
        }
    }

    /// Calls `push` with each function of the stack of `sample` that is left after trimming, root first.
    pub(super) fn functions(&self, sample: &ProfileSample, mut push: impl FnMut(u32)) {
        let kept = self.trimmer.kept(sample);
        for (at, &index) in kept.locations.iter().enumerate().rev() {
            let Range { start, end } = self.range(index);
            let start = if at == 0 { start + kept.skip } else { start };
            self.functions.get(start..end).unwrap_or_default().iter().rev().for_each(|&id| push(id));
        }
    }

    fn site(&self, sample: &ProfileSample) -> Cow<'p, str> {
        self.sites.as_ref().unwrap_or(&self.trimmer).site(sample).map_or(NO_STACK.into(), |place| place.name())
    }

    pub(super) fn is_at(&self, sample: &ProfileSample, site: &str) -> bool {
        self.site(sample).contains(site)
    }
}

/// The names of up to five sites, largest first.
pub(super) fn largest(options: &Options, readers: &[Reader<'_>]) -> String {
    let mut sites: HashMap<Cow<'_, str>, u64> = HashMap::new();
    for reader in readers {
        for sample in &reader.profile.samples {
            let value = sample.values.get(options.by).and_then(|&value| u64::try_from(value).ok()).unwrap_or_default();
            if value > 0 {
                let sum = sites.entry(reader.site(sample)).or_default();
                *sum = sum.saturating_add(value);
            }
        }
    }
    let mut sites: Vec<(Cow<'_, str>, u64)> = sites.into_iter().collect();
    sites.sort_unstable_by(|(a, a_value), (b, b_value)| b_value.cmp(a_value).then_with(|| a.cmp(b)));
    let names: Vec<Cow<'_, str>> = sites.into_iter().take(5).map(|(name, _)| clean(name)).collect();
    if names.is_empty() { "there are none".to_owned() } else { names.join(", ") }
}
