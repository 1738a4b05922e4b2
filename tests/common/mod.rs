//! What the live-allocator tests share. Each of them is a process of its own, with one test: there is one jemalloc,
//! one set of hooks and one collector a process.

#![allow(dead_code, unused_imports, reason = "each test uses its own part of this")]

mod block;
mod child;
mod failing;
mod random;
mod sampling;
mod view;

pub use block::Block;
pub use child::{Child, fork};
pub use failing::{fail_fast, step, wait_until};
pub use random::{Random, seed};
pub use sampling::{sampled, set_sampled};
pub use view::{Figures, decode, figures, function_names, memory, profiler, snapshot, try_snapshot};
