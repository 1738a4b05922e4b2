//! Which of many sites to accuse.

use super::{Judgement, Shape};

/// The share of the accused that may be innocent by chance of sampling.
const FALSE_DISCOVERY_RATE: f64 = 0.01;

/// For each judgement, in their order, whether it is an accusation: its shape is [`Shape::Unbounded`], and its growth is
/// significant among that of all these sites (Benjamini and Hochberg, 1995, at 1%).
///
/// `sites` are all sites that there are, also those that were not worth judging.
pub(crate) fn accuse(judgements: &[Judgement], sites: usize) -> Vec<bool> {
    let p_values: Vec<f64> = judgements.iter().map(|judgement| judgement.p_value).collect();
    let significant = significant(&p_values, sites.max(judgements.len()));
    judgements
        .iter()
        .zip(significant)
        .map(|(judgement, significant)| significant && judgement.shape == Shape::Unbounded)
        .collect()
}

/// The largest k with p₍ₖ₎ ≤ k·q/m, and all up to it.
fn significant(p_values: &[f64], tests: usize) -> Vec<bool> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let bound = |rank: usize| (rank + 1) as f64 * FALSE_DISCOVERY_RATE / tests as f64;
    let limit = sorted.iter().enumerate().rev().find(|(rank, p)| **p <= bound(*rank)).map(|(_, p)| *p);
    p_values.iter().map(|p| limit.is_some_and(|limit| *p <= limit)).collect()
}
