//! Many tests at once: which of them are worth a look.

/// What became of one test among many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tested {
    /// The smallest share of false discoveries at which this test still counts as a discovery; at least its p-value.
    pub adjusted: f64,
    /// Whether that is at most the share asked for.
    pub is_discovery: bool,
}

/// Discoveries among which the expected share of false ones is at most `rate`; in the order of `p_values`. What is no
/// number counts as 1.
///
/// Source: Benjamini, Hochberg: Controlling the false discovery rate, Journal of the Royal Statistical Society B 57
/// (1995); adjusted values as in Yekutieli, Benjamini (1999).
pub(crate) fn benjamini_hochberg(p_values: &[f64], rate: f64) -> Vec<Tested> {
    let tests = p_values.len() as f64;
    let mut ranked: Vec<(usize, f64)> =
        p_values.iter().map(|p| if p.is_nan() { 1.0 } else { *p }).enumerate().collect();
    ranked.sort_unstable_by(|(_, a), (_, b)| a.total_cmp(b));
    let mut tested = vec![Tested { adjusted: 1.0, is_discovery: false }; p_values.len()];
    let mut least = 1.0f64;
    for (rank, (index, p)) in ranked.into_iter().enumerate().rev() {
        // Of p·tests false ones that are expected this small, `rank` + 1 were found.
        least = least.min(p * tests / (rank + 1) as f64);
        tested[index] = Tested { adjusted: least, is_discovery: least <= rate };
    }
    tested
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::simulation::Random;

    /// Thrombolysis in myocardial infarction: section 4.2 of the paper, which finds four at 5%; Bonferroni finds three.
    #[test]
    fn the_papers_own_example() {
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0000,
        ];
        let mut shuffled: Vec<f64> = p_values.to_vec();
        shuffled.rotate_left(6);
        shuffled.swap(0, 11);
        let tested = benjamini_hochberg(&shuffled, 0.05);
        for (p, Tested { adjusted, is_discovery }) in shuffled.iter().zip(&tested) {
            assert_eq!(*is_discovery, *p <= 0.0095, "{p}");
            assert!(adjusted >= p);
        }
        let adjusted = |p: f64| tested[shuffled.iter().position(|other| *other == p).unwrap()].adjusted;
        // p · 15 / rank, or a later one's where that is smaller.
        for (p, expect) in [(0.0001, 0.0015), (0.0095, 0.035_625), (0.0201, 0.0603), (0.0278, 0.063_857), (1.0, 1.0)] {
            assert!((adjusted(p) - expect).abs() < 1e-6, "{p}: {}", adjusted(p));
        }
    }

    #[test]
    fn adjusted_values_rise_with_p() {
        let mut random = Random::new(0x5eed_0003);
        let mut p_values: Vec<f64> = (0..1_000).map(|_| random.uniform().powi(3)).collect();
        p_values.sort_by(f64::total_cmp);
        let tested = benjamini_hochberg(&p_values, 0.1);
        assert!(tested.is_sorted_by(|a, b| a.adjusted <= b.adjusted));
        assert!(tested.iter().all(|test| test.adjusted <= 1.0 && test.is_discovery == (test.adjusted <= 0.1)));
    }

    #[test]
    fn what_is_no_number_is_no_discovery() {
        let [nan, found] = benjamini_hochberg(&[f64::NAN, 0.0], 0.05)[..] else { panic!("two") };
        assert!(!nan.is_discovery && found.is_discovery);
        assert!(benjamini_hochberg(&[], 0.05).is_empty());
    }
}
