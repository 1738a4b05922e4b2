//! The live set: which sampled objects are alive, where they were allocated and when.
//!
//! Everything that runs inside `malloc` and `free` is in this folder, from [`hooks`] down. Its rules, each with the
//! place that keeps it:
//!
//! - no allocation from jemalloc: tables live in mapped memory ([`stack_table`], [`live_set`]);
//! - no panic: every index is checked or masked, every failure is a counted drop;
//! - no thread-local with a destructor: those that are read are numbers, of [`unwind`], [`handover`] and std's count of
//!   panics, when a lock is taken;
//! - no lock held across an allocation: one lock, that of a [`live_set`] shard, held for one table operation;
//! - no unbounded loop: probing stops after [`stack_table`]'s limit.

mod collector;
mod dump;
mod handover;
mod hash;
mod hooks;
mod live_copy;
mod live_set;
mod stack_table;
mod unwind;
mod usable_size;

pub(crate) use collector::{Capture, Collector, CollectorStats, Limits, Source};
pub(crate) use live_set::LiveObject;
pub(crate) use stack_table::StackId;
#[cfg(feature = "cpu")]
pub(crate) use unwind::UndisturbedUnwinding;
pub use unwind::Unwinder;
pub(crate) use unwind::{Rejected, UnwindReport};
