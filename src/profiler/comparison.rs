//! Two moments side by side, with names.

use super::Namer;
use super::moment::Moment;
use super::places::{Places, Side};
use crate::analysis::{Change, changes};
use crate::collect::{Collector, StackId};
use crate::profile::{Profile, ReturnAddress};

/// The stacks of two moments, with names and with what happened at each.
pub(crate) struct Comparison {
    /// One sample for each of `changes`, its values zero.
    pub(crate) profile: Profile,
    /// What happened, from the base to the later moment.
    pub(crate) changes: Vec<Change>,
}

impl Comparison {
    /// What happened from `base` to `later`; when `base` is the younger of the two, the other way round.
    pub(crate) fn of(base: &Moment, later: &Moment, collector: &Collector, namer: &mut Namer<'_>) -> Self {
        let is_reversed = later.epoch() < base.epoch();
        let (first, second) = if is_reversed { (later, base) } else { (base, later) };
        let mut places = Places::new(second.mappings(), first.mappings());
        let mut profile = Profile::new(later.time(), collector.interval().bytes());
        let mut found = Vec::new();
        let mut add = |places: &mut Places<'_>, side: Side, change: Change| {
            let frames = collector.stacks().frames(StackId(change.stack)).map(ReturnAddress::call_site);
            profile.push(frames.map(|address| places.index(side, address)), [0; 4], 0);
            found.push(if is_reversed { change.reversed() } else { change });
        };
        // One that is compared with itself has not changed, also where a source tells no birthdays.
        let both = (!first.is_same(second)).then(|| changes(first.side(), second.side()));
        for change in both.into_iter().flatten() {
            let mut frames = collector.stacks().frames(StackId(change.stack)).map(ReturnAddress::call_site);
            if frames.any(|address| places.has_moved(address)) {
                // The addresses belonged to other code then.
                let gone = Change { stack: change.stack, freed: change.before(), ..Change::default() };
                let new =
                    Change { born: change.after(), freed: Default::default(), survived: Default::default(), ..change };
                add(&mut places, Side::Base, gone);
                add(&mut places, Side::Later, new);
            } else {
                add(&mut places, Side::Later, change);
            }
        }
        places.name(namer);
        profile.comments = places.why_unnamed(namer);
        (profile.mappings, profile.locations) = (places.mappings, places.locations);
        Self { profile, changes: found }
    }
}
