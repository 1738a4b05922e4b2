//! Bytes ↔ profile, pure.

mod call_tree;
mod capped;
pub(crate) mod flamegraph;
pub(crate) mod folded;
mod frame_names;
pub(crate) mod heap_text;
pub(crate) mod heap_v2;
pub(crate) mod pprof;
mod pprof_read;
pub(crate) mod read;

pub(crate) use capped::Capped;
