//! The data model of profile.proto for a heap: samples over locations over functions and mappings.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::{Address, Frame, Mapping};

/// What a sample's value counts, with its unit: profile.proto's `ValueType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleType {
    /// Name.
    pub name: &'static str,
    /// Unit.
    pub unit: &'static str,
}

/// The four values of every sample, in the order that Go's heap profiles have and every merging tool relies on.
pub(crate) const SAMPLE_TYPES: [SampleType; 4] = [
    SampleType { name: "alloc_objects", unit: "count" },
    SampleType { name: "alloc_space", unit: "bytes" },
    SampleType { name: "inuse_objects", unit: "count" },
    SampleType { name: "inuse_space", unit: "bytes" },
];

/// The index of `inuse_objects` in [`SAMPLE_TYPES`].
pub(crate) const INUSE_OBJECTS: usize = 2;

/// The index of `inuse_space` in [`SAMPLE_TYPES`].
pub(crate) const INUSE_SPACE: usize = 3;

/// One place in the code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Location {
    /// Inside the call.
    pub address: Address,
    /// Index in [`Profile::mappings`].
    pub mapping: Option<u32>,
    /// Names.
    pub frame: Frame,
}

/// One stack with its four values, estimated, in the order of [`SAMPLE_TYPES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProfileSample {
    first: u32,
    depth: u32,
    /// The values; signed, because a difference of two profiles is a profile.
    pub values: [i64; 4],
    /// Average size in bytes of the objects sampled here; 0 when none.
    pub average_size: i64,
}

impl ProfileSample {
    fn range(&self) -> Range<usize> {
        let first = self.first as usize;
        first..first + self.depth as usize
    }
}

/// A heap profile. Stacks are lists of indices in one flat array: 131,072 of them cost four bytes a frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    /// When it was taken.
    pub time: SystemTime,
    /// How long it covers; zero for a snapshot, positive for a difference.
    pub duration: Duration,
    /// R, in bytes; 0 when a file does not say.
    pub sample_interval: u64,
    /// Sorted by start address.
    pub mappings: Vec<Mapping>,
    /// Every location that a sample uses.
    pub locations: Vec<Location>,
    /// Samples, in no particular order.
    pub samples: Vec<ProfileSample>,
    /// Which of [`SAMPLE_TYPES`] a viewer shows first.
    pub default_sample_type: &'static str,
    /// Remarks for the reader, such as what is missing.
    pub comments: Vec<String>,
    stacks: Vec<u32>,
}

impl Profile {
    /// A profile with no samples.
    pub(crate) fn new(time: SystemTime, sample_interval: u64) -> Self {
        Self {
            time,
            duration: Duration::ZERO,
            sample_interval,
            mappings: Vec::new(),
            locations: Vec::new(),
            samples: Vec::new(),
            default_sample_type: "inuse_space",
            comments: Vec::new(),
            stacks: Vec::new(),
        }
    }

    /// Makes room for `samples` samples of `frames` frames in all.
    pub(crate) fn reserve(&mut self, samples: usize, frames: usize) {
        self.samples.reserve_exact(samples);
        self.stacks.reserve_exact(frames);
    }

    /// Adds a sample; `stack` are indices in [`Profile::locations`], leaf first.
    pub(crate) fn push(&mut self, stack: impl IntoIterator<Item = u32>, values: [i64; 4], average_size: i64) {
        let first = self.stacks.len();
        self.stacks.extend(stack);
        self.samples.push(ProfileSample {
            first: u32::try_from(first).expect("2^32 frames are 16 GiB, more than any bounded table holds"),
            depth: (self.stacks.len() - first) as u32,
            values,
            average_size,
        });
    }

    /// The locations of a sample of this profile, leaf first, as indices in [`Profile::locations`].
    pub(crate) fn stack(&self, sample: &ProfileSample) -> &[u32] {
        &self.stacks[sample.range()]
    }

    /// The sums of all samples, in the order of [`SAMPLE_TYPES`].
    pub(crate) fn totals(&self) -> [i64; 4] {
        let mut totals = [0i64; 4];
        for sample in &self.samples {
            for (total, value) in totals.iter_mut().zip(sample.values) {
                *total = total.saturating_add(value);
            }
        }
        totals
    }
}
