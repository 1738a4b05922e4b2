//! The renderer: the thread on which profiles are built and named, one at a time.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use super::shared::Shared;
use super::threads;
use crate::collect::{Collector, Source, StackId};
use crate::error::Result;
use crate::policy::Naming;
use crate::profile::{Address, Cohort, Frame, Location, Mapping, Profile, Sums, Totals, Unknown};
use crate::snapshot::Snapshot;
use crate::symbolize::{DEFAULT_CAPACITY, Lookup, SymbolCache};
use crate::system::loaded_mappings;

/// How many jobs may wait. Each is somebody's open request.
pub(super) const QUEUE: usize = 16;

/// What the renderer does.
pub(crate) enum Job {
    Work(Box<dyn FnOnce(&mut SymbolCache) + Send>),
    Stop,
}

/// Runs until it is told to stop, or nobody is left to tell it.
pub(super) fn run(jobs: &Receiver<Job>, shared: &Shared) {
    let mut cache = SymbolCache::new(DEFAULT_CAPACITY, shared.config().debug_dirs.clone());
    // The flag and not the job alone: the job is lost when the queue is full.
    while !shared.is_stopped() {
        let Ok(Job::Work(work)) = jobs.recv() else { return };
        threads::outlive("building a profile", || work(&mut cache), || shared.status().panics += 1);
    }
}

/// The heap as it is now.
pub(super) fn live(collector: &Collector, naming: &Naming, cache: &mut SymbolCache) -> Result<Profile> {
    let capture = collector.peek()?;
    Ok(build(
        &View {
            time: SystemTime::now(),
            cohorts: &capture.cohorts,
            totals: &capture.totals,
            mappings: &loaded_mappings(),
            dropped_objects: capture.dropped_objects,
            dropped_stacks: capture.dropped_stacks,
            partial: capture.partial.map(|partial| partial.reason()),
        },
        collector,
        naming,
        cache,
    ))
}

/// The heap as it was.
pub(super) fn snapshot(
    snapshot: &Snapshot,
    collector: &Collector,
    naming: &Naming,
    cache: &mut SymbolCache,
) -> Profile {
    build(
        &View {
            time: snapshot.time,
            cohorts: &snapshot.cohorts,
            totals: &snapshot.totals,
            mappings: &snapshot.mappings,
            dropped_objects: snapshot.dropped_objects,
            dropped_stacks: snapshot.dropped_stacks,
            partial: snapshot.partial,
        },
        collector,
        naming,
        cache,
    )
}

struct View<'a> {
    time: SystemTime,
    cohorts: &'a [Cohort],
    totals: &'a [Totals],
    mappings: &'a [Mapping],
    dropped_objects: u64,
    dropped_stacks: u64,
    partial: Option<&'static str>,
}

fn build(view: &View<'_>, collector: &Collector, naming: &Naming, cache: &mut SymbolCache) -> Profile {
    let mut profile = Profile::new(view.time, collector.interval().bytes());
    profile.mappings = view.mappings.to_vec();
    profile.comments = comments(view, collector);

    let stacks = merge(view.cohorts, view.totals);
    let frames = stacks.iter().map(|(stack, ..)| collector.stacks().frames(StackId(*stack)).len()).sum();
    profile.reserve(stacks.len(), frames);
    let mut known: HashMap<Address, u32> = HashMap::new();
    let mut locations = Vec::new();
    for (stack, live, totals) in stacks {
        let stack = collector.stacks().frames(StackId(stack)).map(|frame| {
            let address = frame.call_site();
            *known.entry(address).or_insert_with(|| {
                locations.push(Location {
                    address,
                    mapping: Mapping::find(view.mappings, address).map(|index| index as u32),
                    frame: Frame::Unknown(Unknown::NotAsked),
                });
                locations.len() as u32 - 1
            })
        });
        let values = [
            totals.estimated_objects.round() as i64,
            totals.estimated_bytes.round() as i64,
            live.estimated_objects.round() as i64,
            live.estimated_bytes.round() as i64,
        ];
        let (objects, bytes) =
            if live.objects > 0 { (live.objects, live.bytes) } else { (totals.objects, totals.bytes) };
        profile.push(stack, values, bytes.checked_div(objects).unwrap_or(0) as i64);
    }

    let lookup = match naming {
        Naming::Allowed => Lookup::Allowed,
        Naming::Declined(reason) => {
            profile.comments.push(reason.clone());
            Lookup::Declined
        }
    };
    let addresses = locations.iter().map(|location| location.address);
    let mut names = cache.resolve(addresses, view.mappings, lookup);
    for location in &mut locations {
        if let Some(frame) = names.remove(&location.address) {
            location.frame = frame;
        }
    }
    profile.comments.extend(unnamed(&locations));
    profile.locations = locations;
    profile
}

/// How many locations have no name, and why.
fn unnamed(locations: &[Location]) -> Option<String> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for location in locations {
        if let Frame::Unknown(unknown) = location.frame {
            match reasons.iter_mut().find(|(reason, _)| *reason == unknown.reason()) {
                Some((_, count)) => *count += 1,
                None => reasons.push((unknown.reason(), 1)),
            }
        }
    }
    let count: usize = reasons.iter().map(|(_, count)| count).sum();
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    (count > 0).then(|| format!("{count} of {} locations have no name: {}", locations.len(), reasons.join(", ")))
}

/// One row a stack, of those alive and those that ever allocated. Both lists are sorted by stack.
fn merge(cohorts: &[Cohort], totals: &[Totals]) -> Vec<(u32, Sums, Totals)> {
    let mut rows = Vec::with_capacity(totals.len());
    let mut cohorts = cohorts.chunk_by(|a, b| a.stack == b.stack).peekable();
    let mut totals = totals.iter().peekable();
    loop {
        let next = match (cohorts.peek().map(|group| group[0].stack), totals.peek().map(|total| total.stack)) {
            (None, None) => return rows,
            (Some(live), Some(total)) => live.min(total),
            (Some(stack), None) | (None, Some(stack)) => stack,
        };
        let mut live = Sums::default();
        if let Some(group) = cohorts.next_if(|group| group[0].stack == next) {
            group.iter().for_each(|cohort| live += cohort.live);
        }
        let total = totals.next_if(|total| total.stack == next).copied().unwrap_or_default();
        rows.push((next, live, total));
    }
}

/// What a reader of the profile must know before believing it.
fn comments(view: &View<'_>, collector: &Collector) -> Vec<String> {
    let mut comments = vec![format!("heapward {}", env!("CARGO_PKG_VERSION"))];
    comments.extend(view.partial.map(|reason| format!("partial: {reason}")));
    if view.dropped_objects > 0 {
        comments.push(format!(
            "partial: {} samples found no room in the live set so far, and those still alive are missing from inuse_* \
             (HEAPWARD_MAX_LIVE_SAMPLES)",
            view.dropped_objects
        ));
    }
    if view.dropped_stacks > 0 {
        comments.push(format!(
            "partial: {} samples have no stack, because the stack table was full (HEAPWARD_MAX_STACKS)",
            view.dropped_stacks
        ));
    }
    if collector.source() == Source::Dump {
        comments
            .push("alloc_* are zero: this jemalloc has no hooks, and its dumps tell only what is in use".to_owned());
    }
    comments
}
