//! What is found out about the heap behind an alert, where little memory is left.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::{Duration, Instant};

use super::moment::{Moment, Row};
use super::places::{Places, Side};
use super::shared::COMPARED;
use super::{Asker, Namer, Shared, Stacks};
use crate::alerts::{AlertLeaks, AlertSite, Findings};
use crate::analysis::{Series, Top, TopRow};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{AlertRoom, Symbolize};
use crate::profile::{Address, INUSE_SPACE, Profile, ReturnAddress, Sums, Trim};
use crate::snapshot::Selector;

/// Sites that an alert names.
const SITES: usize = 3;
/// How long the search for leaks may take.
const LEAKS: Duration = Duration::from_secs(5);
/// Stacks whose names are looked up for an alert: so many that hold the most, and as many that grew most.
const STACKS: usize = 16;
/// So many frames of each, from the leaf on …
const FRAMES: usize = 48;
/// … and so many addresses in all, at most.
const ADDRESSES: usize = 512;

/// How much there is to go through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    stacks: u64,
    /// Of all of these.
    frames: u64,
}

impl Size {
    /// What listing the sites takes: for each stack a sample and what was sampled of it, 96 bytes, and a site for most; and for
    /// each frame its place's number.
    fn of_sites(self) -> u64 {
        (1 << 20) + 256 * self.stacks + 4 * self.frames
    }

    /// What the search for leaks takes: 56 MiB were seen at 131,072 stacks (README). The series are those of 512 sites, of
    /// which there are 16 MiB at once at most.
    fn of_leaks(self, snapshots: usize) -> u64 {
        let series = self.stacks.min(512).saturating_mul(Series::size_bytes(snapshots) as u64);
        self.of_sites() + 256 * self.stacks + series.min(16 << 20)
    }
}

impl Size {
    fn and(self, frames: usize) -> Self {
        Self { stacks: self.stacks + 1, frames: self.frames + frames as u64 }
    }
}

/// A site, and whether it has a name or an address.
struct Named {
    site: AlertSite,
    is_named: bool,
}

impl Shared {
    /// What can be found out about a snapshot, for the renderer's thread.
    pub(super) fn findings(&self, snapshot: u64, namer: &mut Namer<'_>) -> Findings {
        let room = AlertRoom::of(&self.last_cgroup());
        let unnamed = self.name_few(snapshot, &room, namer).err();
        let (sites, refused) = match self.largest_sites(snapshot, &room, namer) {
            Ok(sites) => (sites, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let has_unnamed = sites.iter().any(|site| !site.is_named);
        let remark = refused.or_else(|| unnamed.filter(|_| has_unnamed));
        Findings {
            sites: sites.into_iter().map(|site| site.site).collect(),
            remark: remark.map(|error| error.to_string()),
            leaks: self.leaks_of_alert(&room, namer).ok(),
        }
    }

    /// Has the names looked up and remembered that an alert about this snapshot would want, while there is room.
    pub(super) fn prepare_names(&self, snapshot: u64, namer: &mut Namer<'_>) {
        // What is missing then is told then.
        _ = self.name_few(snapshot, &AlertRoom::of(&self.last_cgroup()), namer);
    }

    /// Has the names looked up of the stacks that matter most, unless they are remembered.
    fn name_few(&self, snapshot: u64, room: &AlertRoom, namer: &mut Namer<'_>) -> Result<()> {
        let config = self.config();
        match (config.symbolize, namer.declined()) {
            (Symbolize::Auto, Some(_)) => room.check_few_names(config.symbolize_headroom)?,
            (_, Some(why)) => return Err(Error::new(ErrorKind::Busy, why)),
            (_, None) => {}
        }
        let latest = self.moment(Selector::Id(snapshot).into())?;
        let first = self.history().consecutive(None, COMPARED).into_iter().next().map(Moment::Kept);
        let stacks = Stacks::collected(self.collector());
        let addresses = addresses_of(&notable(&latest, first.as_ref()), |stack| stacks.frames(stack));
        namer.remember(addresses.into_iter(), latest.mappings());
        Ok(())
    }

    fn largest_sites(&self, snapshot: u64, room: &AlertRoom, namer: &mut Namer<'_>) -> Result<Vec<Named>> {
        let moment = self.moment(Selector::Id(snapshot).into())?;
        let stacks = Stacks::collected(self.collector());
        let size = live(&moment).fold(Size::default(), |size, row| size.and(stacks.frames(row.stack).len()));
        room.check("sites were not looked for", size.of_sites())?;
        let (profile, live) = profile(&moment, &stacks, size, namer);
        let top = Top::of(&profile, Some(&live), INUSE_SPACE, SITES, Trim::Std);
        Ok(top.rows.into_iter().map(named).collect())
    }

    fn leaks_of_alert(&self, room: &AlertRoom, namer: &mut Namer<'_>) -> Result<AlertLeaks> {
        let snapshots = self.history().consecutive(None, COMPARED);
        let mut is_alive = Vec::new();
        for cohort in snapshots.iter().flat_map(|snapshot| snapshot.cohorts.iter()) {
            let index = cohort.stack as usize;
            if index >= is_alive.len() {
                is_alive.resize(index + 1, false);
            }
            is_alive[index] = true;
        }
        let stacks = Stacks::collected(self.collector());
        let alive = (0..).zip(is_alive).filter_map(|(stack, is_alive)| is_alive.then_some(stack));
        let size = alive.fold(Size::default(), |size, stack| size.and(stacks.frames(stack).len()));
        room.check("leaks were not searched for", size.of_leaks(snapshots.len()))?;
        drop(snapshots);
        let asker = Asker::new();
        let report = self.leaks(namer, &asker.wanted().until(Instant::now() + LEAKS))?;
        let suspects = report.suspects.into_iter().map(|suspect| (suspect.site, suspect.evidence.verdict));
        Ok(AlertLeaks::new(report.summary, suspects))
    }
}

/// What holds anything.
fn live(moment: &Moment) -> impl Iterator<Item = Row> {
    moment.rows().filter(|row| row.live.objects > 0)
}

/// What is in use at `moment`, and what was sampled of it: less than a whole profile, which has all that was ever allocated.
fn profile(moment: &Moment, stacks: &Stacks, size: Size, namer: &mut Namer<'_>) -> (Profile, Vec<Sums>) {
    let mut places = Places::new(moment.mappings(), moment.mappings());
    let mut profile = Profile::new(moment.time(), stacks.interval().bytes());
    profile.reserve(size.stacks as usize, size.frames as usize);
    let mut sampled = Vec::with_capacity(size.stacks as usize);
    for row in live(moment) {
        let [.., objects, bytes] = row.values();
        let frames = stacks.frames(row.stack).map(|frame| places.index(Side::Later, frame.call_site()));
        profile.push(frames, [0, 0, objects, bytes], row.average_size());
        sampled.push(row.live);
    }
    places.name(namer);
    (profile.mappings, profile.locations) = (places.mappings, places.locations);
    (profile, sampled)
}

fn named(row: TopRow) -> Named {
    let bytes = row.values.get(INUSE_SPACE).copied().unwrap_or(0);
    // As places without a name print.
    let is_named = !row.site.file.is_empty() || !row.site.function.contains("+0x");
    let site = AlertSite::new(row.site, bytes, row.inuse.map(|inuse| (inuse.bytes.low, inuse.bytes.high)));
    Named { site, is_named }
}

/// The stacks that hold the most at `latest`, and those that hold more than at `first` by the most.
fn notable(latest: &Moment, first: Option<&Moment>) -> Vec<u32> {
    let mut before = first.into_iter().flat_map(live).peekable();
    let mut grown = |row: &Row| {
        while before.next_if(|before| before.stack < row.stack).is_some() {}
        let before =
            before.next_if(|before| before.stack == row.stack).map_or(0.0, |before| before.live.estimated_bytes);
        row.live.estimated_bytes - before
    };
    let (mut largest, mut most_grown) = (BinaryHeap::new(), BinaryHeap::new());
    for row in live(latest) {
        let grown = grown(&row);
        for (heap, bytes) in [(&mut largest, row.live.estimated_bytes), (&mut most_grown, grown)] {
            heap.push(Reverse((bytes.max(0.0) as u64, row.stack)));
            if heap.len() > STACKS {
                heap.pop();
            }
        }
    }
    // The most important first, in turn.
    let [largest, most_grown] = [largest, most_grown].map(BinaryHeap::into_sorted_vec);
    let in_turn = largest.into_iter().zip(most_grown).flat_map(|(one, other)| [one, other]);
    in_turn.map(|Reverse((_, stack))| stack).collect()
}

/// The places of the stacks' leaves, where sites are: [`ADDRESSES`] at most, those of the first stacks first.
fn addresses_of<F: Iterator<Item = ReturnAddress>>(stacks: &[u32], frames: impl Fn(u32) -> F) -> Vec<Address> {
    let mut known = HashSet::new();
    let frames = stacks.iter().flat_map(|&stack| frames(stack).take(FRAMES)).map(ReturnAddress::call_site);
    frames.filter(|address| known.insert(*address)).take(ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{Cohort, Cohorts};
    use crate::snapshot::{Snapshot, empty_snapshot};

    fn moment(live: impl IntoIterator<Item = (u32, u64)>) -> Moment {
        let cohort = |(stack, bytes)| Cohort {
            stack,
            epoch: 0,
            live: Sums { objects: 1, bytes, estimated_bytes: bytes as f64, ..Sums::default() },
        };
        let cohorts: Vec<Cohort> = live.into_iter().map(cohort).collect();
        Moment::Kept(Arc::new(Snapshot { cohorts: Cohorts::of(&cohorts), ..Snapshot::clone(&empty_snapshot(1, 0)) }))
    }

    #[test]
    fn the_stacks_that_matter_are_the_largest_and_those_that_grew() {
        // Large ones that stay as they are, and small ones of which one in ten grows.
        let before = |stack| if stack <= 100 { 1000 + u64::from(stack) } else { 10 };
        let after = |stack| before(stack) + if stack > 100 && stack % 10 == 0 { u64::from(stack) } else { 0 };
        let first = moment((1..=400).filter(|stack| stack % 7 > 0).map(|stack| (stack, before(stack))));
        let latest = moment((1..=400).filter(|stack| stack % 11 > 0).map(|stack| (stack, after(stack))));
        let found = notable(&latest, Some(&first));
        assert_eq!(found.len(), 2 * STACKS);
        let (largest, grown): (Vec<u32>, Vec<u32>) =
            (found.iter().copied().step_by(2).collect(), found.iter().copied().skip(1).step_by(2).collect());
        assert_eq!(largest[..4], [100, 98, 97, 96], "99 is gone");
        // What is new since is growth as well.
        assert_eq!(grown[..6], [98, 91, 84, 70, 63, 56]);
        assert!(grown.contains(&400) && grown.contains(&390), "{grown:?}");
        assert_eq!(notable(&moment([(5, 1)]), None), [5, 5]);
        assert!(notable(&moment([]), Some(&first)).is_empty());
    }

    #[test]
    fn few_addresses_are_looked_up_each_once() {
        let frames = |stack: u32| (0..200u64).map(move |at| ReturnAddress(1 + at.max(u64::from(stack) % 100) * 16));
        let stacks: Vec<u32> = (0..1000).collect();
        let found = addresses_of(&stacks[..1], frames);
        assert_eq!(found, (0..FRAMES as u64).map(|at| ReturnAddress(1 + at * 16).call_site()).collect::<Vec<_>>());
        assert_eq!(addresses_of(&stacks, frames).len(), 100, "those beyond are nearer to the root");
        let apart = |stack: u32| (0..200u64).map(move |at| ReturnAddress(1 + u64::from(stack) * 1_000_000 + at * 16));
        assert_eq!(addresses_of(&stacks, apart).len(), ADDRESSES);
    }

    #[test]
    fn small_heaps_take_little() {
        const MIB: u64 = 1 << 20;
        let size = |stacks, depth: u64| Size { stacks, frames: stacks * depth };
        // 15% of 128 and 256 MiB, and the reserve.
        for (stacks, limit) in [(8_000, 128), (32_000, 256)] {
            let needed = size(stacks, 40).of_leaks(22);
            assert!(needed < limit * MIB * 15 / 100 - 4 * MIB, "{stacks} stacks, {limit} MiB: {needed}");
        }
        // What the bench saw at its largest heap.
        assert!(size(131_072, 20).of_leaks(20) > 56 * MIB, "{}", size(131_072, 20).of_leaks(20));
    }
}
