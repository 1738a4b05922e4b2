//! From snapshots to suspects.

use std::collections::HashMap;

use super::functions::{Function, Functions};
use super::tree::{GrowthTree, Origin};
use super::{Leaks, LetGo, Suspect};
use crate::analysis::growth::{Basis, Judgement, Shape, accuse};
use crate::analysis::{Membership, Series, Side, Site, changes, rises, series};
use crate::profile::{Place, Profile, SampleInterval, Trim, Trimmer};

/// So many sites are judged at most: those that grew most.
pub(super) const JUDGED: usize = 512;
/// So many functions are told of as suspects at most: those in which most grows. What judging them takes rises with their
/// number, and nobody reads more.
pub(super) const MOST_SUSPECTS: usize = 256;
/// Series are made and judged in parts of about so many bytes: each part takes a walk through all snapshots.
const SERIES_BYTES: usize = 16 << 20;
/// So many that were let go are told of at most.
const LET_GO: usize = 20;
/// A site that never rose by so many times R is not judged: it takes more to be told from chance.
const LEAST_RISE: f64 = 2.0;
/// One that rose by less than so many times R is not worth telling why it was let go: what sampling can see of a leak.
const TOLD_RISE: f64 = 9.0;

/// What the suspects are sought in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History<'a> {
    /// The stacks with their names.
    pub profile: &'a Profile,
    /// The numbers of the stacks of `profile.samples`.
    pub stacks: &'a [u32],
    /// The snapshots, oldest first.
    pub sides: &'a [Side<'a>],
    /// When they were taken.
    pub seconds: &'a [f64],
    /// How the heap was sampled.
    pub interval: SampleInterval,
    /// What of it can be judged: the snapshots begin where that does.
    pub basis: Basis,
}

impl History<'_> {
    fn judge(&self, series: &Series) -> Judgement {
        self.basis.judge(series, self.interval)
    }
}

/// Which sites grow without bound, and why the others that grew are not accused.
///
/// # Errors
///
/// Those of `go_on`, which is asked before everything that takes a while.
pub(crate) fn find<E>(history: &History<'_>, go_on: impl Fn() -> Result<(), E>) -> Result<Leaks, E> {
    let trimmer = Trimmer::of(history.profile, Trim::Std);
    let functions = Functions::of(history.profile);
    let sites = Sites::of(history, &trimmer, &functions);
    let mut risen = sites.risen(history);
    let not_judged = risen.len().saturating_sub(JUDGED);
    risen.truncate(JUDGED);
    let numbers: Vec<usize> = risen.iter().map(|risen| risen.site).collect();
    let judgements = judge_all(history, numbers.iter().map(|&site| sites.samples[site].as_slice()), &go_on)?;
    let accused = accuse(&judgements, sites.samples.len());

    let mut growth = Growth::new(history);
    let grown = judgements.iter().zip(&numbers).zip(&accused).filter(|(_, accused)| **accused);
    // Not gathered first: of a large heap they are many.
    let grown = grown.flat_map(|((judgement, &site), _)| growth.of(&sites.samples[site], judgement.start));
    go_on()?;
    let tree = GrowthTree::of(history.profile, &trimmer, &functions, grown);
    let accused_sites: HashMap<usize, &Judgement> = numbers
        .iter()
        .zip(&judgements)
        .zip(&accused)
        .filter(|(_, accused)| **accused)
        .map(|(pair, _)| (*pair.0, pair.1))
        .collect();
    let mut origins = tree.origins();
    let suspects_left_out = origins.len().saturating_sub(MOST_SUSPECTS);
    origins.truncate(MOST_SUSPECTS);
    // What is too thin to be seen at any one site may be seen where it comes together. No stack is in two of these.
    let rest: Vec<usize> =
        (0..history.stacks.len()).filter(|&sample| !accused_sites.contains_key(&sites.of_sample[sample])).collect();
    let groups = origins.iter().map(|origin| origin.samples.as_slice()).chain([rest.as_slice()]);
    let mut judged = judge_all(history, groups, &go_on)?;
    let together = judged.pop().unwrap_or_else(|| judge_one(history, &rest));
    let mut suspects: Vec<Suspect> = origins
        .into_iter()
        .zip(judged)
        .filter_map(|(origin, own)| {
            // A part of a site, or several together, may be harder to judge than the whole was.
            let whole =
                || origin.samples.iter().find_map(|sample| accused_sites.get(&sites.of_sample[*sample]).copied());
            let judgement = if own.shape == Shape::Unbounded { own } else { whole()?.clone() };
            Some(suspect(history, &trimmer, &mut growth, &origin, judgement))
        })
        .collect();

    let together_grows = accuse(std::slice::from_ref(&together), 1) == [true];
    if together_grows {
        let grown = growth.of(&rest, together.start);
        let origin = GrowthTree::of(history.profile, &trimmer, &functions, grown.into_iter()).deepest_common();
        let judged = origin.map(|origin| (judge_one(history, &origin.samples), origin));
        if let Some((judgement, origin)) = judged.filter(|(judgement, _)| judgement.shape == Shape::Unbounded) {
            suspects.push(suspect(history, &trimmer, &mut growth, &origin, judgement));
        }
    }
    suspects.sort_by(|a, b| b.judgement.growth.low.total_cmp(&a.judgement.growth.low));

    let told = TOLD_RISE * history.interval.bytes() as f64;
    let let_go =
        risen.iter().zip(judgements).zip(&accused).filter(|((risen, _), accused)| !**accused && risen.by >= told);
    let let_go: Vec<LetGo> = let_go
        .take(LET_GO)
        .map(|((risen, judgement), _)| LetGo {
            site: sites.site(history, &trimmer, risen.site),
            rise: risen.by,
            judgement,
        })
        .collect();
    Ok(Leaks {
        suspects,
        suspects_left_out,
        not_judged,
        let_go,
        together,
        together_grows,
        sites: sites.samples.len(),
        snapshots: history.sides.len(),
        seconds: history.seconds.last().copied().unwrap_or_default(),
    })
}

/// The stacks by their site's function: what one function allocates on several of its lines is one.
struct Sites {
    /// The samples of each site.
    samples: Vec<Vec<usize>>,
    /// The site of each sample.
    of_sample: Vec<usize>,
}

/// A site that held more at one time than at an earlier one.
struct Risen {
    site: usize,
    /// The most, in bytes.
    by: f64,
}

impl Sites {
    fn of(history: &History<'_>, trimmer: &Trimmer<'_>, functions: &Functions<'_>) -> Self {
        // The last one of stacks without frames.
        let mut numbers = vec![usize::MAX; functions.len() + 1];
        let mut samples: Vec<Vec<usize>> = Vec::new();
        let mut of_sample = Vec::with_capacity(history.stacks.len());
        for (index, sample) in history.profile.samples.iter().enumerate() {
            let function = trimmer.site_at(sample).and_then(|(location, line)| functions.number(location, line));
            let number = &mut numbers[function.map_or(functions.len(), |function| function as usize)];
            if *number == usize::MAX {
                *number = samples.len();
                samples.push(Vec::new());
            }
            samples[*number].push(index);
            of_sample.push(*number);
        }
        Self { samples, of_sample }
    }

    /// Those that rose, the most first.
    fn risen(&self, history: &History<'_>) -> Vec<Risen> {
        let mut members = Membership::default();
        for (&stack, &site) in history.stacks.iter().zip(&self.of_sample) {
            members.set(stack, site);
        }
        let least = LEAST_RISE * history.interval.bytes() as f64;
        let mut risen: Vec<Risen> = rises(history.sides, &members, self.samples.len())
            .into_iter()
            .enumerate()
            .map(|(site, by)| Risen { site, by })
            .filter(|risen| risen.by >= least)
            .collect();
        risen.sort_by(|a, b| b.by.total_cmp(&a.by).then(a.site.cmp(&b.site)));
        risen
    }

    fn site(&self, history: &History<'_>, trimmer: &Trimmer<'_>, site: usize) -> Site {
        let sample = self.samples[site].first().and_then(|&sample| history.profile.samples.get(sample));
        Site::of(sample.and_then(|sample| trimmer.site(sample)))
    }
}

/// A judgement of each of `groups` of samples, of which no two have one in common. All that fit into [`SERIES_BYTES`]
/// together take one walk through the history.
fn judge_all<'g, E>(
    history: &History<'_>,
    groups: impl Iterator<Item = &'g [usize]>,
    go_on: &impl Fn() -> Result<(), E>,
) -> Result<Vec<Judgement>, E> {
    let groups: Vec<&[usize]> = groups.collect();
    let at_once = at_once(history.sides.len());
    let mut judgements = Vec::with_capacity(groups.len());
    for groups in groups.chunks(at_once) {
        go_on()?;
        judgements.extend(series_of(history, groups).into_iter().map(|series| history.judge(&series)));
    }
    Ok(judgements)
}

/// How many series of so many snapshots fit into [`SERIES_BYTES`].
fn at_once(snapshots: usize) -> usize {
    (SERIES_BYTES / Series::size_bytes(snapshots)).max(1)
}

fn judge_one(history: &History<'_>, samples: &[usize]) -> Judgement {
    let series = series_of(history, &[samples]).pop();
    history.judge(&series.unwrap_or(Series { seconds: Vec::new(), points: Vec::new() }))
}

fn series_of(history: &History<'_>, groups: &[&[usize]]) -> Vec<Series> {
    let mut members = Membership::default();
    for (number, samples) in groups.iter().enumerate() {
        samples.iter().for_each(|&sample| members.set(history.stacks[sample], number));
    }
    series(history.sides, history.seconds, &members, groups.len())
}

/// Growth of each sample from one snapshot to the last, in bytes; found once for each first snapshot.
struct Growth<'a> {
    history: History<'a>,
    /// The sample of each stack.
    samples: Membership,
    known: HashMap<usize, Vec<f64>>,
}

impl<'a> Growth<'a> {
    fn new(history: &History<'a>) -> Self {
        let mut samples = Membership::default();
        history.stacks.iter().enumerate().for_each(|(sample, &stack)| samples.set(stack, sample));
        Self { history: *history, samples, known: HashMap::new() }
    }

    /// Of those samples, since the snapshot number `start`.
    fn of(&mut self, samples: &[usize], start: usize) -> Vec<(usize, f64)> {
        let History { sides, stacks, .. } = self.history;
        let known = self.known.entry(start).or_insert_with(|| {
            let mut growths = vec![0.0; stacks.len()];
            let Some((&first, &last)) = sides.get(start).zip(sides.last()) else { return growths };
            for change in changes(first, last) {
                if let Some(growth) = self.samples.get(change.stack).and_then(|sample| growths.get_mut(sample)) {
                    *growth = change.net_bytes();
                }
            }
            growths
        });
        samples.iter().map(|&sample| (sample, known.get(sample).copied().unwrap_or_default())).collect()
    }
}

fn suspect(
    history: &History<'_>,
    trimmer: &Trimmer<'_>,
    growth: &mut Growth<'_>,
    origin: &Origin<'_>,
    judgement: Judgement,
) -> Suspect {
    let growths = growth.of(&origin.samples, judgement.start);
    let risen: f64 = growths.iter().map(|(_, growth)| growth.max(0.0)).sum();
    let most = growths.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let sample = most.and_then(|(sample, _)| history.profile.samples.get(*sample));
    let path: Vec<Place<'_>> = sample.map(|sample| trimmer.path_to_site(sample).collect()).unwrap_or_default();
    // The deepest frame of that function: on a way that calls itself, the growth is at the innermost call.
    let at = path.iter().rposition(|place| Function::of(place) == origin.function);
    let site = at.and_then(|at| path.get(at));
    let above = at.map_or(&[][..], |at| &path[..at]);
    let called_from = above.iter().rev().find(|place| !place.is_of_a_dependency());
    let called_from = called_from.filter(|_| origin.function.is_foreign);
    Suspect {
        site: site.map_or_else(
            || Site {
                function: origin.function.name.clone().into_owned(),
                file: origin.function.file.to_owned(),
                line: 0,
            },
            |place| Site::of(Some(*place)),
        ),
        called_from: called_from.map(|place| Site::of(Some(*place))),
        stack: path.iter().rev().map(|place| Site::of(Some(*place))).collect(),
        stack_share: most.filter(|_| risen > 0.0).map_or(0.0, |(_, growth)| growth / risen),
        stacks: origin.samples.len(),
        judgement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_their_bound_however_many_snapshots_there_are() {
        for snapshots in [0, 1, 20, 64, 500] {
            let bytes = at_once(snapshots) * Series::size_bytes(snapshots);
            assert!(bytes <= SERIES_BYTES && bytes > SERIES_BYTES / 2, "{snapshots}: {bytes}");
        }
        assert_eq!(at_once(10_000), 1);
        // Those of twenty snapshots are judged in one walk.
        assert!(at_once(21) > JUDGED + MOST_SUSPECTS, "{}", at_once(21));
    }
}
