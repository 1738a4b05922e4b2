//! What a child tells of its run: one line of JSON.

use serde::{Deserialize, Serialize};

/// Comes before the JSON, so that nothing else on a line can be taken for it.
pub const MARK: &str = "leak_corpus: ";

/// What heapward said of a workload, and what is true of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub name: String,
    /// Snapshots that heapward kept.
    pub snapshots: usize,
    /// The longest time between two of them.
    pub longest_gap_secs: f64,
    /// Whom heapward accuses.
    pub accused: Vec<Accused>,
    /// The sites that grew the most, whether accused or not.
    pub growth: Vec<Growth>,
    /// From the snapshot at a third of the run to the last.
    pub truth: Truth,
    /// Over the time that heapward looked at the one that it accuses first; as `truth` where it accuses nobody.
    pub truth_of_window: Truth,
    /// Why heapward let others go.
    pub let_go: Vec<String>,
    /// The most that the service held in the first half of the run and in the second, in bytes.
    pub peaks: [i64; 2],
    /// CPU time of the whole child.
    pub cpu_secs: f64,
    /// How long heapward took to say who leaks.
    pub verdict_secs: f64,
}

/// A site that is said to leak.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Accused {
    /// With the name of the function in it.
    pub site: String,
    /// In heapward's words.
    pub verdict: String,
    /// The snapshot from which on heapward looked at it.
    pub since: Option<u64>,
    /// Bytes over the time that heapward looked at.
    pub growth: Bounds,
    /// Bytes per second.
    pub rate: Bounds,
}

/// What a site held more in the last snapshot than in that at a third of the run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Growth {
    pub site: String,
    pub bytes: i64,
    /// What it held in the last one.
    pub held: i64,
}

/// An estimate, with the bounds between which the truth lies with 95% confidence.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Bounds {
    pub low: f64,
    pub estimate: f64,
    pub high: f64,
}

impl Bounds {
    pub fn contain(self, truth: f64) -> bool {
        (self.low..=self.high).contains(&truth)
    }
}

/// What the threads of the service really held, by jemalloc's own count.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Truth {
    /// Bytes that they held more at the later snapshot.
    pub growth: f64,
    /// Seconds between the two.
    pub secs: f64,
}
