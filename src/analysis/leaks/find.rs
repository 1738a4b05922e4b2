//! From snapshots to suspects.

use std::collections::HashMap;

use super::tree::{Function, GrowthTree, Origin};
use super::{Leaks, LetGo, Suspect};
use crate::analysis::growth::{Basis, Judgement, Shape, accuse};
use crate::analysis::{Membership, Series, Side, Site, changes, levels, series};
use crate::profile::{Place, Profile, SampleInterval, Sums, Trim, Trimmer};

/// So many sites are judged at most: those that grew most.
const JUDGED: usize = 512;
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
pub(crate) fn find(history: &History<'_>) -> Leaks {
    let trimmer = Trimmer::of(history.profile, Trim::Std);
    let sites = Sites::of(history, &trimmer);
    let risen = sites.risen(history);
    let numbers: Vec<usize> = risen.iter().map(|risen| risen.site).collect();
    let all = sites.series(history, &numbers);
    let judgements: Vec<Judgement> = all.iter().map(|series| history.judge(series)).collect();
    let accused = accuse(&judgements, sites.samples.len());

    let mut growth = Growth::new(history);
    let grown = judgements.iter().zip(&numbers).zip(&accused).filter(|(_, accused)| **accused);
    let grown: Vec<(usize, f64)> =
        grown.flat_map(|((judgement, &site), _)| growth.of(&sites.samples[site], judgement.start)).collect();
    let tree = GrowthTree::of(history.profile, &trimmer, grown.iter().copied());
    let accused_sites: HashMap<usize, &Judgement> = numbers
        .iter()
        .zip(&judgements)
        .zip(&accused)
        .filter(|(_, accused)| **accused)
        .map(|(pair, _)| (*pair.0, pair.1))
        .collect();
    let mut suspects: Vec<Suspect> = tree
        .origins()
        .into_iter()
        .filter_map(|origin| {
            let own = history.judge(&series_of(history, &origin.samples));
            // A part of a site, or several together, may be harder to judge than the whole was.
            let whole =
                || origin.samples.iter().find_map(|sample| accused_sites.get(&sites.of_sample[*sample]).copied());
            let judgement = if own.shape == Shape::Unbounded { own } else { whole()?.clone() };
            Some(suspect(history, &trimmer, &mut growth, &origin, judgement))
        })
        .collect();

    // What is too thin to be seen at any one site may be seen where it comes together.
    let rest: Vec<usize> =
        (0..history.stacks.len()).filter(|&sample| !accused_sites.contains_key(&sites.of_sample[sample])).collect();
    let together = history.judge(&series_of(history, &rest));
    let together_grows = accuse(std::slice::from_ref(&together), 1) == [true];
    if together_grows {
        let grown = growth.of(&rest, together.start);
        let origin = GrowthTree::of(history.profile, &trimmer, grown.into_iter()).deepest_common();
        let judged = origin.map(|origin| (history.judge(&series_of(history, &origin.samples)), origin));
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
    Leaks {
        suspects,
        let_go,
        together,
        together_grows,
        sites: sites.samples.len(),
        snapshots: history.sides.len(),
        seconds: history.seconds.last().copied().unwrap_or_default(),
    }
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
    fn of(history: &History<'_>, trimmer: &Trimmer<'_>) -> Self {
        let mut numbers: HashMap<Option<Function<'_>>, usize> = HashMap::new();
        let mut samples: Vec<Vec<usize>> = Vec::new();
        let mut of_sample = Vec::with_capacity(history.stacks.len());
        for (index, sample) in history.profile.samples.iter().enumerate() {
            let function = trimmer.site(sample).map(|place| Function::of(&place));
            let number = *numbers.entry(function).or_insert(samples.len());
            if number == samples.len() {
                samples.push(Vec::new());
            }
            samples[number].push(index);
            of_sample.push(number);
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
        let mut risen: Vec<Risen> = levels(history.sides, &members, self.samples.len())
            .iter()
            .enumerate()
            .map(|(site, levels)| Risen { site, by: rise(levels) })
            .filter(|risen| risen.by >= least)
            .collect();
        risen.sort_by(|a, b| b.by.total_cmp(&a.by).then(a.site.cmp(&b.site)));
        risen.truncate(JUDGED);
        risen
    }

    fn series(&self, history: &History<'_>, sites: &[usize]) -> Vec<Series> {
        let mut members = Membership::default();
        for (number, &site) in sites.iter().enumerate() {
            self.samples[site].iter().for_each(|&sample| members.set(history.stacks[sample], number));
        }
        series(history.sides, history.seconds, &members, sites.len())
    }

    fn site(&self, history: &History<'_>, trimmer: &Trimmer<'_>, site: usize) -> Site {
        let sample = self.samples[site].first().and_then(|&sample| history.profile.samples.get(sample));
        Site::of(sample.and_then(|sample| trimmer.site(sample)))
    }
}

/// The most by which it was ever higher than before.
fn rise(levels: &[Sums]) -> f64 {
    let mut lowest = f64::INFINITY;
    levels.iter().fold(0.0_f64, |rise, level| {
        lowest = lowest.min(level.estimated_bytes);
        rise.max(level.estimated_bytes - lowest)
    })
}

fn series_of(history: &History<'_>, samples: &[usize]) -> Series {
    let mut members = Membership::default();
    samples.iter().for_each(|&sample| members.set(history.stacks[sample], 0));
    let mut all = series(history.sides, history.seconds, &members, 1);
    all.pop().unwrap_or(Series { seconds: Vec::new(), points: Vec::new() })
}

/// Growth of each stack from one snapshot to the last, in bytes; found once for each first snapshot.
struct Growth<'a> {
    history: History<'a>,
    known: HashMap<usize, HashMap<u32, f64>>,
}

impl<'a> Growth<'a> {
    fn new(history: &History<'a>) -> Self {
        Self { history: *history, known: HashMap::new() }
    }

    /// Of those samples, since the snapshot number `start`.
    fn of(&mut self, samples: &[usize], start: usize) -> Vec<(usize, f64)> {
        let History { sides, stacks, .. } = self.history;
        let known = self.known.entry(start).or_insert_with(|| match (sides.get(start), sides.last()) {
            (Some(&first), Some(&last)) => changes(first, last)
                .map(|change| (change.stack, change.born.estimated_bytes - change.freed.estimated_bytes))
                .collect(),
            _ => HashMap::new(),
        });
        samples.iter().map(|&sample| (sample, known.get(&stacks[sample]).copied().unwrap_or_default())).collect()
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
