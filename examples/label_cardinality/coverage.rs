//! How often intervals held the truth, and how often they should.

/// What a 95% interval promises.
const PROMISED: f64 = 0.95;

/// How many of how many intervals held the exact growth.
#[derive(Clone, Copy)]
pub struct Coverage {
    pub held: usize,
    pub of: usize,
}

impl Coverage {
    pub fn of(held: impl Iterator<Item = bool>) -> Self {
        held.fold(Self { held: 0, of: 0 }, |all, held| Self { held: all.held + usize::from(held), of: all.of + 1 })
    }

    /// With right intervals, fewer hold the truth in at most 5 of 1,000 cases.
    pub fn least_expected(self) -> usize {
        self.of - self.misses(0.995)
    }

    /// With right intervals, more do in at most 5 of 1,000 cases.
    pub fn most_expected(self) -> usize {
        self.of - self.misses(0.005)
    }

    /// The smallest number of misses that is not exceeded with a chance of `share`: a binomial variable's quantile.
    fn misses(self, share: f64) -> usize {
        let missed = 1.0 - PROMISED;
        let mut chance = PROMISED.powi(self.of as i32);
        let mut sum = chance;
        let mut misses = 0;
        while sum < share && misses < self.of {
            chance *= (self.of - misses) as f64 / (misses + 1) as f64 * missed / PROMISED;
            misses += 1;
            sum += chance;
        }
        misses
    }
}
