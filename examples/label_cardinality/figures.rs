//! What one run measured.

use std::fmt;
use std::str::FromStr;

/// What one run measured, in bytes of usable size: what the allocator set aside for each object. As text it is one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// What the measuring thread allocated less what it freed, by jemalloc's own count.
    pub exact: f64,
    /// heapward's estimate of what the heap grew by.
    pub estimate: f64,
    /// The lower bound of its 95% interval.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
    /// Sampled objects that it rests on.
    pub samples: f64,
    /// The mean number of bytes between two samples.
    pub sample_interval: f64,
}

impl Figures {
    /// Whether the interval holds the exact growth. Half a byte is for the rounding of sums.
    pub fn holds(&self) -> bool {
        self.low - 0.5 <= self.exact && self.exact <= self.high + 0.5
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exact, estimate, low, high, samples, sample_interval } = self;
        write!(f, "{exact} {estimate} {low} {high} {samples} {sample_interval}")
    }
}

impl FromStr for Figures {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[exact, estimate, low, high, samples, sample_interval]) => {
                Ok(Self { exact, estimate, low, high, samples, sample_interval })
            }
            _ => Err(format!("its process printed `{line}`, not six numbers")),
        }
    }
}
