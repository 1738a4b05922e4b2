//! What each site held, snapshot by snapshot.

use std::collections::HashMap;
use std::time::SystemTime;

use heapward::{Profiler, Selector, SnapshotInfo};

use crate::report::Growth;

/// The snapshots of a run with what each site held at them.
#[derive(Debug)]
pub struct Series {
    /// Oldest first.
    pub times: Vec<SystemTime>,
    /// For each site as many values as there are times: estimated bytes.
    pub sites: HashMap<String, Vec<i64>>,
}

impl Series {
    pub fn of(profiler: &Profiler, snapshots: &[SnapshotInfo]) -> heapward::Result<Self> {
        let mut sites: HashMap<String, Vec<i64>> = HashMap::new();
        for (index, snapshot) in snapshots.iter().enumerate() {
            for row in profiler.heap_profile(Selector::Id(snapshot.id))?.top(usize::MAX) {
                let held = sites.entry(row.function).or_insert_with(|| vec![0; snapshots.len()]);
                held[index] += row.inuse_bytes;
            }
        }
        Ok(Self { times: snapshots.iter().map(|snapshot| snapshot.time).collect(), sites })
    }

    /// The index of the snapshot at the share `numerator / denominator` of the run.
    pub fn at(&self, numerator: usize, denominator: usize) -> usize {
        (self.times.len() - 1) * numerator / denominator
    }

    /// Growth from the snapshot at a third to the last, largest first.
    pub fn growth(&self) -> Vec<Growth> {
        let third = self.at(1, 3);
        let growth = |(site, held): (&String, &Vec<i64>)| {
            let last = held[held.len() - 1];
            Growth { site: site.clone(), bytes: last - held[third], held: last }
        };
        let mut growth: Vec<Growth> = self.sites.iter().map(growth).collect();
        growth.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.site.cmp(&b.site)));
        growth
    }
}
