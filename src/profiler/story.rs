//! Moments one after the other, with names.

use std::convert::Infallible;

use super::Namer;
use super::moment::Moment;
use super::places::{Places, Side};
use crate::analysis::growth::{Basis, Circumstances};
use crate::analysis::{self, Leaks};
use crate::collect::{Collector, StackId};
use crate::profile::{Place, Profile, ReturnAddress, SampleInterval};

/// Moments one after the other, with the names of all stacks that hold something at any of them.
pub(crate) struct Story {
    moments: Vec<Moment>,
    /// When they were, from the first on.
    seconds: Vec<f64>,
    /// One sample for each of `stacks`, its values zero.
    profile: Profile,
    /// The numbers of the stacks.
    stacks: Vec<u32>,
    interval: SampleInterval,
    basis: Basis,
}

impl Story {
    /// Of `moments`, oldest first, each with its time in seconds; and how they came about. Those before the first that can be
    /// judged are left out.
    pub(super) fn of(
        mut moments: Vec<(f64, Moment)>,
        circumstances: &Circumstances,
        collector: &Collector,
        namer: &mut Namer<'_>,
    ) -> Self {
        let gaps: Vec<_> = moments.iter().map(|(_, moment)| (moment.id(), moment.gaps())).collect();
        let basis = Basis::of(&gaps, circumstances);
        moments.drain(..basis.start);
        let (seconds, moments): (Vec<f64>, Vec<Moment>) = moments.into_iter().unzip();
        let mut alive: Vec<bool> = Vec::new();
        for cohort in moments.iter().flat_map(|moment| moment.side().cohorts.iter()) {
            let index = cohort.stack as usize;
            if index >= alive.len() {
                alive.resize(index + 1, false);
            }
            alive[index] = true;
        }
        let mappings = |moment: Option<&'_ Moment>| moment.map_or(Vec::new(), |moment| moment.mappings().to_vec());
        let (first, last) = (mappings(moments.first()), mappings(moments.last()));
        let mut places = Places::new(&last, &first);
        let time = moments.last().map_or(std::time::SystemTime::UNIX_EPOCH, Moment::time);
        let mut profile = Profile::new(time, collector.interval().bytes());
        let stack = |id: u32| collector.stacks().frames(StackId(id)).map(ReturnAddress::call_site);
        let held = || (0u32..).zip(&alive).filter_map(|(stack, is_alive)| is_alive.then_some(stack));
        // Room for all at once: growing would copy, and leave the copies behind.
        let (count, frames) = held().fold((0, 0), |(count, frames), id| (count + 1, frames + stack(id).len()));
        profile.reserve(count, frames);
        let mut stacks = Vec::with_capacity(count);
        let mut moved = 0u32;
        for id in held() {
            let frames = || stack(id);
            // What the same addresses did before belongs to other code.
            if frames().any(|address| places.has_moved(address)) {
                moved += 1;
                continue;
            }
            profile.push(frames().map(|address| places.index(Side::Later, address)), [0; 4], 0);
            stacks.push(id);
        }
        namer.set_of_earlier(false);
        places.name(namer);
        profile.comments = moments.last().map(Moment::remarks).unwrap_or_default();
        profile.comments.extend(places.why_unnamed(namer));
        if moved > 0 {
            profile.comments.push(format!(
                "{moved} stacks pass through files that were loaded or unloaded meanwhile, and are left out"
            ));
        }
        (profile.mappings, profile.locations) = (places.mappings, places.locations);
        let start = seconds.first().copied().unwrap_or_default();
        let seconds = seconds.into_iter().map(|at| at - start).collect();
        Self { moments, seconds, profile, stacks, interval: collector.interval(), basis }
    }

    /// Leaves out the stacks whose frames, leaf first, `keep` says no to.
    pub(super) fn retain(&mut self, keep: impl Fn(&mut dyn Iterator<Item = Place<'_>>) -> bool) {
        let profile = &self.profile;
        let kept: Vec<bool> = profile
            .samples
            .iter()
            .map(|sample| {
                let locations = profile.stack(sample).iter().filter_map(|&at| profile.locations.get(at as usize));
                keep(&mut locations.flat_map(|location| profile.places(location)))
            })
            .collect();
        let mut samples = kept.iter();
        self.profile.samples.retain(|_| samples.next().is_some_and(|kept| *kept));
        let mut stacks = kept.iter();
        self.stacks.retain(|_| stacks.next().is_some_and(|kept| *kept));
    }

    /// What grows without bound, and what was let go.
    pub(crate) fn leaks(&self) -> Leaks {
        let Ok(leaks) = self.leaks_while::<Infallible>(|| Ok(()));
        leaks
    }

    /// The same for as long as `go_on` says yes.
    ///
    /// # Errors
    ///
    /// Those of `go_on`.
    pub(crate) fn leaks_while<E>(&self, go_on: impl Fn() -> Result<(), E>) -> Result<Leaks, E> {
        let history = analysis::History {
            profile: &self.profile,
            stacks: &self.stacks,
            sides: &self.moments.iter().map(Moment::side).collect::<Vec<_>>(),
            seconds: &self.seconds,
            interval: self.interval,
            basis: self.basis,
        };
        analysis::find_leaks(&history, go_on)
    }

    /// The moments, oldest first.
    pub(crate) fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// What of the history can be judged.
    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// How the heap was sampled.
    pub(crate) fn interval(&self) -> SampleInterval {
        self.interval
    }

    /// Remarks for the reader.
    pub(crate) fn comments(&self) -> &[String] {
        &self.profile.comments
    }
}
