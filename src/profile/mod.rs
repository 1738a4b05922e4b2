//! Pure data: what a reading, a cohort and a profile are, and the arithmetic of sampling.
//!
//! Imports nothing of ours but the error; no I/O, no clock, no allocator.

mod address;
mod byte_size;
mod change;
mod cohort;
mod estimate;
mod frame;
mod gaps;
mod interval;
mod interval_text;
pub(crate) mod leb128;
mod machine;
mod mapping;
mod model;
mod partial;
mod place;
mod pressure;
mod reading;
#[cfg(test)]
pub(crate) mod simulation;
mod sums;
mod totals;
mod trim;
mod unseen;
mod whole;

pub(crate) use address::{Address, AddressMap, ReturnAddress};
pub use byte_size::ByteSize;
pub(crate) use change::Measure;
#[cfg(test)]
pub(crate) use cohort::Cohort;
pub(crate) use cohort::{CohortRow, Cohorts};
pub(crate) use estimate::SampleInterval;
pub(crate) use frame::{Frame, Function, Unknown};
pub(crate) use gaps::Gaps;
pub(crate) use interval::Interval;
pub(crate) use machine::{MachineMemory, SwapUse};
pub(crate) use mapping::{BuildId, Mapping};
pub(crate) use model::{INUSE_OBJECTS, INUSE_SPACE, Location, Profile, ProfileSample, SAMPLE_TYPES, SampleType};
pub(crate) use partial::Partial;
pub(crate) use place::{NO_STACK, Place};
pub(crate) use pressure::{CgroupEvent, CgroupEvents, Pressure, Share, Stall};
pub(crate) use reading::{AllocatorMemory, CgroupMemory, ProcessMemory, Reading, SystemMemory};
pub(crate) use sums::Sums;
pub(crate) use totals::{PackedTotals, Totals};
pub(crate) use trim::{Trim, Trimmer, is_of_a_dependency};
pub(crate) use whole::{SMALL_BYTES, Whole};
