//! Which of many sites to accuse.

use super::{Judgement, Shape};
use crate::analysis::benjamini_hochberg;

/// The share of the accused that may be innocent by chance of sampling.
const FALSE_DISCOVERY_RATE: f64 = 0.01;

/// For each judgement, in their order, whether it is an accusation: its shape is [`Shape::Unbounded`], and its growth is
/// significant among that of all these sites (Benjamini and Hochberg, 1995, at 1%).
///
/// `sites` are all sites that there are, also those that were not worth judging.
pub(crate) fn accuse(judgements: &[Judgement], sites: usize) -> Vec<bool> {
    let mut p_values: Vec<f64> = judgements.iter().map(|judgement| judgement.p_value).collect();
    p_values.resize(sites.max(judgements.len()), 1.0);
    let tested = benjamini_hochberg(&p_values, FALSE_DISCOVERY_RATE);
    judgements
        .iter()
        .zip(tested)
        .map(|(judgement, tested)| tested.is_discovery && judgement.shape == Shape::Unbounded)
        .collect()
}
