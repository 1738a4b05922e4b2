//! What each site held, snapshot by snapshot.

use std::collections::HashMap;
use std::time::SystemTime;

use heapward::{Profiler, Selector, SnapshotInfo};

use crate::report::Growth;

/// How many snapshots are read: naming what is in them takes time, and this many halve and third the run.
const READ: usize = 13;

/// Some snapshots of a run, evenly apart from the first to the last, with what each site held at them.
#[derive(Debug)]
pub struct Series {
    /// Oldest first.
    pub times: Vec<SystemTime>,
    /// For each site as many values as there are times: estimated bytes.
    pub sites: HashMap<String, Vec<i64>>,
}

impl Series {
    /// `snapshots` is not empty.
    pub fn of(profiler: &Profiler, snapshots: &[SnapshotInfo]) -> heapward::Result<Self> {
        let last = snapshots.len() - 1;
        let chosen: Vec<&SnapshotInfo> = (0..READ).map(|n| &snapshots[last * n / (READ - 1)]).collect();
        let mut sites: HashMap<String, Vec<i64>> = HashMap::new();
        for (index, snapshot) in chosen.iter().enumerate() {
            for row in profiler.heap_profile(Selector::Id(snapshot.id))?.top(usize::MAX) {
                let held = sites.entry(row.function).or_insert_with(|| vec![0; READ]);
                held[index] += row.inuse_bytes;
            }
        }
        Ok(Self { times: chosen.iter().map(|snapshot| snapshot.time).collect(), sites })
    }

    /// The index of what was read at the share `numerator / denominator` of the run.
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
