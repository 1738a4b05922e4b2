//! The few distributions that judging takes.

use statrs::function::beta::checked_beta_reg;
use statrs::function::erf::erfc;

/// Above this sum of both, a Beta variable is as good as normal.
const MANY: f64 = 10_000.0;

/// I_x(a, b), the regularized incomplete beta function: the chance that a Beta(a, b) variable is at most `x`. `a`, `b` > 0.
pub(crate) fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if a + b > MANY {
        let mean = a / (a + b);
        let variance = mean * (1.0 - mean) / (a + b + 1.0);
        return 0.5 * erfc((mean - x) / (2.0 * variance).sqrt());
    }
    // Fails outside of the domain alone.
    checked_beta_reg(a, b, x).unwrap_or(1.0)
}

/// The value that a Beta(a, b) variable is at most with chance `p`.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Halved until a double has no more room.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if beta_cdf(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P[Binomial(n, ½) ≥ k] = I_½(k, n − k + 1), against the plain sum.
    #[test]
    fn is_the_binomial_tail_for_whole_numbers() {
        for n in [1u32, 5, 18, 60] {
            for k in 1..=n {
                let mut choose = 1.0;
                let mut tail = 0.0;
                for i in 0..=n {
                    if i >= k {
                        tail += choose;
                    }
                    choose *= f64::from(n - i) / f64::from(i + 1);
                }
                let expect = tail / 2f64.powi(n as i32);
                let found = beta_cdf(0.5, f64::from(k), f64::from(n - k + 1));
                assert!((found / expect - 1.0).abs() < 1e-8, "{n} {k}: {found} {expect}");
            }
        }
    }

    #[test]
    fn holds_for_fractions_and_for_many() {
        // Beta(1, b) and Beta(a, 1) have closed forms.
        for x in [0.01, 0.3, 0.77] {
            assert!((beta_cdf(x, 1.0, 3.5) - (1.0 - (1.0 - x).powf(3.5))).abs() < 1e-10);
            assert!((beta_cdf(x, 2.25, 1.0) - x.powf(2.25)).abs() < 1e-10);
        }
        assert!((beta_cdf(0.5, 1e6, 1e6) - 0.5).abs() < 1e-6);
        assert_eq!((beta_cdf(0.0, 2.0, 2.0), beta_cdf(1.0, 2.0, 2.0)), (0.0, 1.0));
    }

    #[test]
    fn a_quantile_is_the_inverse() {
        for (a, b) in [(1.0, 1.0), (1.0, 40.0), (30.0, 2.0)] {
            for p in [0.025, 0.5, 0.975] {
                assert!((beta_cdf(beta_quantile(p, a, b), a, b) - p).abs() < 1e-9, "{a} {b} {p}");
            }
        }
    }
}
