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
    /// What happened, from the base to the later moment; sorted by stack.
    pub(crate) changes: Vec<Change>,
}

impl Comparison {
    /// What happened from `base` to `later`; when `base` is the younger of the two, the other way round. Stacks that
    /// held something at `also` are there too, if only to say that nothing happened.
    pub(crate) fn of(
        base: &Moment,
        later: &Moment,
        also: Option<&Moment>,
        collector: &Collector,
        namer: &mut Namer<'_>,
    ) -> Self {
        let is_reversed = later.epoch() < base.epoch();
        let (first, second) = if is_reversed { (later, base) } else { (base, later) };
        let stack = |id: u32| collector.stacks().frames(StackId(id)).map(ReturnAddress::call_site);
        // One that is compared with itself has not changed, also where a source tells no birthdays.
        let is_change = !first.is_same(second);
        let both = || {
            let both = is_change.then(|| changes(first.side(), second.side()));
            with(both.into_iter().flatten(), also.filter(|_| is_change))
        };
        let (count, frames) =
            both().fold((0, 0), |(count, frames), change| (count + 1, frames + stack(change.stack).len()));
        let mut places = Places::new(second.mappings(), first.mappings());
        let mut profile = Profile::new(later.time(), collector.interval().bytes());
        profile.reserve(count, frames);
        let mut found = Vec::with_capacity(count);
        let mut add = |places: &mut Places<'_>, side: Side, change: Change| {
            profile.push(stack(change.stack).map(|address| places.index(side, address)), [0; 4], 0);
            found.push(if is_reversed { change.reversed() } else { change });
        };
        for change in both() {
            if places.have_moved() && stack(change.stack).any(|address| places.has_moved(address)) {
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

/// `changes`, and between them the stacks that held something at `also` alone.
fn with<'m>(changes: impl Iterator<Item = Change> + 'm, also: Option<&'m Moment>) -> impl Iterator<Item = Change> + 'm {
    let mut changes = changes.peekable();
    let mut others = also.into_iter().flat_map(|moment| moment.side().cohorts.iter()).peekable();
    std::iter::from_fn(move || {
        let next = changes.peek().map(|change| change.stack);
        let other = others.peek().map(|cohort| cohort.stack);
        let stack = next.into_iter().chain(other).min()?;
        while others.next_if(|cohort| cohort.stack == stack).is_some() {}
        Some(changes.next_if(|change| change.stack == stack).unwrap_or(Change { stack, ..Change::default() }))
    })
}
