//! Bytes ↔ profile, pure.

pub(crate) mod flamegraph;
pub(crate) mod heap_v2;
pub(crate) mod pprof;
mod pprof_read;
pub(crate) mod read;
