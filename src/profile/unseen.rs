//! How much there may be that was not sampled.
//!
//! A sample taken with chance p stands for itself and for a number of unseen objects whose law is geometric: mean q/p,
//! variance q/p², with q = 1 − p. For n samples of one size, the unseen u are negative binomial, and what is known of
//! them is the test that asks, for each u, how well n seen of n + u drawn with chance p agree. Counting the outcome
//! itself by half (mid-p) makes the test as sure as it says on average, neither timid nor bold:
//!
//! ```text
//! G(u) = P(more than n seen of n + u) + ½ P(n seen of n + u) = ½ [I_p(n, u + 1) + I_p(n + 1, u)]
//! ```
//!
//! with I the regularised incomplete beta function. The bounds of u are where G leaves the two tails over. It becomes
//! the Poisson mid-p interval for p → 0 and a point for p = 1. Samples of several sizes are treated as those of one
//! size that have the same mean, the same variance and the same share of what is there.
//!
//! Source of mid-p intervals: Berry, Armitage: Mid-P confidence intervals, a brief review, The Statistician 44 (1995).

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::ln_gamma;

/// What lies outside of an interval on each side: Φ(−2), a little less than 2.5%, because mid-p intervals of 5 to 30
/// samples would hold the truth in less than 93% of heaps for some numbers of objects, whole numbers being coarse.
const TAIL: f64 = 0.022_750_13;
/// What lies at Φ⁻¹(1 − TAIL).
const TAIL_DEVIATE: f64 = 2.0;
/// From this many samples on the normal law is as good, with the usual 2.5% on each side.
const MANY: f64 = 100.0;
/// Φ⁻¹(0.975).
pub(super) const NORMAL_DEVIATE: f64 = 1.959_964;
/// Smaller chances change bounds by less than this share; the beta function takes longer for them.
const LEAST_CHANCE: f64 = 1e-4;
/// Unseen shares below this one are what rounding leaves of nothing.
const NEGLIGIBLE: f64 = 1e-9;

/// Bounds of what is there, of bytes or of objects: `seen` by samples, `estimate` of all, and its `variance`.
/// At least `seen`, because what was seen is there.
pub(super) fn bounds(seen: f64, estimate: f64, variance: f64) -> (f64, f64) {
    let mean = estimate - seen;
    let normal = || {
        let half = NORMAL_DEVIATE * variance.max(0.0).sqrt();
        ((estimate - half).max(seen).min(estimate), estimate + half)
    };
    let is_uncertain = mean > NEGLIGIBLE * estimate && variance > 0.0 && variance.is_finite();
    if !is_uncertain {
        return normal();
    }
    let p = (seen / estimate).max(LEAST_CHANCE);
    let q = 1.0 - p;
    let samples = mean * mean / (variance * q);
    if samples >= MANY {
        return normal();
    }
    let unit = p * variance / mean;
    let low = quantile(samples, p, Side::Low);
    let high = quantile(samples, p, Side::High);
    ((seen + unit * low).min(estimate), (seen + unit * high).max(estimate))
}

/// A side of the interval.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Low,
    High,
}

/// The u ≥ 0 beyond which, on this side, G leaves [`TAIL`] over; 0 where there is no such u.
fn quantile(samples: f64, p: f64, side: Side) -> f64 {
    let g = Confidence::of(samples, p);
    // The logarithm of the tail is nearly straight, G is not. Rises with u for the lower side and falls for the upper.
    let error = |u: f64| {
        let (value, slope) = g.at(u);
        match side {
            Side::Low => ((value / TAIL).ln(), slope / value),
            Side::High => (-((1.0 - value) / TAIL).ln(), slope / (1.0 - value)),
        }
    };
    if error(0.0).0 >= 0.0 {
        return 0.0;
    }
    // Wilson and Hilferty's cube root for the gamma law of about this mean and variance.
    let shape = (samples + 0.5) * (1.0 - p);
    let deviate = if side == Side::Low { -TAIL_DEVIATE } else { TAIL_DEVIATE };
    let root = 1.0 - 1.0 / (9.0 * shape) + deviate / (3.0 * shape.sqrt());
    let mut u = (shape * root * root * root / p).max(0.01 * samples / p);
    // Secants, the first one a tangent; where one would leave what is known of the place, the middle.
    let (mut below, mut above) = (0.0, f64::INFINITY);
    let (mut value, mut slope) = error(u);
    for _ in 0..60 {
        if value < 0.0 {
            below = u
        } else {
            above = u
        }
        let next = match u - value / slope {
            secant if secant > below && secant < above => secant,
            _ if above.is_finite() => 0.5 * (below + above),
            _ => 2.0 * u,
        };
        let step = next - u;
        if step.abs() <= 1e-4 * u {
            return next;
        }
        let (next_value, _) = error(next);
        slope = (next_value - value) / step;
        (u, value) = (next, next_value);
    }
    u
}

/// G, see above, for real numbers of samples.
struct Confidence {
    samples: f64,
    p: f64,
    ln_p: f64,
    ln_q: f64,
    /// ln Γ(samples + 1).
    ln_factorial: f64,
}

impl Confidence {
    fn of(samples: f64, p: f64) -> Self {
        Self { samples, p, ln_p: p.ln(), ln_q: (-p).ln_1p(), ln_factorial: ln_gamma(samples + 1.0) }
    }

    /// G(u) and about its slope.
    fn at(&self, u: f64) -> (f64, f64) {
        let r = self.samples;
        // I_p(r, u + 1) − I_p(r + 1, u), the chance of just what was seen.
        let outcome =
            (ln_gamma(r + u + 1.0) - self.ln_factorial - ln_gamma(u + 1.0) + r * self.ln_p + u * self.ln_q).exp();
        let at_least = checked_beta_reg(r, u + 1.0, self.p).unwrap_or(0.0);
        (at_least - 0.5 * outcome, outcome * r / (r + u))
    }
}
