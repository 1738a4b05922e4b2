//! Sampled heaps whose truth is known, for tests.

use super::{SampleInterval, Sums};

/// The sizes that objects have, and what a failure calls them.
pub(crate) type Kind = (&'static str, &'static [u64]);

pub(crate) const KINDS: [Kind; 4] = [
    ("256 B", &[256]),
    ("64 KiB", &[64 << 10]),
    ("1 MiB", &[1 << 20]),
    ("a mix of 256 B, 64 KiB and 1 MiB", &[256, 64 << 10, 1 << 20]),
];

/// splitmix64. Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Above 0 and below 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// One of the two whole numbers around `x`, such that the mean is `x`.
    pub(crate) fn round(&mut self, x: f64) -> u64 {
        (x + self.uniform()) as u64
    }

    /// How many of `objects` are sampled with chance `p` each: leaps from one to the next.
    pub(crate) fn binomial(&mut self, objects: u64, p: f64) -> u64 {
        let ln_q = (-p).ln_1p();
        let (mut at, mut sampled) = (0.0, 0);
        loop {
            at += (self.uniform().ln() / ln_q).floor() + 1.0;
            if at > objects as f64 {
                return sampled;
            }
            sampled += 1;
        }
    }
}

/// What is there, and what sampling sees of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heap {
    pub objects: f64,
    pub bytes: f64,
    pub sums: Sums,
}

impl Heap {
    /// As many objects of each of `sizes` as give equal shares of `expected` samples.
    pub(crate) fn with(sizes: &[u64], expected: f64, interval: SampleInterval, random: &mut Random) -> Self {
        let mut heap = Self::default();
        for &size in sizes {
            let objects = random.round(expected / sizes.len() as f64 / interval.probability(size));
            heap.add(size, objects, interval, random);
        }
        heap
    }

    /// `bytes` in all, the same of each of `sizes` to the byte when they divide it.
    pub(crate) fn of_bytes(sizes: &[u64], bytes: f64, interval: SampleInterval, random: &mut Random) -> Self {
        let mut heap = Self::default();
        for &size in sizes {
            heap.add(size, (bytes / sizes.len() as f64 / size as f64).round() as u64, interval, random);
        }
        heap
    }

    fn add(&mut self, size: u64, objects: u64, interval: SampleInterval, random: &mut Random) {
        self.objects += objects as f64;
        self.bytes += (objects * size) as f64;
        for _ in 0..random.binomial(objects, interval.probability(size)) {
            self.sums += interval.weigh(size);
        }
    }
}

/// 512 KiB, what heapward sets.
pub(crate) fn interval() -> SampleInterval {
    SampleInterval::from_lg(19).unwrap()
}
