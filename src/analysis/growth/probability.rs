//! The few distributions that judging takes.

use std::f64::consts::PI;

/// I_x(a, b), the regularized incomplete beta function: the chance that a Beta(a, b) variable is at most `x`.
///
/// By the continued fraction DLMF 8.17.22, with Lentz's method. `a`, `b` > 0.
pub(crate) fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side of the mean; the other is its mirror image.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf(1.0 - x, b, a);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    (front.exp() / a / beta_fraction(x, a, b)).clamp(0.0, 1.0)
}

/// 1 + d₁/(1 + d₂/(1 + …)) of DLMF 8.17.22.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // √max(a, b) steps suffice; counts here stay far below 10⁸.
    const MOST_STEPS: u32 = 10_000;
    let floor = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut value, mut c, mut d) = (1.0_f64, 1.0_f64, 0.0_f64);
    for step in 1..=MOST_STEPS {
        let m = f64::from(step / 2);
        let term = if step % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / floor(1.0 + term * d);
        c = floor(1.0 + term / c);
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-12 {
            break;
        }
    }
    value
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

/// ln Γ(x) for x > 0: Stirling's series (DLMF 5.11.1), after lifting x above 10.
fn ln_gamma(x: f64) -> f64 {
    let mut lifted = x;
    let mut product = 1.0;
    while lifted < 10.0 {
        product *= lifted;
        lifted += 1.0;
    }
    let inverse = 1.0 / lifted;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (lifted - 0.5) * lifted.ln() - lifted + 0.5 * (2.0 * PI).ln() + series - product.ln()
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
