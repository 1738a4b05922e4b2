//! Which of many sites to accuse.

use super::{Judgement, Shape};

/// The share of the accused that may be innocent by chance of sampling.
const FALSE_DISCOVERY_RATE: f64 = 0.01;

/// For each judgement, in their order, whether it is an accusation: its shape is [`Shape::Unbounded`], and its growth is
/// significant among that of all these sites (Benjamini and Hochberg, 1995, at 1%).
pub(crate) fn accuse(judgements: &[Judgement]) -> Vec<bool> {
    let significant = significant(&judgements.iter().map(|judgement| judgement.p_value).collect::<Vec<_>>());
    judgements
        .iter()
        .zip(significant)
        .map(|(judgement, significant)| significant && judgement.shape == Shape::Unbounded)
        .collect()
}

/// The largest k with p₍ₖ₎ ≤ k·q/m, and all up to it.
fn significant(p_values: &[f64]) -> Vec<bool> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let bound = |rank: usize| (rank + 1) as f64 * FALSE_DISCOVERY_RATE / p_values.len() as f64;
    let limit = sorted.iter().enumerate().rev().find(|(rank, p)| **p <= bound(*rank)).map(|(_, p)| *p);
    p_values.iter().map(|p| limit.is_some_and(|limit| *p <= limit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the paper's section 3.2, at its 5% there, scaled to 1%: the first four of fifteen.
    #[test]
    fn is_the_procedure_of_the_paper() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        let scaled: Vec<f64> = p.iter().rev().map(|p| p / 5.0).collect();
        let found: Vec<usize> =
            significant(&scaled).iter().enumerate().filter(|(_, is)| **is).map(|(at, _)| at).collect();
        assert_eq!(found, [11, 12, 13, 14]);
        assert_eq!(significant(&[]), [] as [bool; 0]);
        assert_eq!(significant(&[f64::NAN, 0.0]), [false, true]);
    }
}
