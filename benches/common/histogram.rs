//! Times of very many calls, to within one percent.

use serde::{Deserialize, Serialize};

/// Buckets between two powers of two.
const STEPS: usize = 128;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    max: u64,
}

/// What is told of it, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Quantiles {
    pub calls: u64,
    pub p50: u64,
    pub p99: u64,
    pub p9999: u64,
    pub max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; STEPS * 64], max: 0 }
    }

    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.max = self.max.max(nanos);
    }

    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, others)| *mine += others);
        self.max = self.max.max(other.max);
    }

    pub fn quantiles(&self) -> Quantiles {
        let calls = self.counts.iter().sum();
        let at = |share: f64| self.quantile((calls as f64 * share).ceil() as u64);
        Quantiles { calls, p50: at(0.5), p99: at(0.99), p9999: at(0.9999), max: self.max }
    }

    /// The lower end of the bucket that the `rank`-th shortest call is in.
    fn quantile(&self, rank: u64) -> u64 {
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, lower_end)
    }
}

/// Exact below `STEPS`; from there on `STEPS` buckets to each power of two.
fn bucket(nanos: u64) -> usize {
    let bits = STEPS.ilog2();
    match nanos.checked_ilog2().filter(|&power| power > bits) {
        None => nanos as usize,
        Some(power) => (power - bits) as usize * STEPS + (nanos >> (power - bits)) as usize,
    }
}

fn lower_end(bucket: usize) -> u64 {
    match bucket.checked_sub(2 * STEPS) {
        None => bucket as u64,
        Some(above) => ((STEPS + above % STEPS) as u64) << (above / STEPS + 1),
    }
}
