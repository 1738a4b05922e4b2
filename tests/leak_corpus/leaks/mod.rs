//! Services that leak.

pub mod beside_warm_cache;
// Without this feature jemalloc serves Rust code alone, and nobody sees what C code does.
#[cfg(feature = "c-malloc")]
pub mod c_library;
#[cfg(feature = "c-malloc")]
pub mod c_patterns;
pub mod doubling_vectors;
pub mod error_path;
pub mod forgotten_tasks;
pub mod hidden_by_churn;
pub mod interner;
pub mod late;
pub mod listeners;
pub mod rc_cycles;
pub mod sessions;
pub mod thread_locals;
pub mod unread_channel;
