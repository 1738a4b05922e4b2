//! Two moments side by side, with names.

use super::moment::Moment;
use super::places::{Places, Side};
use super::{Namer, Stacks};
use crate::analysis::{Change, changes};
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
        stacks: &Stacks,
        namer: &mut Namer<'_>,
    ) -> Self {
        let is_reversed = later.epoch() < base.epoch();
        let (first, second) = if is_reversed { (later, base) } else { (base, later) };
        let stack = |id: u32| stacks.frames(id).map(ReturnAddress::call_site);
        let mut found: Vec<Change> = Vec::new();
        // One that is compared with itself has not changed, also where a source tells no birthdays.
        if !first.is_same(second) {
            // As many as there may be: room that is not used is not touched.
            found.reserve_exact(stacks.len() + 1);
            found.extend(with(changes(first.side(), second.side()), also));
        }
        let mut places = Places::new(second.mappings(), first.mappings());
        let mut profile = Profile::new(later.time(), stacks.interval().bytes());
        profile.reserve(found.len(), found.iter().map(|change| stack(change.stack).len()).sum());
        let mut add = |places: &mut Places<'_>, side: Side, change: &Change| {
            profile.push(stack(change.stack).map(|address| places.index(side, address)), [0; 4], 0);
        };
        if places.have_moved() {
            for change in std::mem::take(&mut found) {
                if stack(change.stack).any(|address| places.has_moved(address)) {
                    // The addresses belonged to other code then.
                    let gone = Change { stack: change.stack, freed: change.before(), ..Change::default() };
                    let (freed, survived) = Default::default();
                    let new = Change { born: change.after(), freed, survived, ..change };
                    add(&mut places, Side::Base, &gone);
                    add(&mut places, Side::Later, &new);
                    found.extend([gone, new]);
                } else {
                    add(&mut places, Side::Later, &change);
                    found.push(change);
                }
            }
        } else {
            found.iter().for_each(|change| add(&mut places, Side::Later, change));
        }
        if is_reversed {
            found.iter_mut().for_each(|change| *change = change.reversed());
        }
        namer.set_of_earlier([base, later].iter().any(|moment| moment.run().is_some()));
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
