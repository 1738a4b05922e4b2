//! What was measured, by case and round.

use std::collections::HashMap;
use std::process::Command;

use serde_json::json;

use crate::common::{Report, Result, median};
use crate::variant::{Told, Variant};
use crate::workload::{Took, chance};

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    pub variant: Variant,
    /// Base 2 logarithm of the sample interval, where there is one.
    pub lg: u32,
    /// As jemalloc's unwinder sees them.
    pub frames: u32,
    pub threads: usize,
}

impl Case {
    /// The child that runs it. `base` frames are there without a call of ours.
    pub fn command(self, base: usize, allocations: usize) -> Result<Command> {
        let calls = (self.frames as usize).checked_sub(base).ok_or("the stack is deeper than that to begin with")?;
        let (calls, threads, allocations) = (calls.to_string(), self.threads.to_string(), allocations.to_string());
        self.variant.command(self.lg, &[&calls, &threads, &allocations])
    }

    /// The case that it is compared with.
    fn off(self) -> Self {
        Self { variant: Variant::Off, lg: 19, ..self }
    }

    fn chance(self) -> f64 {
        chance((1u64 << self.lg) as f64)
    }
}

/// One process.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Per allocation of a thread.
    nanos: f64,
    cpu_nanos: f64,
    frames_seen: Option<f64>,
    /// Of its stacks, the part that is not whole.
    truncated: Option<f64>,
}

impl Run {
    pub fn of(case: Case, allocations: usize, threads: &[Took], told: Option<Told>) -> Result<Self> {
        let each = 1e9 / allocations as f64 / threads.len() as f64;
        let (wall, cpu) = threads.iter().fold((0.0, 0.0), |(wall, cpu), took| {
            (wall + took.wall.as_secs_f64() * each, cpu + took.cpu.as_secs_f64() * each)
        });
        if let Some(told) = &told {
            // All of them, also those of getting warm. A bar is not met by measuring less.
            let expect = (allocations + allocations / 8) as f64 * threads.len() as f64 * case.chance();
            let off = (told.samples as f64 - expect).abs();
            if off > 6.0 * expect.sqrt() + 0.01 * expect || told.dropped > 0 {
                return Err(format!("{case:?}: {told:?}, where {expect:.0} samples were expected").into());
            }
        }
        let frames_seen = told.as_ref().map(|told| told.frames as f64 / told.stacks as f64);
        let truncated = told.and_then(|told| Some(told.truncated? as f64 / told.samples as f64));
        Ok(Self { nanos: wall, cpu_nanos: cpu, frames_seen, truncated })
    }
}

/// One figure beside another.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    pub median: f64,
    /// Of all rounds.
    pub least: f64,
    pub most: f64,
    /// The same of the threads' CPU time.
    pub cpu: f64,
    /// The same of instructions, where they were counted.
    pub instructions: Option<f64>,
}

impl Ratio {
    fn of(wall: Vec<f64>, cpu: Vec<f64>, instructions: Option<f64>) -> Self {
        Self {
            median: median(wall.iter().copied()),
            least: wall.iter().copied().fold(f64::INFINITY, f64::min),
            most: wall.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            cpu: median(cpu.into_iter()),
            instructions,
        }
    }
}

/// A time of a run.
type Figure = fn(&Run) -> f64;

const WALL: Figure = |run| run.nanos;
const CPU: Figure = |run| run.cpu_nanos;

/// All of it. Rounds are in order, so that those of one number ran beside each other.
#[derive(Default)]
pub struct Measured {
    runs: HashMap<Case, Vec<Run>>,
    instructions: HashMap<Case, f64>,
}

impl Measured {
    pub fn add(&mut self, case: Case, run: Run) {
        self.runs.entry(case).or_default().push(run);
    }

    /// Notes how many instructions an allocation takes.
    pub fn count(&mut self, case: Case, instructions: f64) {
        self.instructions.insert(case, instructions);
    }

    fn times(&self, figure: Figure, case: Case) -> impl Iterator<Item = f64> {
        self.runs.get(&case).into_iter().flatten().map(figure)
    }

    /// What a sample adds, by round.
    fn extras(&self, figure: Figure, case: Case) -> impl Iterator<Item = f64> {
        let pairs = self.times(figure, case).zip(self.times(figure, case.off()));
        pairs.map(move |(with, off)| (with - off) / case.chance())
    }

    fn extra_instructions(&self, case: Case) -> Option<f64> {
        Some((self.instructions.get(&case)? - self.instructions.get(&case.off())?) / case.chance())
    }

    fn have_run(&self, cases: &[Case]) -> Result<(), String> {
        let missing = cases.iter().find(|case| !self.runs.contains_key(case));
        missing.map_or(Ok(()), |case| Err(format!("`{}` was not run", case.variant.name())))
    }

    /// What a sample adds, beside what one adds in another case; an error where that drowns in what else the machine did.
    pub fn extra(&self, case: Case, beside: Case) -> Result<Ratio, String> {
        self.have_run(&[case, beside, case.off(), beside.off()])?;
        if self.extras(WALL, case).chain(self.extras(WALL, beside)).any(|extra| extra <= 0.0) {
            return Err("the machine was too busy: in some round, sampling cost less than nothing".to_owned());
        }
        let ratios = |figure| {
            let pairs = self.extras(figure, case).zip(self.extras(figure, beside));
            pairs.map(|(extra, other)| extra / other).collect()
        };
        let instructions = self.extra_instructions(case).zip(self.extra_instructions(beside));
        Ok(Ratio::of(ratios(WALL), ratios(CPU), instructions.map(|(extra, other)| extra / other)))
    }

    /// The throughput of each of two threads beside that of one, beside the same of another case.
    pub fn scaling(&self, own: [Case; 2], other: [Case; 2]) -> Result<Ratio, String> {
        self.have_run(&[own, other].concat())?;
        let ratios = |figure| {
            let scaling = |[one, two]: [Case; 2]| {
                self.times(figure, one).zip(self.times(figure, two)).map(|(one, two)| one / two)
            };
            scaling(own).zip(scaling(other)).map(|(own, other)| own / other).collect()
        };
        Ok(Ratio::of(ratios(WALL), ratios(CPU), None))
    }

    pub fn print(&self, report: &mut Report, case: Case) {
        let Some(runs) = self.runs.get(&case) else { return };
        let off = self.times(WALL, case.off());
        let sampled = case.variant.samples();
        let more = json!({
            "throughput_percent": median(self.times(WALL, case).zip(off).map(|(nanos, off)| 100.0 * off / nanos)),
            "extra_ns_per_sample": sampled.then(|| median(self.extras(WALL, case))),
            "cpu_ns": median(self.times(CPU, case)),
            "ns_least": self.times(WALL, case).fold(f64::INFINITY, f64::min),
            "ns_most": self.times(WALL, case).fold(0.0, f64::max),
            "instructions": self.instructions.get(&case),
            "extra_instructions_per_sample": self.extra_instructions(case).filter(|_| sampled),
            "truncated_share": runs.iter().filter_map(|run| run.truncated).next_back(),
            "frames_seen": runs.iter().filter_map(|run| run.frames_seen).next_back(),
        });
        let parameters = json!({
            "interval_kib": sampled.then_some((1u64 << case.lg) >> 10),
            "frames": case.frames,
            "threads": case.threads,
        });
        let nanos = median(self.times(WALL, case));
        report.row(&case.variant.name(), parameters, "ns/allocation", nanos, runs.len(), more);
    }
}
